//! What a caller asks to have captured, before any input is read.

use clap::ValueEnum;
use decant_data::Values;
use decant_data::input::ReadOptions;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What a caller asks to have captured. [`PlanRequest::new`] gives the defaults that the flags document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanRequest {
    /// What to read, in this order.
    pub sources: Vec<Source>,
    /// How to read it.
    pub reading: ReadOptions,
    /// How soft targets are stored; by task where absent.
    pub codec: Option<CodecKind>,
    /// Entries that top_k keeps at a position.
    pub top_k: u32,
    /// Temperatures that top_k declares.
    pub temperatures: Vec<f32>,
    /// Numbers that logits are stored in; by codec where absent.
    pub values: Option<Values>,
    /// Longest example, in tokens; the model's limit where absent.
    pub max_length: Option<usize>,
    /// Cut longer examples instead of refusing them.
    pub truncate: bool,
    /// Cut documents into windows.
    pub window: Option<WindowRequest>,
    /// Examples in a shard; by task where absent.
    pub examples_per_shard: Option<u32>,
    /// Tokens of a forward pass, padding included.
    pub batch_tokens: u32,
    /// Pixels of a forward pass.
    pub batch_pixels: u32,
    /// Rows of logits in memory at once.
    pub chunk_rows: u32,
    /// Seed of the plan.
    pub seed: u64,
}

impl PlanRequest {
    /// Entries that top_k keeps by default.
    pub const TOP_K: u32 = 64;
    /// Tokens of a forward pass by default.
    pub const BATCH_TOKENS: u32 = 4096;
    /// Pixels of a forward pass by default.
    pub const BATCH_PIXELS: u32 = 262_144;
    /// Rows of logits in memory at once by default.
    pub const CHUNK_ROWS: u32 = 256;
    /// Examples in a shard by default: images.
    pub const IMAGES_PER_SHARD: u32 = 4096;
    /// Examples in a shard by default: token sequences.
    pub const TEXTS_PER_SHARD: u32 = 512;

    /// Asks for these sources with every default.
    pub fn new(sources: Vec<Source>) -> Self {
        Self {
            sources,
            reading: ReadOptions::default(),
            codec: None,
            top_k: Self::TOP_K,
            temperatures: vec![1.0],
            values: None,
            max_length: None,
            truncate: false,
            window: None,
            examples_per_shard: None,
            batch_tokens: Self::BATCH_TOKENS,
            batch_pixels: Self::BATCH_PIXELS,
            chunk_rows: Self::CHUNK_ROWS,
            seed: 0,
        }
    }
}

/// One input of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The split that its examples belong to.
    pub split: String,
    /// A file, or a directory of text files.
    pub path: PathBuf,
}

/// How a soft target is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CodecKind {
    /// The logit of every class.
    Dense,
    /// The largest logits, and the mass outside them.
    #[value(name = "top_k", alias = "top-k")]
    TopK,
}

/// How documents are cut into windows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowRequest {
    /// Tokens in a window, the prefix included.
    pub length: usize,
    /// Tokens between the starts of two windows; windows that touch but do not overlap where absent.
    pub stride: Option<usize>,
    /// Token put before every window, as the tokenizer writes it.
    pub prefix: Option<String>,
}
