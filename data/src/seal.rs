//! Makes a dataset whole.

use serde::{Deserialize, Serialize};

use crate::{Build, ObjectRef, Progress, Result, Store};

/// One file of a sealed dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ManifestFile {
    /// What it is: `table`, `plan`, `marker`, `card`, `sums`, `config`, `tokenizer`.
    pub role: String,
    /// Where it lies and what is in it.
    #[serde(flatten)]
    pub object: ObjectRef,
    /// For a table: its shard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<u32>,
}

/// A split in numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SplitSummary {
    /// Its name.
    pub name: String,
    /// Its examples.
    pub examples: u64,
    /// Its soft targets.
    pub positions: u64,
    /// Bytes of its tables.
    pub bytes: u64,
}

/// What a sealed dataset consists of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT_VERSION`](crate::FORMAT_VERSION).
    pub format_version: u32,
    /// Features that a reader must know.
    pub reader_flags: Vec<String>,
    /// Features that a writer must know.
    pub writer_flags: Vec<String>,
    /// The plan's id.
    pub plan: String,
    /// Every split.
    pub splits: Vec<SplitSummary>,
    /// What made the tables, each once. More than one: equal bytes are not promised.
    pub builds: Vec<Build>,
    /// Every file but the manifest.
    pub files: Vec<ManifestFile>,
}

/// Puts every committed table under its final name and writes sums, card and, last, the manifest.
pub fn seal(_store: &Store, _progress: &mut dyn Progress) -> Result<Manifest> {
    todo!()
}
