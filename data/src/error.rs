//! What can go wrong with a dataset, and what the caller can do about it.

use std::path::PathBuf;

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller of a failed operation should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The same call may succeed later: a network or a disk in trouble.
    Retry,
    /// What was asked for is wrong: a flag, a plan, an example, a location without permission or space.
    FixInput,
    /// Something stored is damaged, missing or not what its record says.
    FixData,
    /// This version cannot do it: a newer format, an unknown flag, a store that it was not built for.
    Unsupported,
    /// Another attempt or another writer owns the result; this one must stop.
    Fenced,
    /// A broken promise inside the program.
    Bug,
}

/// An error of this crate. The text names the place and the mend; [`Error::kind`] says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What the caller asked for cannot be done.
    #[error("{0}")]
    Input(String),
    /// Stored data is damaged, missing or contradicts its record.
    #[error("{0}")]
    Data(String),
    /// A newer format, an unknown flag or codec, a store of another kind.
    #[error("{0}")]
    Unsupported(String),
    /// Another writer was first.
    #[error("{0}")]
    Fenced(String),
    /// A broken promise inside the program.
    #[error("{0}; this is a bug in decant")]
    Bug(String),
    /// A file of the user could not be read or written.
    #[error("{action} {path}: {source}", path = .path.display())]
    Io {
        /// What was tried: "reading", "writing".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// An object of a store could not be read or written.
    #[error("{action} {place}: {reason}")]
    Store {
        /// What was tried: "reading", "writing".
        action: &'static str,
        /// The store's location and the object's path.
        place: String,
        /// The trouble and its mend in words.
        reason: String,
        /// Whether trying again can help.
        kind: Kind,
        /// What the store said.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// A Parquet file could not be read or written.
    #[error("{place}: {source}")]
    Parquet {
        /// The file.
        place: String,
        /// What the Parquet library said.
        source: parquet::errors::ParquetError,
    },
    /// A JSON document could not be read.
    #[error("{place}: {source}")]
    Json {
        /// The file, with the line where there is one.
        place: String,
        /// What the JSON library said.
        source: serde_json::Error,
    },
}

impl Error {
    /// What the caller should do.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Input(_) | Self::Io { .. } => Kind::FixInput,
            Self::Data(_) | Self::Parquet { .. } | Self::Json { .. } => Kind::FixData,
            Self::Unsupported(_) => Kind::Unsupported,
            Self::Fenced(_) => Kind::Fenced,
            Self::Bug(_) => Kind::Bug,
            Self::Store { kind, .. } => *kind,
        }
    }

    /// Whether the object asked for is not there.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::Store {
                source: Some(source), ..
            } => source
                .downcast_ref::<object_store::Error>()
                .is_some_and(|error| matches!(error, object_store::Error::NotFound { .. })),
            Self::Io { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
            _ => false,
        }
    }

    pub(crate) fn parquet(place: impl Into<String>) -> impl FnOnce(parquet::errors::ParquetError) -> Self {
        let place = place.into();
        move |source| Self::Parquet { place, source }
    }

    pub(crate) fn json(place: impl Into<String>) -> impl FnOnce(serde_json::Error) -> Self {
        let place = place.into();
        move |source| Self::Json { place, source }
    }
}
