//! What every model can do.

use std::fmt;

use candle_core::Tensor;

use crate::{Batch, Linear, ModelConfig, Parameters, Result, TapSpec, Taps};

/// What a model's outcomes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// One of some classes, for an image.
    ImageClassification,
    /// One of some classes, for a text.
    TextClassification,
    /// The next token, at each position of a text.
    CausalLm,
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ImageClassification => "image-classification",
            Self::TextClassification => "text-classification",
            Self::CausalLm => "causal-lm",
        })
    }
}

/// Whether a model learns from a batch or answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Records what a backward pass needs; batch norm uses the batch's statistics and updates the running ones.
    Train,
    /// Records nothing, so activations are freed as they are consumed and no gradient reaches the body; batch norm
    /// uses the running statistics.
    Eval,
}

/// A model: a body that gives features, and a linear head that turns features into logits.
pub trait Model: Send {
    /// What its outcomes are.
    fn task(&self) -> Task;

    /// The configuration it was made from.
    fn config(&self) -> &ModelConfig;

    /// The places inside it that can be read.
    fn taps(&self) -> Vec<TapSpec>;

    /// What the head reads: `[rows * width, hidden]` for tokens (padding included; see
    /// [`crate::TokenBatch::predicting`]), `[n, hidden]` for images. Fills `taps` on the way.
    ///
    /// # Errors
    /// When the batch is not of the model's kind and size, or a tap is unknown.
    fn features(&self, batch: &Batch, mode: Mode, taps: &mut Taps) -> Result<Tensor>;

    /// The head, apart from the body so that callers can go through the rows in chunks.
    fn head(&self) -> &Linear;

    /// All that was learned.
    fn parameters(&self) -> &Parameters;
}
