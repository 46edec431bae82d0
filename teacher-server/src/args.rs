//! The command line: what every flag means is written here, once, and `--help` reads it from here.

mod client;
mod model;
mod plan;
mod serve;
mod work;

pub use client::{CancelArgs, ConnectArgs, JobsArgs, SubmitArgs, WatchArgs};
pub use model::ModelArgs;
pub use plan::{PlanArgs, SplitFile, TextUnitArg, ValuesArg};
pub use serve::ServeArgs;
pub use work::{PlanCommand, PrecomputeArgs, ShardArgs, WorkArgs};

use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// Runs a teacher once and keeps its soft targets as a checked Parquet dataset.
#[derive(Debug, Clone, Parser)]
#[command(name = "teacher-server", version, arg_required_else_help = true)]
pub struct Cli {
    /// TOML file whose keys are long flag names (`max-length = 512`); flags and DECANT_* variables override it
    #[arg(long, global = true, value_name = "FILE", env = "DECANT_CONFIG")]
    pub config: Option<PathBuf>,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `teacher-server` can do.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Hold a teacher in memory and answer over gRPC
    Serve(ServeArgs),
    /// Capture a whole dataset in this process: plan, work and seal
    Precompute(PrecomputeArgs),
    /// Freeze inputs, shard cuts, teacher and codec into an output folder
    Plan(PlanCommand),
    /// Capture the shards of a planned dataset that nobody has committed yet
    Work(WorkArgs),
    /// Ask a running server to capture a dataset; paths are the server's, relative ones start at its first root
    Submit(SubmitArgs),
    /// Follow a job of a running server until it ends
    Watch(WatchArgs),
    /// Ask a running server to stop a job
    Cancel(CancelArgs),
    /// List the jobs of a running server
    Jobs(JobsArgs),
}
