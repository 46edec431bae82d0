//! Models for teaching and for learning, from and to Hugging Face directories.
//!
//! Every model here can be a teacher or a student: it is read from a directory that holds `config.json`,
//! `model.safetensors` and, for text, `tokenizer.json`; gradients reach each of its parameters; and it is written back
//! to such a directory. A directory with a `config.json` alone describes a student that is yet to be trained.
//!
//! ```no_run
//! use candle_core::{DType, Device};
//! use decant_models::{Batch, Checkpoint, Mode, Taps, TokenBatch};
//!
//! # fn main() -> decant_models::Result<()> {
//! let checkpoint = Checkpoint::open("smollm2".as_ref())?;
//! let model = checkpoint.load(DType::F32, &Device::Cpu)?;
//! let batch = TokenBatch::padded(&[[1, 2, 3]]);
//! let features = model.features(&Batch::Tokens(batch), Mode::Eval, &mut Taps::none())?;
//! let logits = model.head().forward(&features)?; // [3, vocabulary]
//! # Ok(())
//! # }
//! ```
//!
//! # What is here
//!
//! | architecture in `config.json` | task | module |
//! |---|---|---|
//! | `LlamaForCausalLM`, `MistralForCausalLM`, `Qwen2ForCausalLM` | causal language model | [`DecoderConfig`] |
//! | `MlpForImageClassification` | image classification | [`MlpConfig`] |
//! | `ResidualForImageClassification` | image classification | [`ResnetConfig`] |
//!
//! The body and the head of a model are apart ([`Model::features`], [`Model::head`]), so that a caller can take logits
//! in chunks of rows: over a vocabulary of 150,000 the logits of a batch are larger than the model.
//!
//! # Gradients
//!
//! candle drops or falsifies the gradient of some operations without a word (`clippy.toml` forbids them here). What a
//! model is made of is either candle's plain operations or the ones of the private module `ops`, each with its own
//! gradient; tests compare the gradient of every parameter with PyTorch.

mod batch;
mod checkpoint;
mod config;
mod decoder;
mod device;
mod error;
mod image;
mod linear;
mod mlp;
mod model;
mod ops;
mod parameters;
mod random;
mod resnet;
mod taps;
mod tokenizer;

pub use batch::{Batch, Document, TokenBatch};
pub use checkpoint::Checkpoint;
pub use config::{
    Architecture, DecoderConfig, DecoderFamily, ImageShape, MlpConfig, ModelConfig, ResnetConfig, Rope, RopeScaling,
};
pub use device::{parse_device, parse_dtype};
pub use error::{Error, Kind, Result};
pub use image::ImageProcessor;
pub use linear::Linear;
pub use model::{Mode, Model, Task};
pub use parameters::Parameters;
pub use taps::{TapSpec, Taps};
pub use tokenizer::{AddedToken, TextTokenizer};
