//! A planned dataset: which shards are committed, what is missing, and attempts at what is missing.

use std::sync::Arc;

use crate::table::{Scan, Table};
use crate::{Error, Example, Manifest, Plan, Result, Store, metadata};

mod attempt;
mod marker;

pub use attempt::{Attempt, CommitOutcome};
pub(crate) use marker::TABLE;
pub use marker::{Build, Marker, MarkerObject};

/// A planned dataset, sealed or not. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Dataset {
    store: Store,
    plan: Arc<Plan>,
}

/// How far a dataset is.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// The plan's id.
    pub plan: String,
    /// Shards of the plan.
    pub shards: u32,
    /// Shards without a marker, ascending.
    pub missing: Vec<u32>,
    /// Examples in committed shards.
    pub rows: u64,
    /// Soft targets in committed shards.
    pub positions: u64,
    /// Bytes of committed tables.
    pub bytes: u64,
    /// What made them, each once. More than one: equal bytes are not promised.
    pub builds: Vec<Build>,
    /// Whether the dataset is whole.
    pub sealed: bool,
}

impl Dataset {
    /// Opens a planned dataset.
    ///
    /// # Errors
    /// No plan there, a plan of a newer format, one that was changed after it was written.
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
    ///
    /// # Errors
    /// The place cannot be read, or a marker is none of this plan's.
    pub fn markers(&self) -> Result<Vec<Marker>> {
        self.committed()?
            .into_iter()
            .map(|shard| Marker::read(&self.store, &self.plan, shard))
            .collect()
    }

    /// The shards without a marker, ascending.
    ///
    /// # Errors
    /// The place cannot be read.
    pub fn missing(&self) -> Result<Vec<u32>> {
        let committed = self.committed()?;
        let shards = self.plan.shards.iter().map(|shard| shard.index);
        Ok(shards.filter(|shard| committed.binary_search(shard).is_err()).collect())
    }

    /// How far it is.
    ///
    /// # Errors
    /// The place cannot be read, a marker is none of this plan's, or the manifest is damaged.
    pub fn status(&self) -> Result<Status> {
        let markers = self.markers()?;
        let bytes = |marker: &Marker| marker.objects.iter().map(|object| object.object.bytes).sum::<u64>();
        Ok(Status {
            plan: self.plan.id.clone(),
            shards: self.plan.shards.len() as u32,
            missing: self.missing()?,
            rows: markers.iter().map(|marker| marker.rows).sum(),
            positions: markers.iter().map(|marker| marker.positions).sum(),
            bytes: markers.iter().map(bytes).sum(),
            builds: marker::builds(&markers),
            sealed: Manifest::find(&self.store)?.is_some(),
        })
    }

    /// The examples of a shard in the plan's order, their bytes verified.
    ///
    /// # Errors
    /// No such shard; other bytes than planned.
    pub fn inputs(&self, shard: u32) -> Result<Vec<Example>> {
        let examples = self.scan_inputs(shard)?.collect::<Result<Vec<_>>>()?;
        let planned = self.plan.shard(shard)?.examples;
        if examples.len() as u64 != planned {
            let place = self.store.place(&self.plan.shard(shard)?.inputs.path);
            return Err(Error::Data(format!(
                "{place} has {} examples, the plan says {planned}",
                examples.len()
            )));
        }
        Ok(examples)
    }

    /// Begins an attempt at a shard; `None`: it has a marker.
    ///
    /// # Errors
    /// No such shard; its inputs are not the planned ones; the place cannot be written.
    pub fn begin(&self, shard: u32) -> Result<Option<Attempt>> {
        let planned = self.plan.shard(shard)?;
        match self.store.exists(&Marker::path(planned.index))? {
            true => Ok(None),
            false => Attempt::new(self.clone(), planned.clone()).map(Some),
        }
    }

    fn scan_inputs(&self, shard: u32) -> Result<Scan<Example>> {
        let layout = self.plan.spec.inputs_layout();
        let table = Table::open(&self.store, &self.plan.shard(shard)?.inputs, &layout)?;
        metadata::check(&table, &metadata::of_inputs(&self.plan.spec))?;
        Ok(table.examples(layout))
    }

    /// The numbers of the shards that have a marker, ascending.
    fn committed(&self) -> Result<Vec<u32>> {
        let markers = self.store.list(Marker::FOLDER)?;
        let mut shards: Vec<u32> = markers.iter().filter_map(|(path, _)| Marker::shard_of(path)).collect();
        shards.retain(|shard| self.plan.shard(*shard).is_ok());
        shards.sort_unstable();
        Ok(shards)
    }
}
