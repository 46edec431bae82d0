//! What the teacher's softmax ranges over.

use decant_models::TextTokenizer;
use std::collections::BTreeSet;

/// The outcomes of one prediction: classes, or the ids that the tokenizer has.
///
/// Checkpoints pad their vocabulary to a round size, and some tokenizers have gaps. A logit at an id that no token has
/// is noise, so those ids are outside the softmax: columns past the last id are never computed, and holes below it are
/// set to minus infinity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcomes {
    width: usize,
    holes: Vec<u32>,
}

impl Outcomes {
    /// All of `classes`.
    pub fn classes(classes: usize) -> Self {
        Self {
            width: classes,
            holes: Vec::new(),
        }
    }

    /// The ids of a tokenizer's map.
    pub fn tokens(tokenizer: &TextTokenizer) -> Self {
        Self::ids(tokenizer.vocabulary().keys().copied())
    }

    fn ids(ids: impl IntoIterator<Item = u32>) -> Self {
        let ids: BTreeSet<u32> = ids.into_iter().collect();
        let width = ids.last().map_or(0, |&last| last as usize + 1);
        let holes = (0..width as u32).filter(|id| !ids.contains(id)).collect();
        Self { width, holes }
    }

    /// Columns of a row of logits: one more than the largest id.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Ids below `width` that stand for nothing, ascending.
    pub fn holes(&self) -> &[u32] {
        &self.holes
    }

    /// Whether an id is one of them.
    pub fn contains(&self, id: u32) -> bool {
        (id as usize) < self.width && self.holes.binary_search(&id).is_err()
    }

    /// Takes the holes out of a row's softmax.
    pub(super) fn mask(&self, row: &mut [f32]) {
        for &hole in &self.holes {
            row[hole as usize] = f32::NEG_INFINITY;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Outcomes;

    #[test]
    fn ids_past_the_last_are_not_columns_and_gaps_are_holes() {
        let outcomes = Outcomes::ids([0, 1, 4]);
        assert_eq!(outcomes.width(), 5);
        assert_eq!(outcomes.holes(), [2, 3]);
        let mut row = [0.0; 5];
        outcomes.mask(&mut row);
        assert_eq!(row.map(f32::is_finite), [true, true, false, false, true]);
    }
}
