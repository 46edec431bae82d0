//! `student-trainer export`.

use std::path::PathBuf;

use student_trainer::run::export;

use super::Result;

/// Flags of `export`.
#[derive(Debug, clap::Args)]
pub(crate) struct Export {
    /// Folder of a training run
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// The Hugging Face folder to write: new or empty
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// The checkpoint's step; the newest unless given
    #[arg(long)]
    step: Option<u64>,
}

impl Export {
    pub(crate) fn run(self) -> Result<()> {
        let step = export(&self.run, &self.out, self.step)?;
        tracing::info!("wrote the student of step {step}");
        decant_cli::print(self.out.display())?;
        Ok(())
    }
}
