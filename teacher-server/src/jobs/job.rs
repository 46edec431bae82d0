//! A job as others see it.

use crate::planning::PlanRequest;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::SystemTime;

/// A precomputation: plan, one capture a shard, seal.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// The id of its plan.
    pub id: String,
    /// Where it stands.
    pub state: JobState,
    /// What was asked, with resolved paths.
    pub request: Arc<PlanRequest>,
    /// Where its dataset goes, resolved.
    pub output: String,
    /// How far it is.
    pub progress: JobProgress,
    /// When it was first created.
    pub created: SystemTime,
}

/// Where a job stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobState {
    /// Waits for the jobs before it.
    Pending,
    /// Reads, tokenises and cuts its inputs.
    Planning,
    /// Runs the teacher, shard by shard.
    Running,
    /// Puts the committed shards under their final names and verifies them.
    Sealing,
    /// Its dataset is whole.
    Succeeded,
    /// Stopped by an error: why, in one line.
    Failed(String),
    /// Stopped by a caller.
    Cancelled,
}

impl JobState {
    /// Its name for people and scripts.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Planning => "PLANNING",
            Self::Running => "RUNNING",
            Self::Sealing => "SEALING",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed(_) => "FAILED",
            Self::Cancelled => "CANCELLED",
        }
    }

    /// Whether it stays so until the job is created again.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed(_) | Self::Cancelled)
    }
}

/// How far a job is. Totals are 0 until it is planned; what is done includes shards committed before this run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobProgress {
    /// Shards with a commit marker.
    pub shards_done: u64,
    /// Shards of the plan.
    pub shards_total: u64,
    /// Examples through the teacher.
    pub examples_done: u64,
    /// Examples of the plan.
    pub examples_total: u64,
    /// Positions through the teacher.
    pub positions_done: u64,
    /// Positions of the plan.
    pub positions_total: u64,
    /// Positions a second since this run began to capture.
    pub positions_per_second: f64,
}
