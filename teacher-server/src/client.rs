//! `submit`, `watch`, `cancel` and `jobs`: the jobs of a running server.
//!
//! Paths are the server's: absolute, or relative to its first root. What was asked for is on stdout (a job's id, its
//! dataset's place, the list), how it goes on stderr.

mod follow;
mod table;

use crate::args::{CancelArgs, ConnectArgs, JobsArgs, SubmitArgs, WatchArgs};
use crate::grpc::{Credentials, Remote, RemoteError, Token};
use decant_data::Kind;

/// Result of a command.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a command did not end well.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server refuses, or cannot be reached.
    #[error(transparent)]
    Remote(#[from] RemoteError),

    /// The token cannot be read.
    #[error(transparent)]
    Token(#[from] crate::grpc::Error),

    /// The certificate cannot be read.
    #[error("{}: {source}", path.display())]
    Certificate {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },

    /// The result cannot be written.
    #[error("writing to standard output: {0}")]
    Output(std::io::Error),

    /// The flags contradict each other.
    #[error(transparent)]
    Request(#[from] crate::Error),

    /// No thread for the network from the operating system.
    #[error("the network cannot be used: {0}")]
    Runtime(std::io::Error),

    /// The job that was followed failed.
    #[error("job {id} failed: {reason}")]
    Failed {
        /// The job.
        id: String,
        /// The server's words.
        reason: String,
    },

    /// The job that was followed was cancelled.
    #[error("job {id} was cancelled; submit it again to go on from its committed shards")]
    Cancelled {
        /// The job.
        id: String,
    },

    /// The server ended the stream before the job.
    #[error("the server stopped telling of job {id} before it ended; watch it again")]
    Left {
        /// The job.
        id: String,
    },
}

impl Error {
    /// What the caller should do.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Remote(error) => error.kind(),
            Self::Token(error) => error.kind(),
            Self::Request(error) => error.kind(),
            Self::Certificate { .. } | Self::Failed { .. } | Self::Cancelled { .. } | Self::Output(_) => Kind::FixInput,
            Self::Runtime(_) | Self::Left { .. } => Kind::Retry,
        }
    }
}

/// Runs `submit`: creates a job, or finds it, and prints its id; with `--watch`, follows it.
///
/// # Errors
/// The server refuses the plan or cannot be reached; those of [`watch`].
pub fn submit(args: &SubmitArgs) -> Result<()> {
    let request = args.plan.request()?;
    block_on(async {
        let mut remote = connect(&args.connect).await?;
        let job = remote.create(&request, &args.plan.output).await?;
        print(&job.id)?;
        match args.watch {
            true => follow::to_the_end(&mut remote, &job.id).await,
            false => Ok(()),
        }
    })
}

/// Runs `watch`: follows a job to its end, and prints where its dataset is.
///
/// # Errors
/// The job fails or is cancelled; there is no such job; the server cannot be reached.
pub fn watch(args: &WatchArgs) -> Result<()> {
    block_on(async {
        let mut remote = connect(&args.connect).await?;
        follow::to_the_end(&mut remote, &args.job).await
    })
}

/// Runs `cancel`.
///
/// # Errors
/// There is no such job; the server cannot be reached.
pub fn cancel(args: &CancelArgs) -> Result<()> {
    block_on(async {
        let job = connect(&args.connect).await?.cancel(&args.job).await?;
        print(table::row(&job))
    })
}

/// Runs `jobs`: prints every job of the server.
///
/// # Errors
/// The server cannot be reached.
pub fn jobs(args: &JobsArgs) -> Result<()> {
    block_on(async {
        let jobs = connect(&args.connect).await?.list().await?;
        match args.json {
            true => jobs.iter().try_for_each(|job| print(table::json(job))),
            false => print(table::table(&jobs)),
        }
    })
}

fn print(result: impl std::fmt::Display) -> Result<()> {
    decant_cli::print(result).map_err(Error::Output)
}

async fn connect(args: &ConnectArgs) -> Result<Remote> {
    let token = args.token_file.as_deref().map(Token::read).transpose()?;
    let read = |path: &std::path::PathBuf| {
        std::fs::read(path).map_err(|source| Error::Certificate {
            path: path.clone(),
            source,
        })
    };
    let ca_certificate = args.ca_cert.as_ref().map(read).transpose()?;
    Ok(Remote::connect(&args.server, &Credentials { token, ca_certificate }).await?)
}

fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Runtime)?;
    runtime.block_on(work)
}
