//! The sizes of a causal language model of the Llama family.

use super::keys::Keys;
use crate::Result;

/// Which member of the family it is; they differ in their biases, their defaults and their sliding windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecoderFamily {
    /// Llama 2 and 3, SmolLM 1 and 2, and others that share the architecture.
    Llama,
    /// Mistral 7B and its like.
    Mistral,
    /// Qwen 2 and 2.5.
    Qwen2,
}

/// The sizes of a causal language model.
#[derive(Clone, Debug, PartialEq)]
pub struct DecoderConfig {
    /// Which member of the family.
    pub family: DecoderFamily,
    /// Rows of the embedding; may be more than the tokenizer has ids.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the gated feed-forward layer.
    pub intermediate_size: usize,
    /// Number of layers.
    pub layers: usize,
    /// Number of query heads.
    pub heads: usize,
    /// Number of key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Added to the mean square before its root.
    pub rms_norm_eps: f64,
    /// Rotary position embedding.
    pub rope: Rope,
    /// The longest document.
    pub max_positions: usize,
    /// Whether the query, key and value projections have biases.
    pub qkv_bias: bool,
    /// Whether the output projection of attention has a bias.
    pub output_bias: bool,
    /// Whether the feed-forward projections have biases.
    pub mlp_bias: bool,
    /// Whether the head is the embedding.
    pub tied: bool,
    /// For each layer, how many positions back it sees, its own included; `None` is all.
    pub windows: Vec<Option<usize>>,
    /// Standard deviation of the initial weights.
    pub initializer_range: f64,
}

/// Rotary position embedding (Su et al. 2021).
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// The base of the wavelengths.
    pub theta: f64,
    /// How the wavelengths are stretched for longer texts.
    pub scaling: RopeScaling,
}

/// How wavelengths are stretched.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    Default,
    /// All by one factor (Chen et al. 2023).
    Linear {
        /// The factor.
        factor: f64,
    },
    /// As Llama 3.1: long ones by a factor, short ones not, those between by an interpolation.
    Llama3 {
        /// The factor for long wavelengths.
        factor: f64,
        /// `original_positions / low_freq_factor` is where a wavelength is long.
        low_freq_factor: f64,
        /// `original_positions / high_freq_factor` is where a wavelength is short.
        high_freq_factor: f64,
        /// The context length before the stretch.
        original_positions: f64,
    },
}

impl DecoderConfig {
    pub(super) fn read(family: DecoderFamily, keys: &Keys<'_>) -> Result<Self> {
        match keys.optional_string("hidden_act")?.unwrap_or("silu") {
            "silu" | "swish" => {}
            other => return Err(keys.unsupported("hidden_act", &format!("`{other}`"), "silu")),
        }
        let hidden_size = keys.size("hidden_size")?;
        let heads = keys.size("num_attention_heads")?;
        let kv_heads = match (keys.optional_size("num_key_value_heads")?, family) {
            (Some(kv_heads), _) => kv_heads,
            // Where the key is absent, the defaults of `transformers` differ; null always means one for each head.
            (None, DecoderFamily::Mistral) if !keys.has("num_key_value_heads") => 8,
            (None, DecoderFamily::Qwen2) if !keys.has("num_key_value_heads") => 32,
            (None, _) => heads,
        };
        if heads % kv_heads != 0 {
            return Err(keys.error(format!(
                "key `num_key_value_heads` is {kv_heads}, it must divide `num_attention_heads`, which is {heads}"
            )));
        }
        let head_dim = match keys.optional_size("head_dim")? {
            Some(size) => size,
            None if hidden_size % heads == 0 => hidden_size / heads,
            None => {
                return Err(keys.error(format!(
                    "key `num_attention_heads` is {heads}, it must divide `hidden_size`, which is {hidden_size}, \
                     where `head_dim` is not given"
                )));
            }
        };
        if head_dim % 2 != 0 {
            return Err(keys.error(format!(
                "the width of a head is {head_dim}, it must be even for rotary positions"
            )));
        }
        let layers = keys.size("num_hidden_layers")?;
        let max_positions = keys.size("max_position_embeddings")?;
        let attention_bias = family == DecoderFamily::Llama && keys.flag("attention_bias", false)?;
        Ok(Self {
            family,
            vocab_size: keys.size("vocab_size")?,
            hidden_size,
            intermediate_size: keys.size("intermediate_size")?,
            layers,
            heads,
            kv_heads,
            head_dim,
            rms_norm_eps: keys.optional_number("rms_norm_eps")?.unwrap_or(1e-6),
            rope: Rope::read(keys, max_positions)?,
            max_positions,
            qkv_bias: attention_bias || family == DecoderFamily::Qwen2,
            output_bias: attention_bias,
            mlp_bias: family == DecoderFamily::Llama && keys.flag("mlp_bias", false)?,
            tied: keys.flag("tie_word_embeddings", false)?,
            windows: windows(family, keys, layers)?,
            initializer_range: keys.optional_number("initializer_range")?.unwrap_or(0.02),
        })
    }
}

/// The sliding window of each layer, by the rules of each family's configuration in `transformers`.
fn windows(family: DecoderFamily, keys: &Keys<'_>, layers: usize) -> Result<Vec<Option<usize>>> {
    let window = match family {
        DecoderFamily::Llama => None,
        // An absent key means 4096 there; only a null turns the window off.
        DecoderFamily::Mistral if !keys.has("sliding_window") => Some(4096),
        DecoderFamily::Mistral => keys.optional_size("sliding_window")?,
        DecoderFamily::Qwen2 if !keys.flag("use_sliding_window", false)? => None,
        DecoderFamily::Qwen2 if !keys.has("sliding_window") => Some(4096),
        DecoderFamily::Qwen2 => keys.optional_size("sliding_window")?,
    };
    if family != DecoderFamily::Qwen2 {
        return Ok(vec![window; layers]);
    }
    if let Some(types) = keys.strings("layer_types")? {
        if types.len() != layers {
            let found = types.len();
            return Err(keys.error(format!(
                "key `layer_types` names {found} layers, `num_hidden_layers` is {layers}"
            )));
        }
        let of_type = |kind: &str| match kind {
            "full_attention" => Ok(None),
            "sliding_attention" => Ok(window),
            other => Err(keys.unsupported(
                "layer_types",
                &format!("`{other}`"),
                "full_attention, sliding_attention",
            )),
        };
        return types.into_iter().map(of_type).collect();
    }
    let full = keys.optional_size_or_zero("max_window_layers")?.unwrap_or(28);
    Ok((0..layers).map(|layer| window.filter(|_| layer >= full)).collect())
}

impl Rope {
    /// Reads `rope_parameters`, or the older `rope_scaling` and `rope_theta`.
    fn read(keys: &Keys<'_>, max_positions: usize) -> Result<Self> {
        let (name, scaling) = match keys.object("rope_parameters")? {
            Some(parameters) => ("rope_parameters", Some(parameters)),
            None => ("rope_scaling", keys.object("rope_scaling")?),
        };
        let theta = match &scaling {
            Some(scaling) => scaling.optional_number("rope_theta")?,
            None => None,
        };
        let theta = theta.or(keys.optional_number("rope_theta")?).unwrap_or(10_000.0);
        let Some(scaling) = scaling else {
            return Ok(Self {
                theta,
                scaling: RopeScaling::Default,
            });
        };
        if let Some(part) = scaling
            .optional_number("partial_rotary_factor")?
            .filter(|part| *part != 1.0)
        {
            return Err(scaling.unsupported("partial_rotary_factor", &part.to_string(), "1"));
        }
        let kind = scaling.either_string("rope_type", "type")?;
        let scaling = match kind.map_or("default", |(_, kind)| kind) {
            "default" => RopeScaling::Default,
            "linear" => RopeScaling::Linear {
                factor: scaling.number("factor")?,
            },
            "llama3" => {
                let factor = scaling.number("factor")?;
                let (low, high) = (scaling.number("low_freq_factor")?, scaling.number("high_freq_factor")?);
                if low >= high {
                    return Err(keys.error(format!(
                        "key `{name}.high_freq_factor` is {high}, it must be above `low_freq_factor`, which is {low}"
                    )));
                }
                RopeScaling::Llama3 {
                    factor,
                    low_freq_factor: low,
                    high_freq_factor: high,
                    original_positions: scaling
                        .optional_number("original_max_position_embeddings")?
                        .unwrap_or(max_positions as f64),
                }
            }
            other => {
                let key = format!("{name}.{}", kind.map_or("rope_type", |(key, _)| key));
                return Err(keys.unsupported(&key, &format!("`{other}`"), "default, linear, llama3"));
            }
        };
        Ok(Self { theta, scaling })
    }
}
