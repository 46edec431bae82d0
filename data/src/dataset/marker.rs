//! The record that a shard is committed: the one object that decides whose attempt counts.

use serde::{Deserialize, Serialize};

use crate::{Error, ObjectRef, Plan, Result, Store, canonical, format};

/// The role of an attempt's table among its objects.
pub(crate) const TABLE: &str = "table";

/// What made a table: equal bytes are promised for equal builds only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Build {
    /// The program's version.
    pub version: String,
    /// The instruction set that its kernels used.
    pub kernel_path: String,
}

impl std::fmt::Display for Build {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "decant {} on {} kernels", self.version, self.kernel_path)
    }
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

impl Marker {
    pub(crate) const FOLDER: &str = "commits";

    /// Where a shard's marker lies: `commits/00003.json`.
    pub(crate) fn path(shard: u32) -> String {
        format!("{}/{shard:05}.json", Self::FOLDER)
    }

    /// The shard of a marker's path; `None` for other paths.
    pub(crate) fn shard_of(path: &str) -> Option<u32> {
        let shard = path
            .strip_prefix(Self::FOLDER)?
            .strip_prefix('/')?
            .strip_suffix(".json")?
            .parse()
            .ok()?;
        (Self::path(shard) == path).then_some(shard)
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        canonical::pretty(self)
    }

    /// Reads a shard's marker.
    ///
    /// # Errors
    /// It is not there, is no marker, or is of another plan or shard.
    pub(crate) fn read(store: &Store, plan: &Plan, shard: u32) -> Result<Self> {
        let path = Self::path(shard);
        let bytes = store.get(&path)?;
        let place = store.place(&path);
        let mend = "remove it and run the work again";
        let marker: Self = serde_json::from_slice(&bytes)
            .map_err(|error| Error::Data(format!("{place} is no marker: {error}; {mend}")))?;
        format::check_version(&place, marker.format_version)?;
        if marker.to_bytes() != bytes {
            return Err(Error::Data(format!("{place} was changed after it was written; {mend}")));
        }
        if marker.plan != plan.id || marker.shard != shard {
            return Err(Error::Data(format!(
                "{place} is the marker of shard {} of plan {}, not of shard {shard} of plan {}",
                marker.shard, marker.plan, plan.id
            )));
        }
        Ok(marker)
    }

    /// The table of the attempt.
    ///
    /// # Errors
    /// [`Error::Data`] when it names none, or numbers that are not the plan's.
    pub(crate) fn table(&self, store: &Store, plan: &Plan) -> Result<&ObjectRef> {
        let place = || store.place(&Self::path(self.shard));
        let shard = plan.shard(self.shard)?;
        if (self.rows, self.positions) != (shard.examples, shard.positions) {
            return Err(Error::Data(format!(
                "{} has {} rows and {} positions, the plan says {} and {}",
                place(),
                self.rows,
                self.positions,
                shard.examples,
                shard.positions
            )));
        }
        let table = self.objects.iter().find(|object| object.role == TABLE);
        table
            .map(|table| &table.object)
            .ok_or_else(|| Error::Data(format!("{} names no table", place())))
    }
}

/// The builds of some markers, each once, in order.
pub(crate) fn builds(markers: &[Marker]) -> Vec<Build> {
    let builds: std::collections::BTreeSet<&Build> = markers.iter().map(|marker| &marker.build).collect();
    builds.into_iter().cloned().collect()
}
