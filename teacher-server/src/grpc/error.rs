//! Why a server cannot start, or ended.

use decant_data::Kind;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Result of a server.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a server cannot start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Others could reach the server unseen and unnamed.
    #[error("{0} can be reached from other machines: give --tls-cert, --tls-key and --token-file, or --insecure")]
    Exposed(SocketAddr),

    /// Another process has the port.
    #[error("{0}: the port is in use; stop what listens there, or choose another one with --listen")]
    PortInUse(SocketAddr),

    /// The address cannot be had.
    #[error("{address}: cannot listen: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },

    /// The filter of the log is none.
    #[error("--log {0}: {1}; give error, warn, info, debug or trace")]
    Log(String, String),

    /// A certificate, key or token file cannot be used.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// The teacher cannot be loaded.
    #[error(transparent)]
    Teacher(#[from] crate::Error),

    /// Roots or records of jobs cannot be used.
    #[error(transparent)]
    Jobs(#[from] crate::jobs::Error),

    /// The server ended by itself.
    #[error("the server failed")]
    Transport(#[source] tonic::transport::Error),

    /// The certificate and the key cannot be used.
    #[error("--tls-cert and --tls-key cannot be used together")]
    Tls(#[source] tonic::transport::Error),

    /// No threads or signals from the operating system.
    #[error("the server could not start: {0}")]
    Runtime(std::io::Error),

    /// The teacher's thread has ended.
    #[error("the teacher has ended in a bug of the server; the lines above say where")]
    TeacherEnded,

    /// The teacher's loading ended without a result.
    #[error("loading the teacher ended in a bug of the server; the lines above say where")]
    Lost,
}

impl Error {
    /// What the caller should do.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Log(..)
            | Self::Exposed(_)
            | Self::PortInUse(_)
            | Self::Listen { .. }
            | Self::File { .. }
            | Self::Tls(_) => Kind::FixInput,
            Self::Teacher(error) => error.kind(),
            Self::Jobs(error) => error.kind(),
            Self::Transport(_) | Self::Runtime(_) => Kind::Retry,
            Self::TeacherEnded | Self::Lost => Kind::Bug,
        }
    }
}
