//! Why a job cannot be had, or stopped.

use decant_data::Kind;

/// Result of a job.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a job cannot be had, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A path is not under a root, or leads out of it.
    #[error("{path} does not lie under a root of this server; its roots: {roots}")]
    Outside {
        /// The path as it was given.
        path: String,
        /// The roots, for people.
        roots: String,
    },

    /// A path or a root cannot be used.
    #[error("{path}: {reason}")]
    Path {
        /// The path as it was given.
        path: String,
        /// What is wrong with it, and the mend.
        reason: String,
    },

    /// The server has no root, and so no place for datasets.
    #[error("this server takes no jobs; start it with --root")]
    NoRoot,

    /// No job has this id.
    #[error("no job {0}; `jobs` lists those there are")]
    Unknown(String),

    /// The same plan is a job that writes somewhere else.
    #[error("job {id} has the same plan and writes {output}; use that dataset, or copy it")]
    Elsewhere {
        /// The job there is.
        id: String,
        /// Its output.
        output: String,
    },

    /// The plan at the output is another one.
    #[error("{output} holds plan {found}, this job is {id}; choose another output")]
    Occupied {
        /// The job.
        id: String,
        /// Its output.
        output: String,
        /// The plan that lies there.
        found: String,
    },

    /// What the job reads is not what it was when it was created.
    #[error("what job {id} was made from has changed: its plan would now be {now}; create the job again")]
    Changed {
        /// The job.
        id: String,
        /// The plan of what is there now.
        now: String,
    },

    /// A record of a job cannot be read.
    #[error("{place}: {reason}")]
    Record {
        /// The record.
        place: String,
        /// What is wrong with it.
        reason: String,
    },

    /// The inputs cannot be planned, or a shard cannot be captured.
    #[error(transparent)]
    Work(#[from] crate::Error),

    /// The dataset or the records cannot be read or written.
    #[error(transparent)]
    Data(#[from] decant_data::Error),

    /// The job ended in a panic, which the log of the server shows.
    #[error("the job ended in a bug of the server; its log says where")]
    Panicked,

    /// The server is stopping.
    #[error("the server is stopping; try again later")]
    Stopping,
}

impl Error {
    /// What the caller should do.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Outside { .. } | Self::Path { .. } | Self::NoRoot | Self::Unknown(_) => Kind::FixInput,
            Self::Elsewhere { .. } | Self::Occupied { .. } | Self::Changed { .. } => Kind::FixInput,
            Self::Record { .. } => Kind::FixData,
            Self::Work(error) => error.kind(),
            Self::Data(error) => error.kind(),
            Self::Panicked => Kind::Bug,
            Self::Stopping => Kind::Retry,
        }
    }
}
