//! `soft-labels`: looks at, completes, checks and exports datasets of soft targets.

mod inspect;
mod listener;
mod status;
mod tokens;
mod words;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use decant_cli::Code;
use decant_data::{Dataset, Error, Kind, Reader, Store};

use crate::listener::Listener;

/// Looks at, completes, checks and exports datasets of soft targets.
///
/// Results go to standard output, progress and errors to standard error. Exit code 1: something must be mended first;
/// 2: the command line is wrong; 75: trying again may help.
#[derive(Parser)]
#[command(name = "soft-labels", version, max_term_width = 120)]
struct Cli {
    /// TOML file with values for flags that are not given; `DECANT_*` environment variables go before it.
    #[arg(long, global = true, value_name = "FILE", env = "DECANT_CONFIG")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Says what a dataset holds, whose it is, how large it is, and shows a few rows with their probabilities.
    Inspect {
        /// The dataset: a folder or a URL.
        dir: String,
        /// How many rows to show.
        #[arg(long, value_name = "N", default_value_t = 3, env = "DECANT_ROWS")]
        rows: usize,
        /// Temperature of the probabilities shown; by default 1, or for `top_k` the first that was declared.
        #[arg(long, value_name = "T", env = "DECANT_TEMPERATURE")]
        temperature: Option<f32>,
        /// Prints one JSON object instead of text.
        #[arg(long)]
        json: bool,
    },
    /// Says which shards of a plan are committed and which are missing.
    Status {
        /// The dataset: a folder or a URL.
        dir: String,
        /// Prints one JSON object instead of text.
        #[arg(long)]
        json: bool,
    },
    /// Makes a dataset whole once every shard is committed: final names, sums, card and, last, the manifest.
    ///
    /// Can be run again at any time.
    Seal {
        /// The dataset: a folder or a URL.
        dir: String,
    },
    /// Reads every byte of a sealed dataset and compares it with the manifest.
    Verify {
        /// The dataset: a folder or a URL.
        dir: String,
    },
    /// Writes the explicit probability table as one Parquet file: columns id, position, class, probability.
    ///
    /// One row for each class of each soft target; for `top_k`, one more with a null class for everything that was not
    /// kept. The position is null for classification.
    Export {
        /// The sealed dataset: a folder or a URL.
        src: String,
        /// The Parquet file to write; it must not exist.
        dst: PathBuf,
        /// Temperature of the softmax. `top_k` has those that were declared when it was captured, `dense` has any.
        #[arg(long, value_name = "T", env = "DECANT_TEMPERATURE")]
        temperature: f32,
    },
}

fn main() -> ExitCode {
    decant_cli::exit_by(run(decant_cli::config::parse()), |cause| {
        let error = cause.downcast_ref::<Error>()?;
        Some(if error.kind() == Kind::Retry {
            Code::Retryable
        } else {
            Code::Permanent
        })
    })
}

fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Inspect {
            dir,
            rows,
            temperature,
            json,
        } => {
            let report = inspect::report(&Store::open(&dir)?, rows, temperature)?;
            print(if json {
                words::json(&report)
            } else {
                inspect::text(&report)
            })
        }
        Command::Status { dir, json } => {
            let report = status::report(&Dataset::open(&Store::open(&dir)?)?)?;
            print(if json {
                words::json(&report)
            } else {
                status::text(&report)
            })
        }
        Command::Seal { dir } => {
            let manifest = decant_data::seal(&Store::open(&dir)?, &mut Listener::default())?;
            let mut text = format!("sealed {dir}, plan {}\n", manifest.plan);
            for split in &manifest.splits {
                text.push_str(&format!("  {}\n", words::split(split)));
            }
            print(text)
        }
        Command::Verify { dir } => {
            let verified = decant_data::verify(&Store::open(&dir)?, &mut Listener::default())?;
            let (files, bytes) = (words::count(verified.files), words::bytes(verified.bytes));
            let notes: String = verified.notes.iter().map(|note| format!("note: {note}\n")).collect();
            print(format!(
                "verified {dir}: {files} files, {bytes}, all as the manifest says\n{notes}"
            ))
        }
        Command::Export { src, dst, temperature } => {
            let reader = Reader::open(&Store::open(&src)?)?;
            let exported = decant_data::export::export(&reader, temperature, &dst, &mut Listener::default())?;
            print(words::exported(&exported, temperature, &dst))
        }
    }
}

fn print(text: String) -> anyhow::Result<()> {
    decant_cli::print(text).context("writing to standard output")
}
