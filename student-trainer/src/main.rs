//! `student-trainer train | eval | export`.

mod commands;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use decant_cli::Code;

/// Trains small students from cached soft targets, with no teacher loaded
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a student; goes on where an interrupted run in the same folder stopped
    Train(commands::Train),
    /// Judge a student on a split of a dataset or on raw inputs
    Eval(commands::Eval),
    /// Write the student of a checkpoint as a Hugging Face folder
    Export(commands::Export),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .without_time()
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into()))
        .init();
    let result = decant_kernels::check_environment()
        .map_err(Into::into)
        .and_then(|()| match arguments.command {
            Command::Train(train) => train.run(),
            Command::Eval(eval) => eval.run(),
            Command::Export(export) => export.run(),
        });
    decant_cli::exit_by(result, |error| match error.downcast_ref()? {
        student_trainer::Error::Config(_) => Some(Code::Usage),
        error if error.kind() == student_trainer::Kind::Retry => Some(Code::Retryable),
        _ => None,
    })
}
