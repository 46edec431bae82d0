//! What is known of a teacher without loading its weights: enough to plan with.

use super::error::{Error, Result};
use super::outcomes::Outcomes;
use super::runner::Runner;
use super::work::{Content, Input};
use candle_core::{DType, Device};
use decant_data::{Example, ExampleContent, Task, TeacherIdentity, TokenizerIdentity, sha256_hex};
use decant_models::{self as models, Checkpoint, ImageProcessor, TextTokenizer};
use std::fs;
use std::path::{Path, PathBuf};

/// A teacher's checkpoint, checked and hashed, and the numbers and the device that it runs in and on.
pub struct Profile {
    dir: PathBuf,
    checkpoint: Checkpoint,
    identity: TeacherIdentity,
    reads: Reads,
    outcomes: Outcomes,
    dtype: DType,
    device: Device,
}

/// What turns an example into the model's input.
pub enum Reads {
    /// Token ids.
    Tokens(Box<TextTokenizer>),
    /// Pixels.
    Images(Box<ImageProcessor>),
}

impl Profile {
    /// Opens the checkpoint in `dir`; its weights are hashed, not loaded. `dtype` is f32, f16 or bf16; `device` is cpu,
    /// cuda or cuda:N.
    ///
    /// # Errors
    /// A checkpoint that cannot be read, has no tokenizer or image processor for its task, or gives fewer logits than
    /// its tokenizer has ids; an unknown dtype or device.
    pub fn open(dir: &Path, dtype: &str, device: &str) -> Result<Self> {
        let (number_format, place) = (decant_models::parse_dtype(dtype)?, decant_models::parse_device(device)?);
        let checkpoint = Checkpoint::open(dir)?;
        let config = checkpoint.config();
        let missing = |file| Error::Missing {
            dir: dir.to_owned(),
            task: config.task(),
            file,
        };
        let (reads, outcomes) = match config.task() {
            models::Task::CausalLm => {
                let tokenizer = checkpoint.tokenizer()?.ok_or_else(|| missing("tokenizer.json"))?;
                let outcomes = Outcomes::tokens(&tokenizer);
                (Reads::Tokens(Box::new(tokenizer)), outcomes)
            }
            models::Task::ImageClassification => {
                let processor = checkpoint
                    .image_processor()?
                    .ok_or_else(|| missing("preprocessor_config.json"))?;
                (Reads::Images(Box::new(processor)), Outcomes::classes(config.outcomes()))
            }
            task => {
                return Err(Error::Task {
                    dir: dir.to_owned(),
                    task,
                });
            }
        };
        let (tokens, logits) = (outcomes.width(), config.outcomes());
        if tokens > logits {
            return Err(Error::Vocabulary {
                dir: dir.to_owned(),
                tokens,
                logits,
            });
        }
        let identity = TeacherIdentity {
            name: dir
                .canonicalize()
                .ok()
                .as_deref()
                .unwrap_or(dir)
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into(),
            architecture: config.name().to_owned(),
            weights_sha256: checkpoint.weights_sha256()?,
            config_sha256: sha256_hex(checkpoint.config_json()),
            preprocessor_sha256: match &reads {
                Reads::Images(_) => fs::read(dir.join("preprocessor_config.json"))
                    .ok()
                    .as_deref()
                    .map(sha256_hex),
                Reads::Tokens(_) => None,
            },
            dtype: dtype.to_owned(),
            device: if place.is_cpu() { "cpu" } else { "cuda" }.to_owned(),
        };
        Ok(Self {
            dir: dir.to_owned(),
            checkpoint,
            identity,
            reads,
            outcomes,
            dtype: number_format,
            device: place,
        })
    }

    /// The checkpoint's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The checkpoint.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// What plans and answers call this teacher.
    pub fn identity(&self) -> &TeacherIdentity {
        &self.identity
    }

    /// What its outcomes are.
    pub fn task(&self) -> Task {
        match self.checkpoint.config().task() {
            models::Task::ImageClassification => Task::ImageClassification,
            models::Task::TextClassification => Task::TextClassification,
            models::Task::CausalLm => Task::CausalLm,
        }
    }

    /// What turns an example into its input.
    pub fn reads(&self) -> &Reads {
        &self.reads
    }

    /// What its softmax ranges over.
    pub fn outcomes(&self) -> &Outcomes {
        &self.outcomes
    }

    /// The names of its classes, in order; a language model has none.
    pub fn classes(&self) -> Option<&[String]> {
        self.checkpoint.config().labels.as_deref()
    }

    /// The longest text that it reads, in tokens; `None` where it reads images.
    pub fn max_length(&self) -> Option<usize> {
        self.checkpoint.config().max_positions()
    }

    /// Pixels of an image, height times width; 0 where it reads text.
    pub fn pixels(&self) -> usize {
        self.checkpoint
            .config()
            .image_shape()
            .map_or(0, |shape| shape.height * shape.width)
    }

    /// Who its tokenizer is; `None` where it reads images.
    pub fn tokenizer_identity(&self) -> Option<TokenizerIdentity> {
        match &self.reads {
            Reads::Tokens(tokenizer) => {
                let special = tokenizer
                    .special_tokens()
                    .into_iter()
                    .map(|(id, token)| (id, token.to_owned()))
                    .collect();
                Some(TokenizerIdentity::of(
                    tokenizer.vocabulary(),
                    &special,
                    tokenizer.chat_template(),
                ))
            }
            Reads::Images(_) => None,
        }
    }

    /// Whether the tokenizer has every one of these ids.
    pub(crate) fn check_tokens(&self, tokens: &[u32]) -> Result<(), String> {
        match tokens.iter().position(|&id| !self.outcomes.contains(id)) {
            None => Ok(()),
            Some(place) => {
                let id = tokens[place];
                Err(format!(
                    "token {place} has id {id}, which the teacher's tokenizer does not have"
                ))
            }
        }
    }

    /// See [`Teacher::input`](super::Teacher::input).
    pub(super) fn input(&self, example: &Example) -> Result<Input> {
        let refuse = |reason: String| Error::Example {
            id: example.id.clone(),
            reason,
        };
        let content = match (&self.reads, &example.content) {
            (Reads::Tokens(_), ExampleContent::Tokens(tokens)) => {
                self.check_tokens(tokens).map_err(refuse)?;
                let limit = self.max_length().unwrap_or(usize::MAX);
                match tokens.len() {
                    0 | 1 => return Err(refuse("fewer than 2 tokens: there is nothing to predict".to_owned())),
                    len if len > limit => {
                        return Err(refuse(format!(
                            "{len} tokens, more than the {limit} positions of the teacher"
                        )));
                    }
                    _ => Content::Tokens(tokens.clone()),
                }
            }
            (Reads::Images(processor), ExampleContent::Image(bytes)) => {
                let named = |error| Error::Image {
                    id: example.id.clone(),
                    source: Box::new(error),
                };
                Content::Image(processor.decode(bytes).map_err(named)?)
            }
            (Reads::Tokens(_), _) => return Err(refuse("an image, but the teacher reads text".to_owned())),
            (Reads::Images(_), _) => return Err(refuse("text, but the teacher reads images".to_owned())),
        };
        Ok(Input {
            id: example.id.clone(),
            content,
        })
    }

    /// The smallest input that there is.
    pub(super) fn specimen(&self) -> Input {
        let content = match &self.reads {
            Reads::Tokens(tokenizer) => {
                let token = tokenizer.vocabulary().keys().next().copied().unwrap_or_default();
                Content::Tokens(vec![token; 2])
            }
            Reads::Images(_) => Content::Image(vec![
                0.0;
                self.checkpoint
                    .config()
                    .image_shape()
                    .map_or(0, |shape| shape.values())
            ]),
        };
        Input {
            id: "probe".to_owned(),
            content,
        }
    }

    /// Loads the weights.
    pub(super) fn load(&self) -> Result<Runner> {
        let model = self.checkpoint.load(self.dtype, &self.device)?;
        Runner::new(model, self.outcomes.clone(), self.device.clone())
    }
}
