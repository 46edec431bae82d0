//! A planned dataset: which shards are committed, what is missing, and attempts at what is missing.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Example, ObjectRef, Plan, Result, Row, Store};

/// What made a table: bytes are promised equal only for equal builds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Build {
    /// The program and its version.
    pub version: String,
    /// The instruction set that its kernels used.
    pub kernel_path: String,
}

/// One object of a committed attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkerObject {
    /// What it is: `table`.
    pub role: String,
    /// Where it lies and what is in it.
    #[serde(flatten)]
    pub object: ObjectRef,
}

/// The record that a shard is committed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Marker {
    /// [`FORMAT_VERSION`](crate::FORMAT_VERSION).
    pub format_version: u32,
    /// The plan's id.
    pub plan: String,
    /// The shard's number.
    pub shard: u32,
    /// The attempt that was first.
    pub attempt: String,
    /// Everything that it left.
    pub objects: Vec<MarkerObject>,
    /// Rows of its table.
    pub rows: u64,
    /// Soft targets of its table.
    pub positions: u64,
    /// What made it.
    pub build: Build,
}

/// How far a dataset is.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// The plan's id.
    pub plan: String,
    /// Shards of the plan.
    pub shards: u32,
    /// Shards without a marker.
    pub missing: Vec<u32>,
    /// Examples in committed shards.
    pub rows: u64,
    /// Soft targets in committed shards.
    pub positions: u64,
    /// Bytes of committed tables.
    pub bytes: u64,
    /// What made them, each once.
    pub builds: Vec<Build>,
    /// Whether the dataset is whole.
    pub sealed: bool,
}

/// A planned dataset, sealed or not.
#[derive(Debug, Clone)]
pub struct Dataset {
    store: Store,
    plan: Arc<Plan>,
}

/// How a commit ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitOutcome {
    /// This attempt's table counts.
    Committed,
    /// It counted already: the reply to an earlier try was lost.
    AlreadyMine,
    /// Another attempt was first; this one's table is dropped.
    Lost {
        /// The attempt that counts.
        by: String,
    },
}

/// One try at a shard. Dropped without a commit, it removes what it wrote.
pub struct Attempt {}

impl Dataset {
    /// Opens a planned dataset.
    pub fn open(store: &Store) -> Result<Self> {
        Ok(Self {
            store: store.clone(),
            plan: Arc::new(Plan::read(store)?),
        })
    }
    /// Its plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
    /// Where it lies.
    pub fn store(&self) -> &Store {
        &self.store
    }
    /// The markers of all committed shards, in shard order.
    pub fn markers(&self) -> Result<Vec<Marker>> {
        todo!()
    }
    /// The shards without a marker.
    pub fn missing(&self) -> Result<Vec<u32>> {
        todo!()
    }
    /// How far it is.
    pub fn status(&self) -> Result<Status> {
        todo!()
    }
    /// The examples of a shard, their bytes verified.
    pub fn inputs(&self, _shard: u32) -> Result<Vec<Example>> {
        todo!()
    }
    /// Begins an attempt at a shard; `None`: it has a marker.
    pub fn begin(&self, _shard: u32) -> Result<Option<Attempt>> {
        todo!()
    }
}

impl Attempt {
    /// Its id.
    pub fn id(&self) -> &str {
        todo!()
    }
    /// The next row, in the order of the shard's inputs.
    pub fn push(&mut self, _row: &Row) -> Result<()> {
        todo!()
    }
    /// Makes the rows count, if this attempt is the first.
    pub fn commit(self, _build: &Build) -> Result<CommitOutcome> {
        todo!()
    }
}
