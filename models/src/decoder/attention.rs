//! Causal self-attention with shared key and value heads (Ainslie et al. 2023).

use candle_core::Tensor;

use super::layout::Placement;
use crate::linear::Linear;
use crate::parameters::{Builder, Init};
use crate::{DecoderConfig, Mode, Result, ops};

pub(super) struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
}

impl Attention {
    pub(super) fn new(name: &str, sizes: &DecoderConfig, builder: &mut Builder<'_>) -> Result<Self> {
        let DecoderConfig {
            hidden_size: hidden,
            heads,
            kv_heads,
            head_dim,
            ..
        } = *sizes;
        let init = Init::Normal(sizes.initializer_range);
        let mut linear = |part: &str, shape, bias| Linear::new(builder, &format!("{name}.{part}"), shape, bias, init);
        Ok(Self {
            query: linear("q_proj", [heads * head_dim, hidden], sizes.qkv_bias)?,
            key: linear("k_proj", [kv_heads * head_dim, hidden], sizes.qkv_bias)?,
            value: linear("v_proj", [kv_heads * head_dim, hidden], sizes.qkv_bias)?,
            output: linear("o_proj", [hidden, heads * head_dim], sizes.output_bias)?,
            heads,
            kv_heads,
            head_dim,
        })
    }

    /// `[rows * width, hidden]` to the same, and the attention map `[rows, heads, width, width]`.
    pub(super) fn forward(
        &self,
        x: &Tensor,
        placement: &Placement,
        layer: usize,
        mode: Mode,
    ) -> Result<(Tensor, Tensor)> {
        let Self {
            heads,
            kv_heads,
            head_dim,
            ..
        } = *self;
        let (rows, width) = (placement.rows, placement.width);
        let query = ops::rotate(&self.query.forward_in(x, mode)?, rows, heads, &placement.query)?;
        let key = ops::rotate(&self.key.forward_in(x, mode)?, rows, kv_heads, &placement.key)?;
        let value = self.value.forward_in(x, mode)?;
        let value = value
            .reshape((rows, width, kv_heads, head_dim))?
            .transpose(1, 2)?
            .contiguous()?;
        // Query heads that share a key head are taken as more queries of that head: nothing is repeated.
        let shared = (rows, kv_heads, heads / kv_heads * width, head_dim);
        let scores = query
            .reshape(shared)?
            .matmul(&key.t()?)?
            .reshape((rows, heads, width, width))?;
        let map = ops::attention_softmax(scores, placement.spans(layer))?;
        let mixed = map
            .reshape((rows, kv_heads, heads / kv_heads * width, width))?
            .matmul(&value)?;
        let mixed = mixed.reshape((rows, heads, width, head_dim))?.transpose(1, 2)?;
        Ok((
            self.output
                .forward_in(&mixed.reshape((rows * width, heads * head_dim))?, mode)?,
            map,
        ))
    }
}
