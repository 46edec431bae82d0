//! What a language model must beat.

use crate::examples::{Content, Examples};
use crate::fit::Outcomes;

/// A unigram language model: the log probability of each token, minus infinity for ids outside the softmax.
#[derive(Debug, Clone, PartialEq)]
pub struct Unigram {
    pub(crate) log_probabilities: Vec<f32>,
}

impl Unigram {
    /// Fits the tokens that a split predicts, with add-one smoothing; `None` for images.
    pub fn fit(examples: &Examples, outcomes: &Outcomes) -> Option<Self> {
        let mut counts = vec![1.0_f64; outcomes.width];
        let mut any = false;
        for example in examples.items() {
            let Content::Tokens(_) = example.content else {
                return None;
            };
            for token in (0..example.positions())
                .filter(|p| example.counts(*p))
                .filter_map(|p| example.truth(p))
            {
                *counts.get_mut(token as usize)? += 1.0;
                any = true;
            }
        }
        for hole in &outcomes.holes {
            *counts.get_mut(*hole as usize)? = 0.0;
        }
        let total: f64 = counts.iter().sum();
        any.then(|| Self {
            log_probabilities: counts.iter().map(|count| (count / total).ln() as f32).collect(),
        })
    }
}
