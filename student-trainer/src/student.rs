//! The student's folder: what it is made from, what it reads with, and where it is written.

use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device};
use decant_data::Task;
use decant_models::{Checkpoint, ImageProcessor, Model, ModelConfig, TextTokenizer};

use crate::{Error, Result};

/// A student that is described, and not yet loaded.
pub struct Student {
    checkpoint: Checkpoint,
    tokenizer: Option<TextTokenizer>,
    processor: Option<ImageProcessor>,
    adopted_tokenizer: Option<Vec<u8>>,
}

impl Student {
    /// Opens a Hugging Face folder.
    ///
    /// # Errors
    /// What is wrong with its files.
    pub fn open(path: &Path) -> Result<Self> {
        let checkpoint = Checkpoint::open(path)?;
        let (tokenizer, processor) = (checkpoint.tokenizer()?, checkpoint.image_processor()?);
        Ok(Self {
            checkpoint,
            tokenizer,
            processor,
            adopted_tokenizer: None,
        })
    }

    /// Takes a dataset's tokenizer where the student has none of its own.
    ///
    /// # Errors
    /// When it is no tokenizer.
    pub fn adopt_tokenizer(&mut self, tokenizer_json: &[u8]) -> Result<()> {
        if self.tokenizer.is_none() && self.task()? != Task::ImageClassification {
            self.tokenizer = Some(TextTokenizer::from_json(tokenizer_json)?);
            self.adopted_tokenizer = Some(tokenizer_json.to_vec());
        }
        Ok(())
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        self.checkpoint.dir()
    }

    /// What `config.json` says.
    pub fn config(&self) -> &ModelConfig {
        self.checkpoint.config()
    }

    /// What it does, in the words of the dataset.
    ///
    /// # Errors
    /// A task that no dataset has.
    pub fn task(&self) -> Result<Task> {
        Ok(match self.config().task() {
            decant_models::Task::ImageClassification => Task::ImageClassification,
            decant_models::Task::TextClassification => Task::TextClassification,
            decant_models::Task::CausalLm => Task::CausalLm,
        })
    }

    /// Its tokenizer, or the one that it adopted.
    pub fn tokenizer(&self) -> Option<&TextTokenizer> {
        self.tokenizer.as_ref()
    }

    /// How it reads images.
    pub fn processor(&self) -> Option<&ImageProcessor> {
        self.processor.as_ref()
    }

    /// Who it is when a run starts: hashes of its configuration, of what it reads its inputs with and, where training
    /// starts from them, its weights.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub fn identity(&self, from_scratch: bool) -> Result<serde_json::Value> {
        let weights = match self.starts_from_weights(from_scratch) {
            true => Some(self.checkpoint.weights_sha256()?),
            false => None,
        };
        let path = self.path().join("preprocessor_config.json");
        let preprocessor = match self.processor.is_some() && path.is_file() {
            true => Some(fs::read(&path).map_err(Error::io("reading", &path))?),
            false => None,
        };
        let tokenizer = self.checkpoint.tokenizer_json().or(self.adopted_tokenizer.as_deref());
        Ok(serde_json::json!({
            "architecture": self.config().name(),
            "config_sha256": decant_data::sha256_hex(self.checkpoint.config_json()),
            "tokenizer_sha256": tokenizer.map(decant_data::sha256_hex),
            "preprocessor_sha256": preprocessor.as_deref().map(decant_data::sha256_hex),
            "initial_weights_sha256": weights,
        }))
    }

    /// The model at the start of a run, in f32.
    ///
    /// # Errors
    /// Weights that do not fit the configuration.
    pub fn start(&self, seed: u64, from_scratch: bool) -> Result<Box<dyn Model>> {
        Ok(match self.starts_from_weights(from_scratch) {
            true => self.checkpoint.load(DType::F32, &Device::Cpu)?,
            false => self.checkpoint.initialise(seed, &Device::Cpu)?,
        })
    }

    fn starts_from_weights(&self, from_scratch: bool) -> bool {
        self.checkpoint.has_weights() && !from_scratch
    }

    /// Writes the description, without weights, into a folder of the run; what is opened there writes the models, and
    /// puts the same files beside them.
    ///
    /// # Errors
    /// Files that cannot be copied.
    pub fn describe_in(&self, folder: &Path) -> Result<Checkpoint> {
        fs::create_dir_all(folder).map_err(Error::io("creating", folder))?;
        for name in ["config.json"].into_iter().chain(Checkpoint::COMPANIONS) {
            let from = self.path().join(name);
            if from.is_file() {
                copy(&from, &folder.join(name))?;
            }
        }
        if let Some(tokenizer) = &self.adopted_tokenizer {
            let path = folder.join("tokenizer.json");
            fs::write(&path, tokenizer).map_err(Error::io("writing", &path))?;
        }
        Ok(Checkpoint::open(folder)?)
    }
}

fn copy(from: &PathBuf, to: &Path) -> Result<()> {
    let bytes = fs::read(from).map_err(Error::io("reading", from))?;
    fs::write(to, bytes).map_err(Error::io("writing", to))
}
