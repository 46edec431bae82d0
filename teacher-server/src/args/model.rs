//! Which teacher, where and in which numbers.

use clap::Args;
use std::path::PathBuf;

/// The teacher's checkpoint and how it is run.
#[derive(Debug, Clone, Args)]
pub struct ModelArgs {
    /// Checkpoint of the teacher: a Hugging Face directory with config.json and safetensors
    #[arg(long, value_name = "DIR", env = "DECANT_MODEL")]
    pub model: PathBuf,

    /// Numbers that the teacher computes in: f32, f16 or bf16
    #[arg(long, value_name = "DTYPE", default_value = "f32", env = "DECANT_DTYPE")]
    pub dtype: String,

    /// Where the teacher runs: cpu, cuda or cuda:N (builds with the cuda feature)
    #[arg(long, value_name = "DEVICE", default_value = "cpu", env = "DECANT_DEVICE")]
    pub device: String,
}
