//! What can go wrong in training, and what the caller can do about it.

use std::path::{Path, PathBuf};

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller of a failed operation should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The same call may succeed later.
    Retry,
    /// Correct the configuration or the flags.
    FixInput,
    /// Correct or replace the data, the model or what a run left behind.
    FixData,
    /// This version cannot do it.
    Unsupported,
    /// A broken promise inside the program.
    Bug,
}

/// An error of this crate. The text names the place and the mend.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration or a flag is wrong.
    #[error("{0}")]
    Config(String),
    /// The data is not what the student or the loss needs.
    #[error("{0}")]
    Data(String),
    /// Student and dataset do not belong together.
    #[error("the student does not fit the data: {0}")]
    Fit(String),
    /// The output folder holds something else.
    #[error("{0}")]
    Output(String),
    /// A loss or a gradient is not finite.
    #[error(
        "step {step}: the {what} is {value}; the checkpoints before it are kept; lower the learning rate or set clip_norm"
    )]
    Diverged {
        /// The optimizer step, from 1.
        step: u64,
        /// What is not finite.
        what: String,
        /// Its value.
        value: f64,
    },
    /// This version cannot do it.
    #[error("{0}")]
    Unsupported(String),
    /// A broken promise inside the program.
    #[error("{0}; this is a bug in decant")]
    Bug(String),
    /// A file could not be read or written.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The dataset or an input file.
    #[error(transparent)]
    Dataset(#[from] decant_data::Error),
    /// The student's folder, its configuration or its arithmetic.
    #[error(transparent)]
    Model(#[from] decant_models::Error),
    /// A tensor operation.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

impl Error {
    /// What the caller should do.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Config(_) | Self::Fit(_) | Self::Output(_) | Self::Diverged { .. } | Self::Io { .. } => {
                Kind::FixInput
            }
            Self::Data(_) => Kind::FixData,
            Self::Unsupported(_) => Kind::Unsupported,
            Self::Bug(_) | Self::Tensor(_) => Kind::Bug,
            Self::Dataset(error) => match error.kind() {
                decant_data::Kind::Retry => Kind::Retry,
                decant_data::Kind::FixInput => Kind::FixInput,
                decant_data::Kind::FixData | decant_data::Kind::Fenced => Kind::FixData,
                decant_data::Kind::Unsupported => Kind::Unsupported,
                decant_data::Kind::Bug => Kind::Bug,
            },
            Self::Model(error) => match error.kind() {
                decant_models::Kind::Retry => Kind::Retry,
                decant_models::Kind::FixInput => Kind::FixInput,
                decant_models::Kind::FixData => Kind::FixData,
                decant_models::Kind::Unsupported => Kind::Unsupported,
                decant_models::Kind::Bug => Kind::Bug,
            },
        }
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_from_below_keeps_its_kind() {
        let missing = decant_models::Checkpoint::open(Path::new("/nowhere/at/all")).unwrap_err();
        assert_eq!(Error::from(missing).kind(), Kind::FixInput);
        let passing = decant_models::Error::Io {
            path: "model.safetensors".into(),
            source: std::io::ErrorKind::TimedOut.into(),
        };
        assert_eq!(Error::from(passing).kind(), Kind::Retry);
        let device = decant_models::parse_device("tpu").unwrap_err();
        assert_eq!(Error::from(device).kind(), Kind::Unsupported);
    }
}
