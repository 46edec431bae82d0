//! What a run is told: a TOML file, overridden by the environment and by flags.

mod check;
mod difference;
mod load;

use std::collections::BTreeMap;
use std::path::PathBuf;

use decant_data::input::TextUnit;
use serde::{Deserialize, Serialize};

pub use difference::differences;
pub use load::Overrides;

/// A training run. Paths are relative to the current folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Seed of the initial weights and of the order of examples.
    #[serde(default)]
    pub seed: u64,
    /// The model that learns.
    pub student: StudentConfig,
    /// What it learns from.
    pub data: DataConfig,
    /// What it is asked to match.
    #[serde(default)]
    pub loss: LossConfig,
    /// How a gradient becomes a step.
    #[serde(default)]
    pub optimizer: OptimizerConfig,
    /// How long, in which portions, and what is kept on the way.
    pub training: TrainingConfig,
}

/// The model that learns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudentConfig {
    /// A Hugging Face folder: `config.json`, and weights to start from where it holds them.
    pub path: PathBuf,
    /// Start from new weights even where the folder holds some.
    #[serde(default)]
    pub from_scratch: bool,
}

/// What the student learns from: a sealed dataset, or raw inputs where no soft target is asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Location of a sealed soft-label dataset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    /// Raw inputs instead: for each split its file or folder.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, PathBuf>,
    /// The split to train on, or several.
    #[serde(default = "train_split", deserialize_with = "one_or_many")]
    pub train: Vec<String>,
    /// The split to evaluate on, or several.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "one_or_many")]
    pub evaluate: Vec<String>,
    /// Or the fraction of the training split to evaluate on instead of training, chosen by a hash of the id (of a
    /// window: its document's).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<f64>,
    /// How raw inputs are read.
    #[serde(default)]
    pub reading: ReadingConfig,
}

fn train_split() -> Vec<String> {
    vec!["train".into()]
}

fn one_or_many<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a name or a list of names")]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(name) => vec![name],
        OneOrMany::Many(names) => names,
    })
}

/// How raw inputs become examples: the same words as the flags of `teacher-server plan`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReadingConfig {
    /// What one document of a plain text file is.
    pub text_unit: TextUnit,
    /// Column or key of a text.
    pub text_column: String,
    /// Column of an image.
    pub image_column: String,
    /// Column or key of the label.
    pub label_column: String,
    /// Column or key of the id.
    pub id_column: String,
    /// The most tokens that an example may have; the student's own limit unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_length: Option<usize>,
    /// Cut longer ones; otherwise they are left out and counted.
    pub truncate: bool,
    /// Cut documents into windows of so many tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<usize>,
    /// Tokens between the starts of two windows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stride: Option<usize>,
    /// A token put in front of every window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
}

impl Default for ReadingConfig {
    fn default() -> Self {
        let names = decant_data::input::ReadOptions::default();
        Self {
            text_unit: names.text_unit,
            text_column: names.text_column,
            image_column: names.image_column,
            label_column: names.label_column,
            id_column: names.id_column,
            max_length: None,
            truncate: false,
            window: None,
            stride: None,
            prefix: None,
        }
    }
}

/// `soft_weight T^2 KL(teacher || student) at T + hard_weight cross-entropy`; each term is summed over the positions
/// where it is defined and divided by their count in the whole optimizer step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LossConfig {
    /// Weight of the divergence from the soft targets.
    pub soft_weight: f64,
    /// Weight of the cross-entropy with the hard targets.
    pub hard_weight: f64,
    /// Temperature of the soft term; for `top_k` one that the dataset declares.
    pub temperature: f64,
    /// What becomes of the teacher's mass outside the kept entries.
    pub tail: Tail,
    /// What the hard targets are.
    pub hard_targets: HardTargets,
}

impl Default for LossConfig {
    fn default() -> Self {
        Self {
            soft_weight: 1.0,
            hard_weight: 0.0,
            temperature: 1.0,
            tail: Tail::Bucket,
            hard_targets: HardTargets::Labels,
        }
    }
}

/// What becomes of the teacher's mass outside the kept entries of `top_k`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tail {
    /// One more outcome on both sides.
    Bucket,
    /// Spread over the kept entries, which biases the student towards them.
    Renormalize,
}

impl From<Tail> for decant_kernels::loss::Tail {
    fn from(tail: Tail) -> Self {
        match tail {
            Tail::Bucket => Self::Bucket,
            Tail::Renormalize => Self::Renormalize,
        }
    }
}

/// What the hard targets are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HardTargets {
    /// The true label; for a language model the next token.
    Labels,
    /// The teacher's likeliest outcome, from the dataset.
    TeacherArgmax,
}

/// AdamW, its schedule and its clipping.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimizerConfig {
    /// The largest learning rate.
    pub learning_rate: f64,
    /// Decays of the two moments.
    pub betas: [f64; 2],
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay, of parameters with two or more dimensions alone.
    pub weight_decay: f64,
    /// Largest global norm of a gradient; a longer one is scaled down to it. 0: no clipping.
    pub clip_norm: f64,
    /// Steps over which the learning rate rises from 0.
    pub warmup_steps: u64,
    /// What it does then.
    pub schedule: Schedule,
    /// The fraction of the learning rate that the cosine ends at.
    pub min_ratio: f64,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            learning_rate: 1e-3,
            betas: [0.9, 0.999],
            eps: 1e-8,
            weight_decay: 0.01,
            clip_norm: 1.0,
            warmup_steps: 0,
            schedule: Schedule::Cosine,
            min_ratio: 0.1,
        }
    }
}

/// The learning rate after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Half a cosine down to `min_ratio` at the last step.
    Cosine,
    /// Unchanged.
    Constant,
}

/// How long, in which portions, and what is kept on the way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingConfig {
    /// Optimizer steps; or else `epochs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Passes over the training split; or else `steps`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u64>,
    /// Examples in an optimizer step; or else `batch_tokens`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<usize>,
    /// Tokens in an optimizer step, filled with whole examples; or else `batch_size`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_tokens: Option<usize>,
    /// Examples that are in memory at once: the step is accumulated from such portions. The whole step unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub micro_batch_size: Option<usize>,
    /// Tokens that are in memory at once. The whole step unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub micro_batch_tokens: Option<usize>,
    /// Positions of a row into which documents are packed; the longest document of a portion unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row_tokens: Option<usize>,
    /// Evaluate after every so many steps; 0: at the end alone.
    #[serde(default)]
    pub evaluate_every: u64,
    /// Write a checkpoint after every so many steps; 0: at the end alone.
    #[serde(default)]
    pub checkpoint_every: u64,
    /// How many checkpoints are kept.
    #[serde(default = "two")]
    pub keep: usize,
    /// Threads; all cores unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
}

fn two() -> usize {
    2
}
