//! The examples of a split in memory, with their targets.

use decant_data::SoftTargets;
use sha2::{Digest, Sha256};

use crate::config::HardTargets;
use crate::objective::{Objective, teacher_argmax};

/// What the student reads.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Token ids of a document, for next-token prediction.
    Tokens(Vec<u32>),
    /// `[channels, height, width]`, preprocessed.
    Pixels(Vec<f32>),
}

/// One example with whatever targets it has.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// Unique together with `view`.
    pub id: String,
    /// Which augmented version of its input it is.
    pub view: u32,
    /// What the student reads.
    pub content: Content,
    /// The true class, where one is known. A language model's true outcome is the next token.
    pub label: Option<u32>,
    /// One entry for each token: whether its prediction counts.
    pub loss_mask: Option<Vec<bool>>,
    /// What the teacher said.
    pub targets: Option<SoftTargets>,
}

impl Example {
    /// Tokens, or 0 for an image.
    pub fn tokens(&self) -> usize {
        match &self.content {
            Content::Tokens(tokens) => tokens.len(),
            Content::Pixels(_) => 0,
        }
    }

    /// How many predictions the example asks for: one for an image, L - 1 for L tokens.
    pub fn positions(&self) -> usize {
        match &self.content {
            Content::Tokens(tokens) => tokens.len().saturating_sub(1),
            Content::Pixels(_) => 1,
        }
    }

    /// Whether the prediction at a position counts. The mask is of targets: position `p` predicts token `p + 1`.
    pub fn counts(&self, position: usize) -> bool {
        self.loss_mask
            .as_ref()
            .is_none_or(|mask| mask.get(position + 1).copied().unwrap_or(false))
    }

    /// The true outcome at a position: the label, or the next token.
    pub fn truth(&self, position: usize) -> Option<u32> {
        match &self.content {
            Content::Tokens(tokens) => tokens.get(position + 1).copied(),
            Content::Pixels(_) => self.label,
        }
    }

    /// The hard target that an objective asks for at a position.
    pub fn hard_target(&self, position: usize, hard_targets: HardTargets) -> Option<u32> {
        match hard_targets {
            HardTargets::Labels => self.truth(position),
            HardTargets::TeacherArgmax => teacher_argmax(self.targets.as_ref()?, position),
        }
    }

    /// Whether any term with a weight is defined anywhere in the example.
    pub fn teaches(&self, objective: &Objective) -> bool {
        (0..self.positions()).any(|position| {
            self.counts(position)
                && (objective.soft_weight > 0.0 && self.targets.is_some()
                    || objective.hard_weight > 0.0 && self.hard_target(position, objective.hard_targets).is_some())
        })
    }
}

/// A split, sorted by id and view, so that nothing depends on the order of files or shards.
#[derive(Debug, Clone, Default)]
pub struct Examples {
    items: Vec<Example>,
}

impl Examples {
    /// Sorts the examples.
    pub fn new(mut items: Vec<Example>) -> Self {
        items.sort_by(|a, b| (&a.id, a.view).cmp(&(&b.id, b.view)));
        Self { items }
    }

    /// The examples, in order of id and view.
    pub fn items(&self) -> &[Example] {
        &self.items
    }

    /// Takes a fraction out, by a hash of the id. The windows of a document (`<id>#<n>`) stay together, or text would be
    /// evaluated on that was trained on.
    pub fn split_off(self, fraction: f64, windows: bool) -> (Self, Self) {
        let (taken, left) = self
            .items
            .into_iter()
            .partition(|example| place_of(&example.id, windows) < fraction);
        (Self { items: left }, Self { items: taken })
    }

    /// Leaves out what no term can learn from; how many there were.
    pub fn keep_teaching(&mut self, objective: &Objective) -> usize {
        let before = self.items.len();
        self.items.retain(|example| example.teaches(objective));
        before - self.items.len()
    }

    /// How many examples have a label.
    pub fn labels(&self) -> usize {
        self.items.iter().filter(|example| example.label.is_some()).count()
    }
}

/// Where an id, or that of its document, falls in [0, 1).
fn place_of(id: &str, window: bool) -> f64 {
    let document = match id.rsplit_once('#') {
        Some((document, _)) if window => document,
        _ => id,
    };
    let hash = Sha256::new()
        .chain_update(b"held-out\0")
        .chain_update(document)
        .finalize();
    let bits = hash.first_chunk().copied().map_or(0, u64::from_be_bytes);
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(id: &str) -> Example {
        let content = Content::Tokens(vec![5, 6, 7, 8]);
        Example {
            id: id.into(),
            view: 0,
            content,
            label: None,
            loss_mask: None,
            targets: None,
        }
    }

    #[test]
    fn next_tokens_are_shifted_once_and_the_mask_is_of_targets() {
        let mut doc = example("a");
        assert_eq!(doc.positions(), 3);
        let truths: Vec<_> = (0..3).map(|p| doc.truth(p)).collect();
        assert_eq!(truths, [Some(6), Some(7), Some(8)]);
        // A prompt of two tokens: the prediction of the first answer token, made at position 1, counts.
        doc.loss_mask = Some(vec![false, false, true, true]);
        assert_eq!((0..3).map(|p| doc.counts(p)).collect::<Vec<_>>(), [false, true, true]);
    }

    #[test]
    fn the_held_out_part_is_a_matter_of_ids_alone() {
        let ids: Vec<String> = (0..2000).map(|i| format!("id{i}")).collect();
        let held = |ids: Vec<String>| {
            let examples = Examples::new(ids.iter().map(|id| example(id)).collect());
            let (left, taken) = examples.split_off(0.25, false);
            assert_eq!(left.items().len() + taken.items().len(), ids.len());
            taken.items().iter().map(|e| e.id.clone()).collect::<Vec<_>>()
        };
        let all = held(ids.clone());
        assert!((400..600).contains(&all.len()), "{}", all.len());
        let half = held(ids.into_iter().rev().take(1000).collect());
        assert!(half.iter().all(|id| all.contains(id)));
        assert!(half.len() > 100);
        for document in 0..50 {
            let windows: Vec<f64> = (0..4).map(|w| place_of(&format!("d{document}#{w}"), true)).collect();
            assert!(windows.iter().all(|place| *place == windows[0]));
        }
        assert_ne!(place_of("digit#1", false), place_of("digit#2", false), "no windows");
    }
}
