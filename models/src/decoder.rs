//! Causal language models of the Llama family: Llama 2 and 3, SmolLM, Mistral, Qwen 2.

mod attention;
mod layout;

use attention::Attention;
use candle_core::Tensor;
use layout::Placement;

use crate::linear::Linear;
use crate::parameters::{Builder, Init, Parameters, Weight};
use crate::{Batch, DecoderConfig, Error, Mode, Model, ModelConfig, Result, TapSpec, Taps, Task, TokenBatch, ops};

pub(crate) struct Decoder {
    config: ModelConfig,
    sizes: DecoderConfig,
    embedding: Weight,
    layers: Vec<Layer>,
    norm: Weight,
    head: Linear,
    parameters: Parameters,
}

/// Attention and a gated feed-forward part, each reading a normalised copy of the residual stream and adding to it.
struct Layer {
    attention_norm: Weight,
    attention: Attention,
    mlp_norm: Weight,
    gate: Linear,
    up: Linear,
    down: Linear,
}

impl Decoder {
    pub(crate) fn new(config: ModelConfig, sizes: &DecoderConfig, mut builder: Builder<'_>) -> Result<Self> {
        let hidden = sizes.hidden_size;
        let init = Init::Normal(sizes.initializer_range);
        let vocabulary = [sizes.vocab_size, hidden];
        let embedding = builder.weight("model.embed_tokens.weight", &vocabulary, init)?;
        let layers = (0..sizes.layers)
            .map(|index| Layer::new(index, sizes, &mut builder))
            .collect::<Result<_>>()?;
        let norm = builder.weight("model.norm.weight", &[hidden], Init::Ones)?;
        let head = match sizes.tied {
            true => Linear::tied(embedding.clone()),
            false => Linear::new(&mut builder, "lm_head", vocabulary, false, init)?,
        };
        // Older checkpoints hold the rotary frequencies, which follow from the configuration, and some hold the tied
        // head once more.
        let parameters = builder.finish(|name, shape| {
            name.ends_with("rotary_emb.inv_freq") || (sizes.tied && name == "lm_head.weight" && shape == vocabulary)
        })?;
        Ok(Self {
            config,
            sizes: sizes.clone(),
            embedding,
            layers,
            norm,
            head,
            parameters,
        })
    }

    fn embed(&self, batch: &TokenBatch, mode: Mode) -> Result<Tensor> {
        let weight = self.embedding.of(mode);
        let ids = Tensor::from_slice(&batch.ids, batch.ids.len(), weight.device())?;
        Ok(weight.index_select(&ids, 0)?)
    }
}

impl Model for Decoder {
    fn task(&self) -> Task {
        Task::CausalLm
    }

    fn config(&self) -> &ModelConfig {
        &self.config
    }

    fn taps(&self) -> Vec<TapSpec> {
        let of_layer = |index| {
            [
                TapSpec::new(
                    attention_tap(index),
                    "attention map: [rows, heads, width, width], each row sums to 1",
                ),
                TapSpec::new(
                    output_tap(index),
                    "residual stream after the layer: [rows * width, hidden]",
                ),
            ]
        };
        (0..self.layers.len()).flat_map(of_layer).collect()
    }

    fn features(&self, batch: &Batch, mode: Mode, taps: &mut Taps) -> Result<Tensor> {
        let Batch::Tokens(batch) = batch else {
            return Err(Error::Batch("of images was given to a language model".into()));
        };
        taps.check(&self.taps())?;
        let weight = self.embedding.of(mode);
        let placement = Placement::new(batch, &self.sizes, weight.dtype(), weight.device())?;
        let mut stream = self.embed(batch, mode)?;
        for (index, layer) in self.layers.iter().enumerate() {
            stream = layer.forward(&stream, &placement, index, self.sizes.rms_norm_eps, mode, taps)?;
        }
        Ok(ops::rms_norm(&stream, self.norm.of(mode), self.sizes.rms_norm_eps)?)
    }

    fn head(&self) -> &Linear {
        &self.head
    }

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }
}

impl Layer {
    fn new(index: usize, sizes: &DecoderConfig, builder: &mut Builder<'_>) -> Result<Self> {
        let (hidden, inner, bias) = (sizes.hidden_size, sizes.intermediate_size, sizes.mlp_bias);
        let init = Init::Normal(sizes.initializer_range);
        let name = |part: &str| format!("model.layers.{index}.{part}");
        Ok(Self {
            attention_norm: builder.weight(&name("input_layernorm.weight"), &[hidden], Init::Ones)?,
            attention: Attention::new(&name("self_attn"), sizes, builder)?,
            mlp_norm: builder.weight(&name("post_attention_layernorm.weight"), &[hidden], Init::Ones)?,
            gate: Linear::new(builder, &name("mlp.gate_proj"), [inner, hidden], bias, init)?,
            up: Linear::new(builder, &name("mlp.up_proj"), [inner, hidden], bias, init)?,
            down: Linear::new(builder, &name("mlp.down_proj"), [hidden, inner], bias, init)?,
        })
    }

    fn forward(
        &self,
        stream: &Tensor,
        placement: &Placement,
        index: usize,
        eps: f64,
        mode: Mode,
        taps: &mut Taps,
    ) -> Result<Tensor> {
        let normal = ops::rms_norm(stream, self.attention_norm.of(mode), eps)?;
        let (seen, map) = self.attention.forward(&normal, placement, index, mode)?;
        taps.record(&attention_tap(index), &map);
        drop(map);
        let stream = (stream + seen)?;
        let normal = ops::rms_norm(&stream, self.mlp_norm.of(mode), eps)?;
        let inner = ops::swiglu(
            &self.gate.forward_in(&normal, mode)?,
            &self.up.forward_in(&normal, mode)?,
        )?;
        let stream = (stream + self.down.forward_in(&inner, mode)?)?;
        taps.record(&output_tap(index), &stream);
        Ok(stream)
    }
}

fn attention_tap(layer: usize) -> String {
    format!("layers.{layer}.attention")
}

fn output_tap(layer: usize) -> String {
    format!("layers.{layer}.output")
}
