//! Hugging Face directories: opened and checked, loaded, described for a start from scratch, and written.

mod save;
mod weights;

use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device};
pub(crate) use weights::Weights;

use crate::decoder::Decoder;
use crate::mlp::Mlp;
use crate::parameters::{Builder, Source};
use crate::resnet::Resnet;
use crate::{Architecture, Error, ImageProcessor, Model, ModelConfig, Result, TextTokenizer};

/// A model's directory, opened and checked but not loaded.
///
/// It holds `config.json`; weights in `model.safetensors`, or in shards that `model.safetensors.index.json` names; and
/// `tokenizer.json` or `preprocessor_config.json` as the model needs. Without weights it describes a student that is
/// yet to be trained.
#[derive(Debug)]
pub struct Checkpoint {
    dir: PathBuf,
    config: ModelConfig,
    config_json: Vec<u8>,
    tokenizer_json: Option<Vec<u8>>,
    weights: Vec<PathBuf>,
}

impl Checkpoint {
    /// What a directory may hold, besides its configuration, that belongs with its weights.
    pub const COMPANIONS: [&str; 8] = [
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "chat_template.jinja",
        "chat_template.json",
        "generation_config.json",
        "preprocessor_config.json",
    ];

    /// Opens a directory: its `config.json` is read, and the headers of its weight files are checked.
    ///
    /// # Errors
    /// When there is no `config.json`, when it asks for what is not implemented, or when a weight file is missing,
    /// truncated or damaged.
    pub fn open(dir: &Path) -> Result<Self> {
        if !dir.is_dir() {
            return Err(Error::Missing {
                path: dir.into(),
                mend: "give the folder that holds the model's config.json",
            });
        }
        let path = dir.join("config.json");
        let config_json = read(&path)?.ok_or(Error::Missing {
            path: path.clone(),
            mend: "a model's folder must hold it; copy it from where the weights came from",
        })?;
        let config = ModelConfig::parse(&config_json, &path)?;
        let weights = weights::files(dir)?;
        if !weights.is_empty() {
            Weights::open(&weights)?;
        }
        let tokenizer_json = read(&dir.join("tokenizer.json"))?;
        Ok(Self {
            dir: dir.into(),
            config,
            config_json,
            tokenizer_json,
            weights,
        })
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What `config.json` says.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// `config.json` as it is.
    pub fn config_json(&self) -> &[u8] {
        &self.config_json
    }

    /// `tokenizer.json` as it is.
    pub fn tokenizer_json(&self) -> Option<&[u8]> {
        self.tokenizer_json.as_deref()
    }

    /// The tokenizer; `None` where there is no `tokenizer.json`.
    ///
    /// # Errors
    /// When the file is no tokenizer.
    pub fn tokenizer(&self) -> Result<Option<TextTokenizer>> {
        let Some(json) = &self.tokenizer_json else {
            return Ok(None);
        };
        let settings = read(&self.dir.join("tokenizer_config.json"))?;
        let template = read(&self.dir.join("chat_template.jinja"))?;
        TextTokenizer::parse(json, settings.as_deref(), template, &self.dir).map(Some)
    }

    /// How images are prepared, for an image model: by `preprocessor_config.json`, or as pixels over 255 where there
    /// is none; `None` for other models.
    ///
    /// # Errors
    /// When the file does not fit the model.
    pub fn image_processor(&self) -> Result<Option<ImageProcessor>> {
        let Some(shape) = self.config.image_shape() else {
            return Ok(None);
        };
        let path = self.dir.join("preprocessor_config.json");
        match read(&path)? {
            Some(json) => ImageProcessor::parse(&json, &path, shape).map(Some),
            None => Ok(Some(ImageProcessor::plain(shape))),
        }
    }

    /// Whether there are weights to load.
    pub fn has_weights(&self) -> bool {
        !self.weights.is_empty()
    }

    /// The hex SHA-256 of the lines `<sha256>  <file name>` of the weight files in name order: what `sha256sum`
    /// prints for them, hashed.
    ///
    /// # Errors
    /// When there are no weights or they cannot be read.
    pub fn weights_sha256(&self) -> Result<String> {
        self.need_weights()?;
        weights::sha256(&self.weights)
    }

    /// Loads the model, each tensor directly in `dtype`.
    ///
    /// # Errors
    /// When there are no weights, or when a tensor is missing, of another shape, or has no place in the model.
    pub fn load(&self, dtype: DType, device: &Device) -> Result<Box<dyn Model>> {
        self.need_weights()?;
        let weights = Weights::open(&self.weights)?;
        self.build(Builder::new(Source::Checkpoint(&weights), dtype, device))
    }

    /// The model that `config.json` describes, in f32 with initial values drawn for each tensor from `seed` and the
    /// tensor's name. Weights in the directory are left alone.
    ///
    /// # Errors
    /// When the device cannot hold it.
    pub fn initialise(&self, seed: u64, device: &Device) -> Result<Box<dyn Model>> {
        self.build(Builder::new(Source::Seed(seed), DType::F32, device))
    }

    /// Writes `model` with this directory's configuration, tokenizer and other small files as a new directory `dir`,
    /// which appears whole or not at all. The bytes depend on the values alone; `config.json` says the number format
    /// in which the weights are stored.
    ///
    /// # Errors
    /// When `dir` exists and is not empty, or cannot be written.
    pub fn save(&self, model: &dyn Model, dir: &Path) -> Result<()> {
        save::save(self, model, dir)
    }

    fn build(&self, builder: Builder<'_>) -> Result<Box<dyn Model>> {
        let config = self.config.clone();
        Ok(match &self.config.architecture {
            Architecture::Decoder(sizes) => Box::new(Decoder::new(config, sizes, builder)?),
            Architecture::Mlp(sizes) => Box::new(Mlp::new(config, sizes, builder)?),
            Architecture::Resnet(sizes) => Box::new(Resnet::new(config, sizes, builder)?),
        })
    }

    fn need_weights(&self) -> Result<()> {
        match self.has_weights() {
            true => Ok(()),
            false => Err(Error::Missing {
                path: self.dir.join(weights::SINGLE),
                mend: "the folder describes a model but holds no weights; train it, or copy its weights there",
            }),
        }
    }
}

/// The file's bytes, or `None` where there is no such file.
fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(path)(error)),
    }
}
