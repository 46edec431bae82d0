//! The command `teacher-server`: parse, run, and say how it ended.

use decant_cli::Code;
use decant_data::Kind;
use std::error::Error;
use std::process::ExitCode;
use teacher_server::args::{Cli, Command};
use teacher_server::{client, commands, grpc};

fn main() -> ExitCode {
    decant_cli::keep_freed_memory();
    decant_cli::exit_by(run(decant_cli::config::parse()), code)
}

fn run(cli: Cli) -> anyhow::Result<()> {
    match &cli.command {
        Command::Precompute(args) => commands::precompute(args)?,
        Command::Plan(args) => commands::plan(args)?,
        Command::Work(args) => commands::work(args)?,
        Command::Serve(args) => grpc::serve(args)?,
        Command::Submit(args) => client::submit(args)?,
        Command::Watch(args) => client::watch(args)?,
        Command::Cancel(args) => client::cancel(args)?,
        Command::Jobs(args) => client::jobs(args)?,
    }
    Ok(())
}

/// What may succeed later says so by its exit code; a job scheduler then tries again.
fn code(error: &(dyn Error + 'static)) -> Option<Code> {
    let own = || error.downcast_ref().map(teacher_server::Error::kind);
    let served = || error.downcast_ref().map(grpc::Error::kind);
    let asked = || error.downcast_ref().map(client::Error::kind);
    let kind = own().or_else(served).or_else(asked)?;
    (kind == Kind::Retry).then_some(Code::Retryable)
}
