//! What can go wrong while planning and capturing, and what the caller can do about it.

use crate::teacher;
use decant_data::Kind;

/// Result of planning and capturing.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a dataset could not be planned or captured.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The teacher.
    #[error(transparent)]
    Teacher(#[from] teacher::Error),

    /// The dataset or an input file.
    #[error(transparent)]
    Data(#[from] decant_data::Error),

    /// What was asked for does not fit the teacher.
    #[error("{0}")]
    Request(String),

    /// An example of an input file does not fit the teacher.
    #[error("{place}: {reason}")]
    Example {
        /// File and line or row.
        place: String,
        /// What is wrong with it, and the mend.
        reason: String,
    },

    /// The teacher at hand is not the plan's: what differs, with both sides.
    #[error("the plan was made for another teacher: {0}")]
    OtherTeacher(String),

    /// Signals cannot be listened to.
    #[error("signals cannot be listened to: {0}")]
    Signals(std::io::Error),

    /// A result cannot be written.
    #[error("writing to standard output: {0}")]
    Output(std::io::Error),

    /// Somebody asked to stop; nothing of the attempt is left.
    #[error("cancelled")]
    Cancelled,

    /// A stage of the capture ended without a result.
    #[error("the capture of shard {0} lost its examples on the way; this is a bug in decant")]
    Lost(u32),
}

impl Error {
    /// What the caller should do.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Teacher(error) => error.kind(),
            Self::Data(error) => error.kind(),
            Self::Request(_) | Self::Example { .. } | Self::OtherTeacher(_) | Self::Output(_) => Kind::FixInput,
            Self::Cancelled | Self::Signals(_) => Kind::Retry,
            Self::Lost(_) => Kind::Bug,
        }
    }
}
