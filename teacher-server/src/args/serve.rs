//! Flags of `serve`.

use super::ModelArgs;
use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;

/// How the teacher is offered to others.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// The teacher.
    #[command(flatten)]
    pub model: ModelArgs,

    /// Address to listen on; other than loopback needs TLS and a token, or --insecure
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:50051", env = "DECANT_LISTEN")]
    pub listen: SocketAddr,

    /// Folder or object-store URL that jobs may read and write under; may be repeated
    #[arg(long = "root", value_name = "URL", env = "DECANT_ROOT", value_delimiter = ',')]
    pub roots: Vec<String>,

    /// Certificate chain of the server, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_key", env = "DECANT_TLS_CERT")]
    pub tls_cert: Option<PathBuf>,

    /// Private key of the server, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert", env = "DECANT_TLS_KEY")]
    pub tls_key: Option<PathBuf>,

    /// File that holds the token that callers must show
    #[arg(long, value_name = "FILE", env = "DECANT_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,

    /// Listen on any address without TLS or a token
    #[arg(long, env = "DECANT_INSECURE")]
    pub insecure: bool,

    /// What is logged on stderr: error, warn, info, debug, trace or a tracing filter
    #[arg(long, value_name = "FILTER", default_value = "info", env = "DECANT_LOG")]
    pub log: String,
}
