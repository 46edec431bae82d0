//! What a teacher is asked.

use decant_data::Codec;

/// One forward pass and what is to be kept of it.
#[derive(Debug, Clone)]
pub struct Work {
    /// The examples of the batch; their order is the order of the answers.
    pub inputs: Vec<Input>,
    /// What is kept of a row of logits.
    pub codec: Codec,
    /// Rows of logits that are in memory at once.
    pub chunk_rows: usize,
}

/// One example, ready for the model. [`Teacher::input`](super::Teacher::input) makes and checks it.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// Names the example in errors.
    pub id: String,
    /// What the model reads.
    pub content: Content,
}

/// What a model reads.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Token ids.
    Tokens(Vec<u32>),
    /// Preprocessed pixels, `[channels, height, width]`.
    Image(Vec<f32>),
}

impl Content {
    /// How many soft targets it gives: every token but the first is predicted, an image once.
    pub fn positions(&self) -> usize {
        match self {
            Self::Tokens(tokens) => tokens.len().saturating_sub(1),
            Self::Image(_) => 1,
        }
    }
}
