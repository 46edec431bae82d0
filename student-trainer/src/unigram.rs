//! What a language model must beat.

use crate::examples::{Content, Examples};
use crate::fit::Outcomes;
use crate::objective::Objective;
use crate::{Error, Result};

/// A unigram language model: logits that are the same at every position, minus infinity for ids outside the softmax.
#[derive(Debug, Clone, PartialEq)]
pub struct Unigram {
    pub(crate) logits: Vec<f32>,
}

impl Unigram {
    /// The mean of what the teacher says over a split, at the objective's temperature: of all unigram models the one
    /// whose KL to the teacher is least there. What `top_k` did not keep is spread evenly over all ids, which also
    /// serves the ids that the split does not know; counted tokens would need a smoothing, and a poor one (add-one over
    /// a large vocabulary) makes a baseline that anything beats.
    ///
    /// `None` where there is nothing to compare: images, or no soft targets at this temperature.
    ///
    /// # Errors
    /// Soft targets of another shape than the plan says.
    pub fn fit(examples: &Examples, outcomes: &Outcomes, objective: &Objective) -> Result<Option<Self>> {
        if !objective.is_measurable() {
            return Ok(None);
        }
        let mut sums = vec![0.0; outcomes.width];
        let mut unnamed = 0.0;
        for example in examples.items() {
            let (Content::Tokens(_), Some(targets)) = (&example.content, &example.targets) else {
                return Ok(None);
            };
            for position in (0..example.positions()).filter(|position| example.counts(*position)) {
                unnamed += objective.add_probabilities(targets, position, &mut sums)?;
            }
        }
        let total: f64 = sums.iter().sum::<f64>() + unnamed;
        if total <= 0.0 {
            return Ok(None);
        }
        let even = unnamed / (outcomes.width - outcomes.holes.len()).max(1) as f64;
        // An id that no position gives any mass stays possible.
        let logit = |sum: f64| (objective.temperature * ((sum + even) / total).max(f64::MIN_POSITIVE).ln()) as f32;
        let mut logits: Vec<f32> = sums.into_iter().map(logit).collect();
        for hole in &outcomes.holes {
            let outside = logits.get_mut(*hole as usize);
            *outside.ok_or_else(|| Error::Bug(format!("hole {hole} is no outcome")))? = f32::NEG_INFINITY;
        }
        Ok(Some(Self { logits }))
    }
}

#[cfg(test)]
mod tests {
    use decant_data::{Codec, SoftTargets, Values};

    use super::*;
    use crate::config::LossConfig;
    use crate::examples::Example;

    fn fit(codec: &Codec, temperature: f64, targets: SoftTargets) -> Vec<f64> {
        let config = LossConfig {
            temperature,
            ..LossConfig::default()
        };
        let objective = Objective::new(&config, Some(codec)).unwrap();
        let example = Example {
            id: "a".into(),
            view: 0,
            content: Content::Tokens(vec![0, 1, 2, 3]),
            label: None,
            // Of three predictions the second does not count.
            loss_mask: Some(vec![true, true, false, true]),
            targets: Some(targets),
        };
        let outcomes = Outcomes {
            width: 4,
            holes: vec![3],
        };
        let unigram = Unigram::fit(&Examples::new(vec![example]), &outcomes, &objective)
            .unwrap()
            .unwrap();
        assert_eq!(unigram.logits[3], f32::NEG_INFINITY);
        unigram
            .logits
            .iter()
            .map(|logit| (f64::from(*logit) / temperature).exp())
            .collect()
    }

    #[track_caller]
    fn close(found: &[f64], truth: [f64; 3]) {
        assert!(
            found
                .iter()
                .zip(truth)
                .all(|(found, truth)| (found - truth).abs() < 1e-6),
            "{found:?}"
        );
    }

    #[test]
    fn it_is_the_mean_of_what_the_teacher_says() {
        // Logits of a teacher that says (1/2, 1/4, 1/4) and (1/10, 8/10, 1/10) at temperature 2.
        let said = [[0.5, 0.25, 0.25], [0.9, 0.05, 0.05], [0.1, 0.8, 0.1]];
        let rows = said.map(|row| row.map(|p: f32| 2.0 * p.ln()));
        let logits = rows
            .iter()
            .flat_map(|row| row.iter().copied().chain([f32::NEG_INFINITY]))
            .collect();
        let dense = SoftTargets::Dense { classes: 4, logits };
        close(
            &fit(&Codec::Dense { values: Values::F32 }, 2.0, dense),
            [0.3, 0.525, 0.175],
        );

        // The likeliest two of each, at temperature 1: (3/4, 1/8) and (5/8, 1/4), with 1/8 outside.
        let codec = Codec::TopK {
            k: 2,
            values: Values::F32,
            temperatures: vec![1.0],
        };
        let kept = SoftTargets::TopK {
            offsets: vec![0, 2, 4, 6],
            ids: vec![0, 1, 2, 0, 1, 2],
            gaps: vec![0.0, 6f32.ln(), 0.0, 1.0, 0.0, 2.5f32.ln()],
            largest: vec![5.0; 3],
            log_tails: vec![vec![0.125f32.ln(), 0.9f32.ln(), 0.125f32.ln()]],
        };
        let even = 0.125 / 3.0;
        close(&fit(&codec, 1.0, kept), [0.375 + even, 0.375 + even, 0.125 + even]);
    }
}
