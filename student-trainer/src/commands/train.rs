//! `student-trainer train`.

use std::path::PathBuf;

use student_trainer::{Config, Overrides, train};

use super::{Result, print_evaluation, use_threads};

/// Flags of `train`.
#[derive(Debug, clap::Args)]
pub(crate) struct Train {
    /// The run's configuration; flags and DECANT_* variables go over it
    #[arg(value_name = "CONFIG.toml")]
    config: PathBuf,
    /// Folder of the run: checkpoints, metrics.jsonl, report.json and, at the end, model/
    #[arg(long, env = "DECANT_OUTPUT", value_name = "DIR")]
    output: PathBuf,
    #[command(flatten)]
    overrides: Overrides,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

impl Train {
    pub(crate) fn run(self) -> Result<()> {
        let config = Config::load(&self.config, &self.overrides)?;
        use_threads(config.training.threads);
        let report = train(&config, &self.output)?;
        if self.json {
            decant_cli::print(serde_json::to_string_pretty(&report)?)?;
        } else if let Some(evaluation) = &report.evaluation {
            print_evaluation(evaluation)?;
        }
        Ok(())
    }
}
