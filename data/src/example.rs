//! One input of the teacher, as the dataset stores it.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// What a teacher does with an example, and so how many soft targets it gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// An image has one class: one position.
    ImageClassification,
    /// A token sequence has one class: one position.
    TextClassification,
    /// Every token but the first is predicted: L tokens give L - 1 positions.
    CausalLm,
}

impl Task {
    /// The name that plans and metadata use.
    pub fn name(self) -> &'static str {
        match self {
            Self::ImageClassification => "image-classification",
            Self::TextClassification => "text-classification",
            Self::CausalLm => "causal-lm",
        }
    }

    /// Whether its examples are images; otherwise they are token sequences.
    pub fn reads_images(self) -> bool {
        self == Self::ImageClassification
    }
}

/// What the teacher reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExampleContent {
    /// Token ids, with whatever the tokenizer puts in front.
    Tokens(Vec<u32>),
    /// A PNG or JPEG file, byte for byte.
    Image(Vec<u8>),
}

/// One input with its stable id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// Unique in the dataset together with `view`.
    pub id: String,
    /// Which augmented version of the input this is; 0 is the input itself.
    pub view: u32,
    /// What the teacher reads.
    pub content: ExampleContent,
    /// The true class, where one is known.
    pub label: Option<u32>,
    /// For token sequences, one entry for each token (as `input_ids`): whether its prediction counts in a loss. The
    /// soft target at position `p` predicts token `p + 1` and so goes with entry `p + 1`; entry 0 has no meaning.
    pub loss_mask: Option<Vec<bool>>,
}

impl Example {
    /// How many soft targets the example has under a task: L - 1 for L tokens under [`Task::CausalLm`], otherwise 1.
    pub fn positions(&self, task: Task) -> usize {
        match (&self.content, task) {
            (ExampleContent::Tokens(tokens), Task::CausalLm) => tokens.len().saturating_sub(1),
            _ => 1,
        }
    }

    /// The token ids; empty for an image.
    pub fn tokens(&self) -> &[u32] {
        match &self.content {
            ExampleContent::Tokens(tokens) => tokens,
            ExampleContent::Image(_) => &[],
        }
    }

    /// Whether the example can stand in a dataset of this task with softmax rows of this width.
    ///
    /// # Errors
    /// Content of the wrong kind or empty, a token or label outside `outcomes`, a mask of another length.
    pub fn check(&self, task: Task, outcomes: u32) -> Result<()> {
        let refuse = |what: String| Err(Error::Input(format!("example {:?}: {what}", self.id)));
        match &self.content {
            ExampleContent::Image(_) if !task.reads_images() => {
                return refuse(format!("an image, but the task {} reads tokens", task.name()));
            }
            ExampleContent::Tokens(_) if task.reads_images() => {
                return refuse(format!("tokens, but the task {} reads images", task.name()));
            }
            ExampleContent::Image(bytes) if bytes.is_empty() => return refuse("the image is empty".into()),
            ExampleContent::Tokens(tokens) if tokens.is_empty() => return refuse("it has no tokens".into()),
            _ => {}
        }
        if task == Task::CausalLm
            && let Some((place, token)) = self.tokens().iter().enumerate().find(|(_, token)| **token >= outcomes)
        {
            return refuse(format!(
                "token {place} has id {token}, but ids end at {}",
                outcomes.saturating_sub(1)
            ));
        }
        if let Some(token) = self.tokens().iter().find(|token| i32::try_from(**token).is_err()) {
            return refuse(format!("token id {token} does not fit 31 bits"));
        }
        if let Some(label) = self.label
            && label >= outcomes
        {
            return refuse(format!(
                "label {label}, but there are {outcomes} outcomes; fix the label or the class names"
            ));
        }
        match &self.loss_mask {
            Some(_) if task.reads_images() => refuse("a loss mask, but an image has one position".into()),
            Some(mask) if mask.len() != self.tokens().len() => refuse(format!(
                "a loss mask of {} entries for {} tokens",
                mask.len(),
                self.tokens().len()
            )),
            _ => Ok(()),
        }
    }
}
