//! The frozen description of one precomputation.
//!
//! Everything that the stored values depend on is in [`PlanSpec`]; its hash is the plan's id. `plan.json` adds the cuts
//! into shards and is written once: the same plan can be asked for again, another one in the same place is refused.

use serde::{Deserialize, Serialize};

use crate::hash::sha256_hex;
use crate::input::{ReadOptions, Window};
use crate::schema::Layout;
use crate::store::ObjectRef;
use crate::{Codec, Error, Result, SourceIdentity, Store, Task, TeacherIdentity, TokenizerIdentity, canonical, format};

mod difference;
mod planner;

pub(crate) use planner::{CONFIG_PATH, TOKENIZER_PATH};
pub use planner::{Planner, Planning};

/// Where the plan lies in a dataset.
pub(crate) const PLAN_PATH: &str = "plan.json";

/// What a batch of the teacher may hold. Batches are cut inside a shard, its examples sorted by length, so that the cut
/// depends on nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BatchBudget {
    /// At most so many tokens, padding included.
    Tokens(u64),
    /// At most so many pixels.
    Pixels(u64),
}

/// Which of equal logits is kept first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ties {
    /// The one with the lower id.
    LowerIdFirst,
}

/// Everything that the soft targets depend on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanSpec {
    /// [`FORMAT_VERSION`](crate::FORMAT_VERSION).
    pub format_version: u32,
    /// What the teacher does.
    pub task: Task,
    /// Who it is.
    pub teacher: TeacherIdentity,
    /// The names of its classes in order, for classification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<String>>,
    /// Its tokenizer, for token sequences.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<TokenizerIdentity>,
    /// The width of a softmax: the number of classes, or 1 + the largest id of the tokenizer's map. The padding of the
    /// teacher's head lies beyond it.
    pub outcomes: u32,
    /// The ids below `outcomes` that the tokenizer's map lacks, ascending: outside the softmax.
    pub holes: Vec<u32>,
    /// The files the examples come from.
    pub sources: Vec<SourceIdentity>,
    /// How they were read.
    pub reading: ReadOptions,
    /// The most tokens an example may have.
    pub max_length: Option<u32>,
    /// Whether a longer one is cut; otherwise it is refused.
    pub truncate: bool,
    /// How long documents are cut into examples.
    pub window: Option<Window>,
    /// How many examples a shard has; a split's last may have fewer.
    pub examples_per_shard: u32,
    /// What a batch may hold.
    pub batch_budget: BatchBudget,
    /// How many positions go through the head and the codec at once.
    pub chunk_rows: u32,
    /// How soft targets are stored.
    pub codec: Codec,
    /// Which of equal logits is kept.
    pub ties: Ties,
    /// The seed of everything random.
    pub seed: u64,
}

impl PlanSpec {
    /// sha256 of the canonical JSON: keys in order, no spaces.
    pub fn sha256(&self) -> String {
        sha256_hex(canonical::compact(self).as_bytes())
    }

    /// The first 16 hexadecimal digits of [`sha256`](Self::sha256).
    pub fn id(&self) -> String {
        self.sha256()[..16].to_string()
    }

    /// The columns of a shard's table.
    pub(crate) fn layout(&self) -> Layout {
        let codec = Some(self.codec.clone());
        Layout {
            task: self.task,
            codec,
            outcomes: self.outcomes,
            holes: self.holes.clone(),
        }
    }

    /// The columns of a shard's inputs.
    pub(crate) fn inputs_layout(&self) -> Layout {
        Layout {
            codec: None,
            ..self.layout()
        }
    }

    /// Whether the parts make sense and fit each other.
    ///
    /// # Errors
    /// The first that does not, and its mend.
    pub fn check(&self) -> Result<()> {
        format::check_version("the plan", self.format_version)?;
        self.codec.check()?;
        for source in &self.sources {
            planner::check_split_name(&source.split)?;
        }
        let refuse = |what: String| Err(Error::Input(format!("plan: {what}")));
        if self.outcomes == 0 {
            return refuse("outcomes is 0; the teacher needs at least one class or token".into());
        }
        if i32::try_from(self.outcomes).is_err() {
            return refuse(format!("outcomes is {}; ids are stored in 31 bits", self.outcomes));
        }
        if self.holes.windows(2).any(|pair| pair[0] >= pair[1])
            || self.holes.last().is_some_and(|id| *id >= self.outcomes)
        {
            return refuse(format!(
                "holes must ascend and stay below the {} outcomes",
                self.outcomes
            ));
        }
        if self.holes.len() >= self.outcomes as usize {
            return refuse("holes: no id is left inside the softmax".into());
        }
        if let Some(classes) = &self.classes
            && classes.len() != self.outcomes as usize
        {
            return refuse(format!(
                "classes has {} names for {} outcomes",
                classes.len(),
                self.outcomes
            ));
        }
        if self.examples_per_shard == 0 {
            return refuse("examples_per_shard is 0; give --examples-per-shard at least 1".into());
        }
        Ok(())
    }
}

/// One unit of work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardPlan {
    /// Its number in the plan, from 0; the shards of a split follow each other.
    pub index: u32,
    /// The split that all its examples belong to.
    pub split: String,
    /// Its examples, tokenised.
    pub inputs: ObjectRef,
    /// How many there are.
    pub examples: u64,
    /// How many soft targets they have.
    pub positions: u64,
}

/// What planning met on its way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Counts {
    /// Examples or documents read.
    pub read: u64,
    /// Blank lines or empty texts passed over.
    pub blank: u64,
    /// Examples cut to the longest length.
    pub truncated: u64,
    /// Examples left out for being too short to have a soft target.
    pub too_short: u64,
}

/// A plan as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// [`PlanSpec::id`].
    pub id: String,
    /// What the values depend on.
    pub spec: PlanSpec,
    /// The units of work, in order.
    pub shards: Vec<ShardPlan>,
    /// What planning met.
    pub counts: Counts,
    /// The teacher's `config.json` and, where it has one, `tokenizer.json`, as stored beside the plan.
    pub files: Vec<ObjectRef>,
}

impl Plan {
    /// Reads `plan.json` and checks it against itself.
    ///
    /// # Errors
    /// No plan there; not a plan; of a newer format; changed after it was written.
    pub fn read(store: &Store) -> Result<Self> {
        let bytes = store.get(PLAN_PATH).map_err(|error| match error.is_not_found() {
            true => Error::Input(format!(
                "{} holds no plan.json: not a dataset; plan one first",
                store.url()
            )),
            false => error,
        })?;
        Self::parse(&store.place(PLAN_PATH), &bytes)
    }

    /// Reads a plan from the bytes of a `plan.json`.
    pub(crate) fn parse(place: &str, bytes: &[u8]) -> Result<Self> {
        let value: serde_json::Value = serde_json::from_slice(bytes).map_err(Error::json(place))?;
        // The version first: what a newer one looks like is not known here.
        let version = value
            .pointer("/spec/format_version")
            .and_then(serde_json::Value::as_u64);
        let Some(version) = version.and_then(|version| u32::try_from(version).ok()) else {
            return Err(Error::Data(format!(
                "{place}: spec.format_version is missing; not a plan"
            )));
        };
        format::check_version(place, version)?;
        let plan: Self = serde_json::from_value(value).map_err(Error::json(place))?;
        if plan.spec.id() != plan.id {
            let (found, want) = (plan.spec.id(), &plan.id);
            return Err(Error::Data(format!(
                "{place} was changed: its spec hashes to {found}, its id is {want}"
            )));
        }
        if let Some((place_in, shard)) = plan
            .shards
            .iter()
            .enumerate()
            .find(|(index, shard)| *index != shard.index as usize)
        {
            return Err(Error::Data(format!(
                "{place}: shard {} stands in place {place_in}",
                shard.index
            )));
        }
        if plan.to_bytes() != bytes {
            return Err(Error::Data(format!("{place} was changed after it was written")));
        }
        plan.spec.check()?;
        Ok(plan)
    }

    /// The names of the splits, in the order of their shards.
    pub fn splits(&self) -> Vec<&str> {
        let mut splits: Vec<&str> = self.shards.iter().map(|shard| shard.split.as_str()).collect();
        splits.dedup();
        splits
    }

    /// How many examples there are.
    pub fn examples(&self) -> u64 {
        self.shards.iter().map(|shard| shard.examples).sum()
    }

    /// How many soft targets there are.
    pub fn positions(&self) -> u64 {
        self.shards.iter().map(|shard| shard.positions).sum()
    }

    /// The name of a shard's table in a sealed dataset: `data/<split>-00000-of-00016.parquet`.
    pub fn final_path(&self, shard: &ShardPlan) -> String {
        let of_split = |other: &&ShardPlan| other.split == shard.split;
        let total = self.shards.iter().filter(of_split).count();
        let place = self
            .shards
            .iter()
            .filter(of_split)
            .take_while(|other| other.index < shard.index)
            .count();
        format!("data/{}-{place:05}-of-{total:05}.parquet", shard.split)
    }

    /// The shard of this number.
    ///
    /// # Errors
    /// [`Error::Input`] when the plan has no such shard.
    pub fn shard(&self, index: u32) -> Result<&ShardPlan> {
        let missing = || {
            Error::Input(format!(
                "shard {index}: plan {} has shards 0 to {}",
                self.id,
                self.shards.len().saturating_sub(1)
            ))
        };
        self.shards.get(index as usize).ok_or_else(missing)
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        canonical::pretty(self)
    }
}
