//! Why a teacher could not be had, or could not answer.

use decant_data::Kind;
use decant_kernels::select::RowError;
use decant_models::Task;
use std::path::PathBuf;

/// Result of a teacher.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a teacher could not be had, or could not answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The checkpoint cannot be read, or the model failed.
    #[error(transparent)]
    Model(Box<decant_models::Error>),

    /// A tensor operation failed outside the model.
    #[error("the forward pass failed: {0}")]
    Tensor(#[from] candle_core::Error),

    /// The checkpoint lacks a file that its task needs.
    #[error("{}: a teacher for {task} needs {file}, and the checkpoint has none", dir.display())]
    Missing {
        /// The checkpoint.
        dir: PathBuf,
        /// The task of its model.
        task: Task,
        /// The file that is not there.
        file: &'static str,
    },

    /// The tokenizer has ids that the model gives no logit for.
    #[error("{}: tokenizer.json has {tokens} ids, but the model gives {logits} logits; take the tokenizer that the \
             model was trained with", dir.display())]
    Vocabulary {
        /// The checkpoint.
        dir: PathBuf,
        /// One more than the largest id of the tokenizer.
        tokens: usize,
        /// Rows of the model's head.
        logits: usize,
    },

    /// The model's task cannot be taught from yet.
    #[error("{}: soft targets of a model for {task} cannot be captured", dir.display())]
    Task {
        /// The checkpoint.
        dir: PathBuf,
        /// The task of its model.
        task: Task,
    },

    /// An example does not fit the teacher.
    #[error("example {id}: {reason}")]
    Example {
        /// The example.
        id: String,
        /// What is wrong with it, and the mend.
        reason: String,
    },

    /// An image cannot be decoded, or has another size than the teacher reads.
    #[error("example {id}: {source}")]
    Image {
        /// The example.
        id: String,
        /// What is wrong with it.
        source: Box<decant_models::Error>,
    },

    /// The teacher's own logits are not a distribution.
    #[error(
        "example {id}, position {position}: the teacher's logits are unusable: {source}; \
             its weights are damaged, or its numbers overflow in the plan's dtype, and f32 holds more"
    )]
    Logits {
        /// The example.
        id: String,
        /// The position whose row it is.
        position: usize,
        /// What is wrong with the row.
        source: RowError,
    },

    /// The operating system gave no thread.
    #[error("the teacher's thread could not start: {0}")]
    Thread(std::io::Error),

    /// The teacher's thread has ended, which it does while somebody asks only by a panic.
    #[error("the teacher has ended in a bug of decant; the lines above say where")]
    Stopped,
}

impl From<decant_models::Error> for Error {
    fn from(error: decant_models::Error) -> Self {
        Self::Model(Box::new(error))
    }
}

impl Error {
    /// What the caller should do.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Model(error) => kind_of(error),
            Self::Image { source, .. } => kind_of(source),
            Self::Missing { .. } | Self::Vocabulary { .. } | Self::Example { .. } | Self::Logits { .. } => {
                Kind::FixInput
            }
            Self::Task { .. } => Kind::Unsupported,
            Self::Thread(_) => Kind::Retry,
            Self::Tensor(_) | Self::Stopped => Kind::Bug,
        }
    }
}

/// The model crate knows nothing of datasets: a bad example is, to a capture, a bad input.
fn kind_of(error: &decant_models::Error) -> Kind {
    match error.kind() {
        decant_models::Kind::Retry => Kind::Retry,
        decant_models::Kind::FixInput | decant_models::Kind::FixData => Kind::FixInput,
        decant_models::Kind::Unsupported => Kind::Unsupported,
        decant_models::Kind::Bug => Kind::Bug,
    }
}
