//! Makes a plan from examples as they come.

use std::collections::HashSet;

use bytes::Bytes;

use super::difference::refusal;
use super::{Counts, PLAN_PATH, Plan, PlanSpec, ShardPlan};
use crate::hash::{Hasher, sha256_hex};
use crate::store::ObjectRef;
use crate::writer::{Entry, TableWriter};
use crate::{Dataset, Error, Example, Put, Result, Store, metadata};

/// Where the teacher's files lie in a dataset.
pub(crate) const CONFIG_PATH: &str = "config.json";
pub(crate) const TOKENIZER_PATH: &str = "tokenizer.json";

/// What [`Planner::begin`] found.
pub enum Planning {
    /// The same plan is there already, sealed or not: nothing needs to be read again.
    Existing(Dataset),
    /// There is none yet.
    New(Box<Planner>),
}

/// Writes each shard's inputs as examples come, one shard of each split in memory, and the plan last. Until then the
/// place holds no dataset, and a plan that was cut short can be made again.
pub struct Planner {
    store: Store,
    spec: PlanSpec,
    splits: Vec<Split>,
    keys: HashSet<[u8; 16]>,
}

struct Split {
    name: String,
    open: Option<TableWriter<Vec<u8>>>,
    full: Vec<Inputs>,
}

/// A shard's inputs as stored.
struct Inputs {
    object: ObjectRef,
    examples: u64,
    positions: u64,
}

impl Planner {
    /// Begins a plan, or finds that it exists.
    ///
    /// # Errors
    /// A spec whose parts do not fit; another plan there, naming the keys that differ with both values.
    pub fn begin(store: &Store, spec: PlanSpec) -> Result<Planning> {
        spec.check()?;
        if store.exists(PLAN_PATH)? {
            let existing = Plan::read(store)?;
            return match existing.id == spec.id() {
                true => Ok(Planning::Existing(Dataset::open(store)?)),
                false => Err(refusal(store, &existing, &spec)),
            };
        }
        Ok(Planning::New(Box::new(Self {
            store: store.clone(),
            spec,
            splits: Vec::new(),
            keys: HashSet::new(),
        })))
    }

    /// The next example of a split. Splits may take turns; the examples of each keep their order.
    ///
    /// # Errors
    /// A split name that Hugging Face cannot read; an example that the task cannot use; an id that was there before.
    pub fn push(&mut self, split: &str, example: Example) -> Result<()> {
        example.check(self.spec.task, self.spec.outcomes)?;
        if !self.keys.insert(key(&example)) {
            let (id, view) = (&example.id, example.view);
            return Err(Error::Input(format!(
                "example {id:?} (view {view}) is there twice; ids must be unique"
            )));
        }
        let place = match self.splits.iter().position(|known| known.name == split) {
            Some(place) => place,
            None => {
                check_split_name(split)?;
                self.splits.push(Split {
                    name: split.into(),
                    open: None,
                    full: Vec::new(),
                });
                self.splits.len() - 1
            }
        };
        let writer = match &mut self.splits[place].open {
            Some(writer) => writer,
            closed => {
                let layout = self.spec.inputs_layout();
                let metadata = metadata::of_inputs(&self.spec);
                closed.insert(TableWriter::new(
                    Vec::new(),
                    self.store.place("inputs"),
                    layout,
                    metadata,
                )?)
            }
        };
        writer.push(Entry::from(example))?;
        if writer.rows() == u64::from(self.spec.examples_per_shard) {
            self.end_shard(place)?;
        }
        Ok(())
    }

    /// Writes the teacher's files and the plan.
    ///
    /// # Errors
    /// No example came; other files of these names are there; another planner was first with another plan.
    pub fn finish(mut self, tokenizer_json: Option<&[u8]>, config_json: &[u8], counts: Counts) -> Result<Dataset> {
        for split in 0..self.splits.len() {
            self.end_shard(split)?;
        }
        let shards = self
            .splits
            .iter()
            .flat_map(|split| split.full.iter().map(|inputs| (split.name.clone(), inputs)));
        let shards = shards.zip(0..).map(|((split, inputs), index)| {
            let (inputs, examples, positions) = (inputs.object.clone(), inputs.examples, inputs.positions);
            ShardPlan {
                index,
                split,
                inputs,
                examples,
                positions,
            }
        });
        let shards: Vec<_> = shards.collect();
        if shards.is_empty() {
            return Err(Error::Input(
                "there is nothing to plan: the input has no usable example".into(),
            ));
        }
        let mut files = vec![self.store_file(CONFIG_PATH, config_json)?];
        if let Some(bytes) = tokenizer_json {
            files.push(self.store_file(TOKENIZER_PATH, bytes)?);
        }
        let plan = Plan {
            id: self.spec.id(),
            spec: self.spec,
            shards,
            counts,
            files,
        };
        let bytes = plan.to_bytes();
        if self.store.put_new(PLAN_PATH, bytes.clone())? == Put::Exists {
            let found = Plan::read(&self.store)?;
            if found.id != plan.id {
                return Err(refusal(&self.store, &found, &plan.spec));
            }
            if found.to_bytes() != bytes {
                let place = self.store.place(PLAN_PATH);
                return Err(Error::Fenced(format!(
                    "{place} was written by another planner, with the same settings but other shards; use another output folder"
                )));
            }
        }
        Dataset::open(&self.store)
    }

    fn end_shard(&mut self, split: usize) -> Result<()> {
        let Some(writer) = self.splits[split].open.take() else {
            return Ok(());
        };
        let (examples, positions) = (writer.rows(), writer.positions());
        let bytes = Bytes::from(writer.finish()?);
        let sha256 = sha256_hex(&bytes);
        let object = ObjectRef {
            path: format!("inputs/{sha256}.parquet"),
            sha256,
            bytes: bytes.len() as u64,
        };
        self.store.put_same(&object.path, &bytes)?;
        self.splits[split].full.push(Inputs {
            object,
            examples,
            positions,
        });
        Ok(())
    }

    fn store_file(&self, path: &str, bytes: &[u8]) -> Result<ObjectRef> {
        self.store.put_same(path, &Bytes::copy_from_slice(bytes))?;
        Ok(ObjectRef {
            path: path.into(),
            sha256: sha256_hex(bytes),
            bytes: bytes.len() as u64,
        })
    }
}

/// An example's id and view as 128 bits of a hash, so that millions can be remembered.
fn key(example: &Example) -> [u8; 16] {
    let mut hasher = Hasher::new();
    hasher.update(&example.view.to_le_bytes());
    hasher.update(example.id.as_bytes());
    hasher.short()
}

/// Hugging Face takes a split's name from its files' names and allows words and dots.
pub(super) fn check_split_name(split: &str) -> Result<()> {
    let word = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    match split.split('.').all(word) {
        true => Ok(()),
        false => Err(Error::Input(format!(
            "split {split:?}: use letters, digits, _ and single dots, as in train or test"
        ))),
    }
}
