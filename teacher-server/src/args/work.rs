//! The three steps of a capture, and the one command that takes them all.

use super::{ModelArgs, PlanArgs};
use crate::capture::Start;
use crate::{Error, Result};
use clap::Args;
use std::path::PathBuf;

/// Flags of `precompute`.
#[derive(Debug, Clone, Args)]
pub struct PrecomputeArgs {
    /// The teacher.
    #[command(flatten)]
    pub model: ModelArgs,
    /// The plan.
    #[command(flatten)]
    pub plan: PlanArgs,
}

/// Flags of `plan`: those of `precompute`.
pub type PlanCommand = PrecomputeArgs;

/// Flags of `work`; everything else is in the plan.
#[derive(Debug, Clone, Args)]
pub struct WorkArgs {
    /// Checkpoint of the teacher that the plan names
    #[arg(long, value_name = "DIR", env = "DECANT_MODEL")]
    pub model: PathBuf,

    /// Folder or object-store URL of the planned dataset
    #[arg(long, value_name = "URL", env = "DECANT_OUTPUT")]
    pub output: String,

    /// Which card to use where the plan says cuda: cuda or cuda:N
    #[arg(long, value_name = "DEVICE", env = "DECANT_DEVICE")]
    pub device: Option<String>,

    /// Where this worker starts.
    #[command(flatten)]
    pub shards: ShardArgs,
}

/// Where a worker starts; it then goes on to every shard that has no marker.
#[derive(Debug, Clone, Default, Args)]
pub struct ShardArgs {
    /// Number of this worker, from 0 [default: SLURM_ARRAY_TASK_ID, JOB_COMPLETION_INDEX or 0]
    #[arg(long, value_name = "N", env = "DECANT_SHARD_INDEX")]
    pub shard_index: Option<u32>,

    /// How many workers there are [default: SLURM_ARRAY_TASK_COUNT, or none: index N starts at shard N]
    #[arg(long, value_name = "N", env = "DECANT_SHARD_COUNT")]
    pub shard_count: Option<u32>,
}

impl ShardArgs {
    /// Where this worker starts: by its flags, else as a Slurm array or a Kubernetes indexed job numbers it.
    ///
    /// # Errors
    /// A scheduler's variable that is not a number; a count of 0.
    pub fn start(&self) -> Result<Start> {
        self.start_in(|name| std::env::var(name).ok())
    }

    fn start_in(&self, variable: impl Fn(&str) -> Option<String>) -> Result<Start> {
        let number = |name: &str| match variable(name).filter(|text| !text.is_empty()) {
            None => Ok(None),
            Some(text) => text
                .parse()
                .map(Some)
                .map_err(|_| Error::Request(format!("{name} is {text:?}, not a number from 0 up"))),
        };
        let start = match self.shard_index {
            Some(index) => Start {
                index,
                count: self.shard_count,
            },
            None => match number("SLURM_ARRAY_TASK_ID")? {
                Some(index) => Start {
                    index,
                    count: self.shard_count.or(number("SLURM_ARRAY_TASK_COUNT")?),
                },
                None => {
                    let index = number("JOB_COMPLETION_INDEX")?.unwrap_or_default();
                    Start {
                        index,
                        count: self.shard_count,
                    }
                }
            },
        };
        match start.count {
            Some(0) => Err(Error::Request("--shard-count is 0; give at least 1".to_owned())),
            _ => Ok(start),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ShardArgs, Start};

    fn start(flags: (Option<u32>, Option<u32>), variables: &[(&str, &str)]) -> Result<Start, String> {
        let args = ShardArgs {
            shard_index: flags.0,
            shard_count: flags.1,
        };
        let find = |name: &str| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        args.start_in(find).map_err(|error| error.to_string())
    }

    #[test]
    fn flags_win_over_slurm_and_slurm_over_kubernetes() {
        let slurm = ("SLURM_ARRAY_TASK_ID", "3");
        let tasks = ("SLURM_ARRAY_TASK_COUNT", "8");
        let kubernetes = ("JOB_COMPLETION_INDEX", "5");
        assert_eq!(start((None, None), &[]), Ok(Start { index: 0, count: None }));
        assert_eq!(start((None, None), &[kubernetes]), Ok(Start { index: 5, count: None }));
        assert_eq!(
            start((None, None), &[slurm, tasks, kubernetes]),
            Ok(Start {
                index: 3,
                count: Some(8)
            })
        );
        assert_eq!(
            start((Some(1), None), &[slurm, tasks]),
            Ok(Start { index: 1, count: None })
        );
        assert_eq!(
            start((None, Some(2)), &[slurm, tasks]),
            Ok(Start {
                index: 3,
                count: Some(2)
            })
        );
    }

    #[test]
    fn what_is_no_number_is_refused_by_name() {
        assert!(
            start((None, None), &[("JOB_COMPLETION_INDEX", "x")])
                .unwrap_err()
                .contains("JOB_COMPLETION_INDEX")
        );
        assert!(start((None, Some(0)), &[]).unwrap_err().contains("--shard-count"));
    }
}
