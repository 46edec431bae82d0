//! The record of a sealed dataset: every file with its hash. Written last, it is what makes the dataset whole.
//!
//! `manifest.json` vouches for itself: it holds the hash of its own content, and its bytes are the one spelling of it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::hash::sha256_hex;
use crate::{Build, Dataset, Error, ObjectRef, Plan, READER_FLAGS, Result, Store, canonical, format};

/// The key of the manifest's own hash.
const OWN_HASH: &str = "sha256";
/// What mends a manifest that was damaged.
const MEND: &str = "copy the dataset again, or remove the manifest and seal again";

/// What a file of a sealed dataset is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A shard's rows.
    Table,
    /// A shard's marker.
    Marker,
    /// The plan.
    Plan,
    /// The teacher's `config.json` or `tokenizer.json`.
    Model,
    /// The dataset card.
    Card,
    /// `SHA256SUMS`.
    Sums,
}

/// One file of a sealed dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ManifestFile {
    /// What it is.
    pub role: Role,
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
    /// Every split, in the order of the plan.
    pub splits: Vec<SplitSummary>,
    /// What made the tables, each once. More than one: equal bytes are not promised.
    pub builds: Vec<Build>,
    /// Every file but the manifest.
    pub files: Vec<ManifestFile>,
}

impl Manifest {
    /// Where it lies in a dataset.
    pub(crate) const PATH: &str = "manifest.json";

    /// Reads and checks `manifest.json`; `None`: not sealed.
    ///
    /// # Errors
    /// Of a newer format or with an unknown flag; damaged, or changed after it was written.
    pub(crate) fn find(store: &Store) -> Result<Option<Self>> {
        match store.get(Self::PATH) {
            Ok(bytes) => Self::parse(&store.place(Self::PATH), &bytes).map(Some),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// [`find`](Self::find), of a dataset that must be sealed.
    ///
    /// # Errors
    /// Not sealed, naming what is missing; those of `find`.
    pub(crate) fn read(store: &Store) -> Result<Self> {
        Self::find(store)?.ok_or_else(|| unsealed(store))
    }

    pub(crate) fn parse(place: &str, bytes: &[u8]) -> Result<Self> {
        let mut value: Value = serde_json::from_slice(bytes)
            .map_err(|error| Error::Data(format!("{place} is no manifest: {error}; {MEND}")))?;
        let version = value
            .get("format_version")
            .and_then(Value::as_u64)
            .and_then(|version| u32::try_from(version).ok());
        let version =
            version.ok_or_else(|| Error::Data(format!("{place}: format_version is missing; not a manifest")))?;
        format::check_version(place, version)?;
        let spelled = canonical::pretty(&value);
        let own = value.as_object_mut().and_then(|object| object.remove(OWN_HASH));
        let computed = sha256_hex(canonical::compact(&value).as_bytes());
        if own.as_ref().and_then(Value::as_str) != Some(computed.as_str()) || spelled != bytes {
            return Err(Error::Data(format!(
                "{place} was changed after it was written: it does not have its own sha256; {MEND}"
            )));
        }
        let manifest: Self = serde_json::from_value(value).map_err(Error::json(place))?;
        format::check_flags(place, "reader", &manifest.reader_flags, READER_FLAGS)?;
        Ok(manifest)
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut value = canonical::sorted(self);
        let own = sha256_hex(canonical::compact(&value).as_bytes());
        if let Some(object) = value.as_object_mut() {
            object.insert(OWN_HASH.into(), own.into());
        }
        canonical::pretty(&value)
    }

    /// The file of this path.
    ///
    /// # Errors
    /// [`Error::Data`] when the manifest has none.
    pub(crate) fn file(&self, store: &Store, path: &str) -> Result<&ManifestFile> {
        let missing = || Error::Data(format!("{} does not name {path}", store.place(Self::PATH)));
        self.files
            .iter()
            .find(|file| file.object.path == path)
            .ok_or_else(missing)
    }

    /// The plan, its bytes verified.
    ///
    /// # Errors
    /// Other bytes than recorded, or another plan's id.
    pub(crate) fn read_plan(&self, store: &Store) -> Result<Plan> {
        let object = &self.file(store, crate::plan::PLAN_PATH)?.object;
        let plan = Plan::parse(&store.place(&object.path), &store.get_verified(object)?)?;
        match plan.id == self.plan {
            true => Ok(plan),
            false => Err(Error::Data(format!(
                "{} is of plan {}, plan.json of {}",
                store.place(Self::PATH),
                self.plan,
                plan.id
            ))),
        }
    }
}

/// Why a place without a manifest cannot be read yet.
fn unsealed(store: &Store) -> Error {
    let missing = match Dataset::open(store).and_then(|dataset| Ok((dataset.missing()?, dataset.plan().shards.len()))) {
        Ok(missing) => missing,
        Err(error) => return error,
    };
    let mend = match missing {
        (missing, _) if missing.is_empty() => "all shards are committed; seal it".to_string(),
        (missing, shards) => format!(
            "{} of {shards} shards are missing; finish the work, then seal it",
            missing.len()
        ),
    };
    Error::Input(format!("{} is not sealed: {mend}", store.url()))
}
