//! `student-trainer eval`.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::PathBuf;

use clap::ValueEnum;
use decant_data::input::TextUnit;
use student_trainer::config::{DataConfig, LossConfig, ReadingConfig, Tail};
use student_trainer::evaluate::{Request, evaluate};

use super::{Result, print_evaluation, use_threads};

/// Flags of `eval`.
#[derive(Debug, clap::Args)]
pub(crate) struct Eval {
    /// The student: the folder of a finished run, an export, or any Hugging Face folder with weights
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Location of a sealed dataset
    #[arg(long, env = "DECANT_DATA", value_name = "LOCATION", conflicts_with = "input")]
    data: Option<String>,
    /// The dataset's split to judge on; may be repeated
    #[arg(long = "split", value_name = "NAME", default_value = "test")]
    splits: Vec<String>,
    /// The dataset's split that the unigram model is fitted on; without it there is no unigram_kl
    #[arg(long, value_name = "NAME")]
    unigram_split: Option<String>,
    /// Raw inputs in place of a dataset: a file or a folder
    #[arg(long, env = "DECANT_INPUT", value_name = "PATH")]
    input: Option<PathBuf>,
    /// Temperature of the KL to the teacher
    #[arg(long, env = "DECANT_TEMPERATURE", default_value_t = 1.0)]
    temperature: f64,
    /// What becomes of the teacher's mass outside the kept entries
    #[arg(long, value_enum, default_value = "bucket")]
    tail: TailFlag,
    /// Examples that go through the student at once
    #[arg(long, env = "DECANT_BATCH_SIZE", default_value = "32")]
    batch_size: NonZero<usize>,
    /// What one document of a plain text file is
    #[arg(long, env = "DECANT_TEXT_UNIT", value_enum, default_value = "file")]
    text_unit: UnitFlag,
    /// Column or key of a text
    #[arg(long, env = "DECANT_TEXT_COLUMN", default_value = "text")]
    text_column: String,
    /// Column of an image
    #[arg(long, env = "DECANT_IMAGE_COLUMN", default_value = "image")]
    image_column: String,
    /// Column or key of the label
    #[arg(long, env = "DECANT_LABEL_COLUMN", default_value = "label")]
    label_column: String,
    /// The most tokens that an example may have; the student's own limit unless given
    #[arg(long, env = "DECANT_MAX_LENGTH")]
    max_length: Option<usize>,
    /// Cut longer ones; otherwise they are left out and counted
    #[arg(long)]
    truncate: bool,
    /// Cut documents into windows of so many tokens
    #[arg(long, env = "DECANT_WINDOW")]
    window: Option<usize>,
    /// Tokens between the starts of two windows
    #[arg(long, env = "DECANT_STRIDE", requires = "window")]
    stride: Option<usize>,
    /// A token put in front of every window
    #[arg(long, env = "DECANT_PREFIX", requires = "window")]
    prefix: Option<String>,
    /// Threads; all cores unless given
    #[arg(long, env = "DECANT_THREADS")]
    threads: Option<usize>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum TailFlag {
    Bucket,
    Renormalize,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum UnitFlag {
    File,
    Line,
}

impl Eval {
    pub(crate) fn run(self) -> Result<()> {
        use_threads(self.threads);
        let json = self.json;
        let evaluation = evaluate(&self.request()?)?;
        if json {
            decant_cli::print(serde_json::to_string_pretty(&evaluation)?)?;
        } else {
            print_evaluation(&evaluation)?;
        }
        Ok(())
    }

    fn request(self) -> Result<Request> {
        if !(self.temperature as f32 > 0.0 && self.temperature.is_finite()) {
            return Err(
                decant_cli::Usage(format!("--temperature is {}; give a positive number", self.temperature)).into(),
            );
        }
        let (inputs, splits) = match (&self.data, self.input) {
            (Some(_), _) => (BTreeMap::new(), self.splits),
            (None, Some(path)) => (BTreeMap::from([("input".to_owned(), path)]), vec!["input".to_owned()]),
            (None, None) => {
                return Err(decant_cli::Usage("give --data LOCATION (a sealed dataset) or --input PATH".into()).into());
            }
        };
        let reading = ReadingConfig {
            text_unit: match self.text_unit {
                UnitFlag::File => TextUnit::File,
                UnitFlag::Line => TextUnit::Line,
            },
            text_column: self.text_column,
            image_column: self.image_column,
            label_column: self.label_column,
            max_length: self.max_length,
            truncate: self.truncate,
            window: self.window,
            stride: self.stride,
            prefix: self.prefix,
            ..ReadingConfig::default()
        };
        Ok(Request {
            model: self.model,
            data: DataConfig {
                dataset: self.data,
                inputs,
                train: splits,
                evaluate: Vec::new(),
                held_out: None,
                reading,
            },
            unigram_split: self.unigram_split,
            loss: LossConfig {
                soft_weight: 0.0,
                hard_weight: 1.0,
                temperature: self.temperature,
                tail: match self.tail {
                    TailFlag::Bucket => Tail::Bucket,
                    TailFlag::Renormalize => Tail::Renormalize,
                },
                ..LossConfig::default()
            },
            batch_size: self.batch_size.get(),
        })
    }
}
