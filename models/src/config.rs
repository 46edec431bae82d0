//! `config.json`: which model a directory holds, and its sizes.

mod decoder;
mod image;
mod keys;

use std::path::Path;

use candle_core::DType;
pub use decoder::{DecoderConfig, DecoderFamily, Rope, RopeScaling};
pub use image::{ImageShape, MlpConfig, ResnetConfig};
pub(crate) use keys::Keys;

use crate::{Result, Task};

/// Every `architectures` entry that can be read, with the `model_type` that stands for it where there is no entry.
const KNOWN: [(&str, &str); 5] = [
    ("LlamaForCausalLM", "llama"),
    ("MistralForCausalLM", "mistral"),
    ("Qwen2ForCausalLM", "qwen2"),
    ("MlpForImageClassification", "decant-mlp"),
    ("ResidualForImageClassification", "decant-resnet"),
];

/// What `config.json` says.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ModelConfig {
    /// The kind of model and its sizes.
    pub architecture: Architecture,
    /// The classes in order (`id2label`); `None` for a language model.
    pub labels: Option<Vec<String>>,
    /// The number format that the weights are said to be stored in (`dtype`, before 2025 `torch_dtype`).
    pub dtype: Option<DType>,
}

/// A kind of model with its sizes.
#[derive(Clone, Debug, PartialEq)]
pub enum Architecture {
    /// A causal language model of the Llama family.
    Decoder(DecoderConfig),
    /// A multi-layer perceptron over pixels.
    Mlp(MlpConfig),
    /// A residual convolutional network.
    Resnet(ResnetConfig),
}

impl ModelConfig {
    /// Reads a `config.json`; `path` is for messages.
    ///
    /// # Errors
    /// When it is not a JSON object, when a key is missing or of the wrong type, or when it asks for an architecture
    /// or a feature that is not implemented; each names the key.
    pub fn parse(json: &[u8], path: &Path) -> Result<Self> {
        let keys = Keys::parse(json, path)?;
        let (architecture, labels) = match architecture_name(&keys)? {
            "LlamaForCausalLM" => (decoder(DecoderFamily::Llama, &keys)?, None),
            "MistralForCausalLM" => (decoder(DecoderFamily::Mistral, &keys)?, None),
            "Qwen2ForCausalLM" => (decoder(DecoderFamily::Qwen2, &keys)?, None),
            "MlpForImageClassification" => (Architecture::Mlp(MlpConfig::read(&keys)?), Some(image::labels(&keys)?)),
            _ => (
                Architecture::Resnet(ResnetConfig::read(&keys)?),
                Some(image::labels(&keys)?),
            ),
        };
        Ok(Self {
            architecture,
            labels,
            dtype: stored_dtype(&keys)?,
        })
    }

    /// The architecture's name, as in `architectures`.
    pub fn name(&self) -> &'static str {
        match &self.architecture {
            Architecture::Decoder(decoder) => match decoder.family {
                DecoderFamily::Llama => KNOWN[0].0,
                DecoderFamily::Mistral => KNOWN[1].0,
                DecoderFamily::Qwen2 => KNOWN[2].0,
            },
            Architecture::Mlp(_) => KNOWN[3].0,
            Architecture::Resnet(_) => KNOWN[4].0,
        }
    }

    /// What its outcomes are.
    pub fn task(&self) -> Task {
        match self.architecture {
            Architecture::Decoder(_) => Task::CausalLm,
            Architecture::Mlp(_) | Architecture::Resnet(_) => Task::ImageClassification,
        }
    }

    /// How many outcomes the head has: the (padded) vocabulary, or the classes.
    pub fn outcomes(&self) -> usize {
        match (&self.architecture, &self.labels) {
            (Architecture::Decoder(decoder), _) => decoder.vocab_size,
            (_, labels) => labels.as_ref().map_or(0, Vec::len),
        }
    }

    /// The (padded) vocabulary of a language model.
    pub fn vocab_size(&self) -> Option<usize> {
        self.decoder().map(|decoder| decoder.vocab_size)
    }

    /// The longest document that a language model reads.
    pub fn max_positions(&self) -> Option<usize> {
        self.decoder().map(|decoder| decoder.max_positions)
    }

    /// The size of the images that an image model reads.
    pub fn image_shape(&self) -> Option<ImageShape> {
        match &self.architecture {
            Architecture::Decoder(_) => None,
            Architecture::Mlp(mlp) => Some(mlp.image),
            Architecture::Resnet(resnet) => Some(resnet.image),
        }
    }

    fn decoder(&self) -> Option<&DecoderConfig> {
        match &self.architecture {
            Architecture::Decoder(decoder) => Some(decoder),
            _ => None,
        }
    }
}

fn decoder(family: DecoderFamily, keys: &Keys<'_>) -> Result<Architecture> {
    Ok(Architecture::Decoder(DecoderConfig::read(family, keys)?))
}

/// The entry of [`KNOWN`] that the file asks for.
fn architecture_name(keys: &Keys<'_>) -> Result<&'static str> {
    let (key, found) = match keys.first_string("architectures")? {
        Some(name) => ("architectures", name),
        None => match keys.optional_string("model_type")? {
            Some(kind) => ("model_type", kind),
            None => return Err(keys.error("key `architectures` is missing; it names the kind of model")),
        },
    };
    let known = KNOWN.iter().find(|(name, kind)| match key {
        "architectures" => *name == found,
        _ => *kind == found,
    });
    known.map(|(name, _)| *name).ok_or_else(|| {
        let names = KNOWN.map(|(name, kind)| if key == "architectures" { name } else { kind });
        keys.unsupported(key, &format!("`{found}`"), &names.join(", "))
    })
}

fn stored_dtype(keys: &Keys<'_>) -> Result<Option<DType>> {
    let Some((key, name)) = keys.either_string("dtype", "torch_dtype")? else {
        return Ok(None);
    };
    match name {
        "float32" => Ok(Some(DType::F32)),
        "float16" => Ok(Some(DType::F16)),
        "bfloat16" => Ok(Some(DType::BF16)),
        "float64" => Ok(Some(DType::F64)),
        "auto" => Ok(None),
        other => Err(keys.unsupported(key, &format!("`{other}`"), "float32, float16, bfloat16, float64")),
    }
}

/// The name by which `config.json` knows a number format.
pub(crate) fn dtype_name(dtype: DType) -> &'static str {
    match dtype {
        DType::F16 => "float16",
        DType::BF16 => "bfloat16",
        DType::F64 => "float64",
        _ => "float32",
    }
}

#[cfg(test)]
mod tests;
