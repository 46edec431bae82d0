//! The soft-label dataset: schema, codecs, plan, commit, seal, reader.
//!
//! A dataset is made in three steps, each of which can be killed and run again:
//!
//! 1. [`Planner`] freezes the inputs, their cut into shards, the teacher and the codec in a [`Plan`].
//! 2. For each shard an [`Attempt`] writes a table and commits it: the first one counts.
//! 3. [`seal`] gives every committed table its final name and writes the [`Manifest`].
//!
//! From then on it is read through a [`Reader`], which trusts nothing that the manifest does not vouch for, and checked
//! by [`verify`].

#![deny(unsafe_code)]

mod canonical;
mod card;
mod codec;
mod dataset;
mod error;
mod example;
pub mod export;
mod format;
mod hash;
mod identity;
pub mod input;
mod manifest;
mod metadata;
mod plan;
mod progress;
mod reader;
mod schema;
mod seal;
mod store;
mod table;
mod verify;
mod writer;

pub use codec::{Codec, Row, SoftTargets, Values};
pub use dataset::{Attempt, Build, CommitOutcome, Dataset, Marker, MarkerObject, Status};
pub use error::{Error, Kind, Result};
pub use example::{Example, ExampleContent, Task};
pub use format::{FORMAT_VERSION, READER_FLAGS, WRITER_FLAGS};
pub use hash::sha256_hex;
pub use identity::{SourceIdentity, TeacherIdentity, TokenizerIdentity, class_difference, map_difference};
pub use manifest::{Manifest, ManifestFile, Role, SplitSummary};
pub use plan::{BatchBudget, Counts, Plan, PlanSpec, Planner, Planning, ShardPlan, Ties};
pub use progress::Progress;
pub use reader::{Reader, Rows};
pub use seal::seal;
pub use store::{ObjectRef, Put, Store};
pub use verify::{Verified, verify};
