//! Flags of the commands that talk to a running server.

use super::PlanArgs;
use clap::Args;
use std::path::PathBuf;

/// Where the server is and how to be let in.
#[derive(Debug, Clone, Args)]
pub struct ConnectArgs {
    /// Address of the server
    #[arg(
        long,
        value_name = "URL",
        default_value = "http://127.0.0.1:50051",
        env = "DECANT_SERVER"
    )]
    pub server: String,

    /// File that holds the token to show
    #[arg(long, value_name = "FILE", env = "DECANT_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,

    /// Certificate that vouches for the server's, in PEM; needed for https
    #[arg(long, value_name = "FILE", env = "DECANT_CA_CERT")]
    pub ca_cert: Option<PathBuf>,
}

/// Flags of `submit`.
#[derive(Debug, Clone, Args)]
pub struct SubmitArgs {
    /// The server.
    #[command(flatten)]
    pub connect: ConnectArgs,
    /// The plan; paths are the server's.
    #[command(flatten)]
    pub plan: PlanArgs,
    /// Follow the job until it ends
    #[arg(long, env = "DECANT_WATCH")]
    pub watch: bool,
}

/// Flags of `watch`.
#[derive(Debug, Clone, Args)]
pub struct WatchArgs {
    /// The server.
    #[command(flatten)]
    pub connect: ConnectArgs,
    /// Id of the job
    #[arg(value_name = "JOB")]
    pub job: String,
}

/// Flags of `cancel`.
#[derive(Debug, Clone, Args)]
pub struct CancelArgs {
    /// The server.
    #[command(flatten)]
    pub connect: ConnectArgs,
    /// Id of the job
    #[arg(value_name = "JOB")]
    pub job: String,
}

/// Flags of `jobs`.
#[derive(Debug, Clone, Args)]
pub struct JobsArgs {
    /// The server.
    #[command(flatten)]
    pub connect: ConnectArgs,
    /// Print one JSON object a line instead of a table
    #[arg(long, env = "DECANT_JSON")]
    pub json: bool,
}
