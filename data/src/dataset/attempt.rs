//! One try at a shard, and the moment it counts.
//!
//! An attempt writes under a name that nobody else has, so that any number may run at once. What decides is the
//! create-only put of the shard's marker. A store that says "exists" may speak of our own put, whose reply was lost, or
//! of nothing at all; so the marker is read back and the attempt ids compared.

use std::hash::{BuildHasher, Hasher as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use super::{Build, Dataset, Marker, MarkerObject, TABLE};
use crate::hash::sha256_hex;
use crate::store::{ATTEMPTS, Upload};
use crate::table::Scan;
use crate::writer::{Entry, TableWriter};
use crate::{Error, Example, FORMAT_VERSION, Kind, Put, Result, Row, ShardPlan, metadata};

/// How a commit ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitOutcome {
    /// This attempt's table counts.
    Committed,
    /// It counts; the put of its marker had worked although the store did not say so.
    AlreadyMine,
    /// Another attempt was first; this one's table is dropped.
    Lost {
        /// The attempt that counts.
        by: String,
    },
}

/// One try at a shard. Dropped without a commit, it removes what it wrote.
pub struct Attempt {
    dataset: Dataset,
    shard: ShardPlan,
    id: String,
    path: String,
    /// `None` once the table is finished.
    writer: Option<TableWriter<Upload>>,
    inputs: Scan<Example>,
    /// Whether the staged table may be removed: not while a marker may name it.
    droppable: bool,
}

impl Attempt {
    pub(super) fn new(dataset: Dataset, shard: ShardPlan) -> Result<Self> {
        let id = fresh_id();
        let path = format!("staging/{:05}.{id}.parquet", shard.index);
        let inputs = dataset.scan_inputs(shard.index)?;
        let upload = dataset.store.upload(&path)?;
        let metadata = metadata::of_table(&dataset.plan, &shard);
        let writer = TableWriter::new(upload, dataset.store.place(&path), dataset.plan.spec.layout(), metadata)?;
        Ok(Self {
            dataset,
            shard,
            id,
            path,
            writer: Some(writer),
            inputs,
            droppable: false,
        })
    }

    /// Its id, unlike any other's.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Writes the next row; rows come in the order of the shard's inputs, each with its example unchanged.
    ///
    /// # Errors
    /// [`Error::Bug`]: another example than planned. [`Error::Data`]: soft targets that the codec cannot hold or that
    /// no teacher can mean, naming the example and the position. Trouble with the store.
    pub fn push(&mut self, row: Row) -> Result<()> {
        let spec = &self.dataset.plan.spec;
        let place = |id: &str| format!("shard {}, example {id:?}", self.shard.index);
        match self.inputs.next().transpose()? {
            Some(planned) if planned == row.example => {}
            Some(planned) => {
                let want = &planned.id;
                return Err(Error::Bug(format!(
                    "{}: the planned example here is {want:?}",
                    place(&row.example.id)
                )));
            }
            None => {
                return Err(Error::Bug(format!(
                    "{}: the shard's examples are all there",
                    place(&row.example.id)
                )));
            }
        }
        let positions = row.example.positions(spec.task);
        let checked = row.targets.check(&spec.codec, positions, spec.outcomes, &spec.holes);
        checked.map_err(|why| Error::Data(format!("{}: {why}", place(&row.example.id))))?;
        if row.mean_entropy.is_some_and(|nats| !nats.is_finite()) {
            return Err(Error::Data(format!(
                "{}: the teacher's entropy is not finite",
                place(&row.example.id)
            )));
        }
        let writer = self
            .writer
            .as_mut()
            .ok_or_else(|| Error::Bug("a row after the commit".into()))?;
        writer.push(Entry::from(row))
    }

    /// Makes the rows count, if this attempt is the first.
    ///
    /// # Errors
    /// [`Error::Bug`] when rows are missing. Trouble with the store: of the kind [`Kind::Retry`], it leaves open
    /// whether the rows count; a new attempt finds out.
    pub fn commit(mut self, build: &Build) -> Result<CommitOutcome> {
        if let Some(example) = self.inputs.next().transpose()? {
            let shard = self.shard.index;
            return Err(Error::Bug(format!(
                "shard {shard}: committed before example {:?} came",
                example.id
            )));
        }
        let writer = self.writer.take().ok_or_else(|| Error::Bug("a second commit".into()))?;
        let (rows, positions) = (writer.rows(), writer.positions());
        let object = writer.finish()?.finish()?;
        self.droppable = true;
        let objects = vec![MarkerObject {
            role: TABLE.into(),
            object,
        }];
        let (format_version, plan, shard) = (FORMAT_VERSION, self.dataset.plan.id.clone(), self.shard.index);
        let (attempt, build) = (self.id.clone(), build.clone());
        let marker = Marker {
            format_version,
            plan,
            shard,
            attempt,
            objects,
            rows,
            positions,
            build,
        };
        let outcome = self.put(&marker);
        // Gone only where it is certain that no marker names it: ours may be on its way although a reply got lost.
        self.droppable = match &outcome {
            Ok(CommitOutcome::Lost { .. }) => true,
            Ok(_) => false,
            Err(_) => {
                self.dataset
                    .store
                    .exists(&Marker::path(shard))
                    .is_ok_and(|there| !there)
                    && !retryable(&outcome)
            }
        };
        outcome
    }

    /// Puts the marker where none is, or finds out whose is there.
    fn put(&self, marker: &Marker) -> Result<CommitOutcome> {
        let (store, path) = (&self.dataset.store, Marker::path(marker.shard));
        let bytes = marker.to_bytes();
        let mut last = store.undecided(&path);
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                std::thread::sleep(Duration::from_millis(50 << attempt));
            }
            match store.put_new(&path, bytes.clone()) {
                Ok(Put::Created) => return Ok(CommitOutcome::Committed),
                Ok(Put::Exists) => match Marker::read(store, &self.dataset.plan, marker.shard) {
                    Ok(found) if found.attempt == self.id => return Ok(CommitOutcome::AlreadyMine),
                    Ok(found) => return Ok(CommitOutcome::Lost { by: found.attempt }),
                    Err(error) if error.is_not_found() => {}
                    Err(error) if error.kind() == Kind::Retry => last = error,
                    Err(error) => return Err(error),
                },
                Err(error) if error.kind() == Kind::Retry => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }
}

fn retryable(outcome: &Result<CommitOutcome>) -> bool {
    matches!(outcome, Err(error) if error.kind() == Kind::Retry)
}

impl Drop for Attempt {
    fn drop(&mut self) {
        // An unfinished table was never visible and is dropped with its writer.
        if self.droppable {
            // What could not be removed is an orphan in staging, which nothing trusts.
            let _ = self.dataset.store.delete(&self.path);
        }
    }
}

/// 16 hexadecimal digits that no other attempt has: from the system's randomness, the clock, the process and a count.
fn fresh_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut random = std::hash::RandomState::new().build_hasher();
    random.write_u64(COUNT.fetch_add(1, Ordering::Relaxed));
    let nanos = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |now| now.as_nanos());
    sha256_hex(format!("{} {nanos} {}", random.finish(), std::process::id()).as_bytes())[..16].to_string()
}
