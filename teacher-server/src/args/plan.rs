//! What is captured and how it is cut and stored: shared by `precompute`, `plan` and `submit`.

use crate::planning::{CodecKind, PlanRequest, Source, WindowRequest};
use crate::{Error, Result};
use clap::{Args, ValueEnum};
use decant_data::Values;
use decant_data::input::{ReadOptions, TextUnit};
use std::path::PathBuf;
use std::str::FromStr;

/// Everything but the teacher that the values of a dataset depend on.
#[derive(Debug, Clone, Args)]
pub struct PlanArgs {
    /// Input file of the split "train": Parquet, JSON lines, text or IDX, or a directory of text files
    #[arg(long, value_name = "FILE", env = "DECANT_INPUT")]
    pub input: Option<PathBuf>,

    /// Input file of a named split; may be repeated, also for one name
    #[arg(
        long = "split",
        value_name = "NAME=FILE",
        env = "DECANT_SPLIT",
        value_delimiter = ','
    )]
    pub splits: Vec<SplitFile>,

    /// Folder or object-store URL of the dataset
    #[arg(long, value_name = "URL", env = "DECANT_OUTPUT")]
    pub output: String,

    /// How a soft target is stored [default: dense for classifiers, top_k for language models]
    #[arg(long, value_enum, env = "DECANT_CODEC")]
    pub codec: Option<CodecKind>,

    /// Entries kept at a position by top_k
    #[arg(long, value_name = "N", default_value_t = PlanRequest::TOP_K, env = "DECANT_TOP_K")]
    pub top_k: u32,

    /// Temperatures that top_k stores the tail for, and students may train at
    #[arg(
        long,
        value_name = "T,T",
        value_delimiter = ',',
        default_value = "1",
        env = "DECANT_TEMPERATURES"
    )]
    pub temperatures: Vec<f32>,

    /// Numbers that logits are stored in [default: f32 for dense, f16 for top_k]
    #[arg(long, value_enum, env = "DECANT_VALUES")]
    pub values: Option<ValuesArg>,

    /// Longest example in tokens [default: the model's own limit]
    #[arg(long, value_name = "N", env = "DECANT_MAX_LENGTH")]
    pub max_length: Option<usize>,

    /// Cut examples that are longer than the limit, instead of refusing them
    #[arg(long, env = "DECANT_TRUNCATE")]
    pub truncate: bool,

    /// Cut each document into windows of this many tokens
    #[arg(long, value_name = "N", env = "DECANT_WINDOW")]
    pub window: Option<usize>,

    /// Tokens between the starts of two windows [default: the window's own text, so that windows do not overlap]
    #[arg(long, value_name = "N", env = "DECANT_STRIDE")]
    pub stride: Option<usize>,

    /// Token put before every window, such as `<s>`
    #[arg(long, value_name = "TOKEN", env = "DECANT_PREFIX")]
    pub prefix: Option<String>,

    /// What one document of a text file is
    #[arg(long, value_enum, default_value = "file", env = "DECANT_TEXT_UNIT")]
    pub text_unit: TextUnitArg,

    /// Column or key that holds the text
    #[arg(long, value_name = "NAME", default_value = "text", env = "DECANT_TEXT_COLUMN")]
    pub text_column: String,

    /// Column that holds the image
    #[arg(long, value_name = "NAME", default_value = "image", env = "DECANT_IMAGE_COLUMN")]
    pub image_column: String,

    /// Column or key that holds the label
    #[arg(long, value_name = "NAME", default_value = "label", env = "DECANT_LABEL_COLUMN")]
    pub label_column: String,

    /// Column or key that holds the example's id
    #[arg(long, value_name = "NAME", default_value = "id", env = "DECANT_ID_COLUMN")]
    pub id_column: String,

    /// Examples in a shard, the unit of work and of loss [default: 4096 images, 512 texts]
    #[arg(long, value_name = "N", env = "DECANT_EXAMPLES_PER_SHARD")]
    pub examples_per_shard: Option<u32>,

    /// Tokens in a forward pass, padding included
    #[arg(long, value_name = "N", default_value_t = PlanRequest::BATCH_TOKENS, env = "DECANT_BATCH_TOKENS")]
    pub batch_tokens: u32,

    /// Pixels (height x width x images) in a forward pass
    #[arg(long, value_name = "N", default_value_t = PlanRequest::BATCH_PIXELS, env = "DECANT_BATCH_PIXELS")]
    pub batch_pixels: u32,

    /// Rows of logits that are in memory at once
    #[arg(long, value_name = "N", default_value_t = PlanRequest::CHUNK_ROWS, env = "DECANT_CHUNK_ROWS")]
    pub chunk_rows: u32,

    /// Seed of the plan
    #[arg(long, value_name = "N", default_value_t = 0, env = "DECANT_SEED")]
    pub seed: u64,
}

impl PlanArgs {
    /// What these flags ask for.
    ///
    /// # Errors
    /// No input; a flag of windows without `--window`.
    pub fn request(&self) -> Result<PlanRequest> {
        let train = self.input.iter().map(|path| Source {
            split: "train".to_owned(),
            path: path.clone(),
        });
        let named = self.splits.iter().map(|SplitFile(source)| source.clone());
        let sources: Vec<Source> = train.chain(named).collect();
        if sources.is_empty() {
            return Err(Error::Request(
                "there is no input: give --input FILE or --split NAME=FILE".to_owned(),
            ));
        }
        Ok(PlanRequest {
            reading: ReadOptions {
                text_unit: match self.text_unit {
                    TextUnitArg::File => TextUnit::File,
                    TextUnitArg::Line => TextUnit::Line,
                },
                text_column: self.text_column.clone(),
                image_column: self.image_column.clone(),
                label_column: self.label_column.clone(),
                id_column: self.id_column.clone(),
                ..ReadOptions::default()
            },
            codec: self.codec,
            top_k: self.top_k,
            temperatures: self.temperatures.clone(),
            values: self.values.map(|values| match values {
                ValuesArg::F32 => Values::F32,
                ValuesArg::F16 => Values::F16,
                ValuesArg::Bf16 => Values::Bf16,
            }),
            max_length: self.max_length,
            truncate: self.truncate,
            window: self.window_request()?,
            examples_per_shard: self.examples_per_shard,
            batch_tokens: self.batch_tokens,
            batch_pixels: self.batch_pixels,
            chunk_rows: self.chunk_rows,
            seed: self.seed,
            ..PlanRequest::new(sources)
        })
    }

    fn window_request(&self) -> Result<Option<WindowRequest>> {
        match (self.window, self.stride, &self.prefix) {
            (None, None, None) => Ok(None),
            (None, ..) => Err(Error::Request("--stride and --prefix go with --window".to_owned())),
            (Some(length), stride, prefix) => Ok(Some(WindowRequest {
                length,
                stride,
                prefix: prefix.clone(),
            })),
        }
    }
}

/// One `NAME=FILE` of `--split`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitFile(pub Source);

impl FromStr for SplitFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((split, path)) if !split.is_empty() && !path.is_empty() => Ok(Self(Source {
                split: split.to_owned(),
                path: PathBuf::from(path),
            })),
            _ => Err("expected NAME=FILE, such as test=test.parquet".to_owned()),
        }
    }
}

/// Numbers that logits are stored in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ValuesArg {
    /// 32 bits.
    F32,
    /// 16 bits, 11 of them significant.
    F16,
    /// 16 bits, 8 of them significant.
    Bf16,
}

/// What one document of a text file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TextUnitArg {
    /// The whole file.
    File,
    /// Each line that is not blank.
    Line,
}
