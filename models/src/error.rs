//! What can go wrong, and what the caller should do about it.

use std::path::{Path, PathBuf};

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller should do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The storage failed in a way that may pass; the same call can be made again.
    Retry,
    /// An argument, a folder or a configuration is wrong.
    FixInput,
    /// One example is wrong; others are not touched by it.
    FixData,
    /// Valid, but not something this build can do.
    Unsupported,
    /// A fault in this program.
    Bug,
}

/// What went wrong: the thing, the place and the mend.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder that must be there is not.
    #[error("{path}: not found; {mend}", path = path.display())]
    Missing {
        /// What was looked for.
        path: PathBuf,
        /// How to mend it.
        mend: &'static str,
    },
    /// Reading or writing failed.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A folder to be written exists already.
    #[error("{path}: exists and is not empty; choose another folder or remove it", path = path.display())]
    Occupied {
        /// The folder.
        path: PathBuf,
    },
    /// A JSON file is not what it should be, as a whole or at one key.
    #[error("{path}: {reason}", path = path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong, naming the key.
        reason: String,
    },
    /// A key of a JSON file asks for what is not implemented.
    #[error("{path}: `{key}` is {found}, which is not supported; supported: {known}", path = path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// Its value.
        found: String,
        /// What is supported instead.
        known: String,
    },
    /// A weight file is damaged or incomplete.
    #[error("{path}: {reason}", path = path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A tensor of the checkpoint has not the shape that the configuration asks for.
    #[error("{path}: tensor `{tensor}` has shape {found:?}, `config.json` asks for {expected:?}", path = path.display())]
    TensorShape {
        /// The weight file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// Its shape in the file.
        found: Vec<usize>,
        /// Its shape by the configuration.
        expected: Vec<usize>,
    },
    /// A tensor that the configuration asks for is not in the checkpoint.
    #[error("{path}: tensor `{tensor}` with shape {expected:?} is missing{hint}", path = path.display())]
    TensorMissing {
        /// The weight file or folder.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// Its shape by the configuration.
        expected: Vec<usize>,
        /// What may be the cause, or empty.
        hint: String,
    },
    /// The checkpoint holds a tensor that the configuration has no place for.
    #[error("{path}: tensor `{tensor}` with shape {found:?} has no place in the model that `config.json` describes",
        path = path.display())]
    TensorExtra {
        /// The weight file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// Its shape in the file.
        found: Vec<usize>,
    },
    /// The tokenizer cannot be read, or cannot encode.
    #[error("{place}: {reason}")]
    Tokenizer {
        /// The file, or what was being done.
        place: String,
        /// What the tokenizer said.
        reason: String,
    },
    /// An image is not what the model reads.
    #[error("image {0}")]
    Image(String),
    /// A batch is not what the model reads.
    #[error("batch {0}")]
    Batch(String),
    /// There is no such tap.
    #[error("no tap `{name}`; this model has {known}")]
    Tap {
        /// The name that was asked for.
        name: String,
        /// The taps there are.
        known: String,
    },
    /// A device or number format is unknown, or not in this build.
    #[error("{0}")]
    Device(String),
    /// An operation on tensors failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

impl Error {
    /// What the caller should do.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Io { source, .. } => match source.kind() {
                std::io::ErrorKind::Interrupted | std::io::ErrorKind::TimedOut => Kind::Retry,
                _ => Kind::FixInput,
            },
            Self::Missing { .. }
            | Self::Occupied { .. }
            | Self::Config { .. }
            | Self::Weights { .. }
            | Self::TensorShape { .. }
            | Self::TensorMissing { .. }
            | Self::TensorExtra { .. }
            | Self::Tokenizer { .. }
            | Self::Batch(_)
            | Self::Tap { .. } => Kind::FixInput,
            Self::Image(_) => Kind::FixData,
            Self::Unsupported { .. } | Self::Device(_) => Kind::Unsupported,
            Self::Tensor(_) => Kind::Bug,
        }
    }

    pub(crate) fn config(path: &Path, reason: impl Into<String>) -> Self {
        Self::Config {
            path: path.into(),
            reason: reason.into(),
        }
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io {
            path: path.into(),
            source,
        }
    }

    pub(crate) fn weights(path: &Path, reason: impl Into<String>) -> Self {
        Self::Weights {
            path: path.into(),
            reason: reason.into(),
        }
    }
}
