//! Rotary positions, and the softmax of attention over what each position sees.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, CustomOp3, D, DType, Device, InplaceOp1, Layout, Result, Shape, Tensor};
use decant_kernels::layers::{attention, rope};

use super::{entries, fused, output, tensor, with_entries};

/// Cosines and sines by which heads are rotated: `[1 or rows, width, head_dim / 2]`.
pub(crate) struct Rotation {
    pub(crate) cos: Tensor,
    pub(crate) sin: Tensor,
}

/// Turns `[rows * width, heads * head_dim]` into `[rows, heads, width, head_dim]` and rotates each head, its first half
/// with its second.
pub(crate) fn rotate(x: &Tensor, rows: usize, heads: usize, by: &Rotation) -> Result<Tensor> {
    let (positions, entries) = x.dims2()?;
    let (width, head_dim) = (positions / rows, entries / heads);
    if fused(x) {
        let sizes = rope::Heads { width, heads, head_dim };
        return x.apply_op3(&by.cos, &by.sin, Rotate { sizes, rows });
    }
    let x = x
        .reshape((rows, width, heads, head_dim))?
        .transpose(1, 2)?
        .contiguous()?;
    let (a, b) = (
        x.narrow(D::Minus1, 0, head_dim / 2)?,
        x.narrow(D::Minus1, head_dim / 2, head_dim / 2)?,
    );
    let (cos, sin) = (
        by.cos.unsqueeze(1)?.to_dtype(x.dtype())?,
        by.sin.unsqueeze(1)?.to_dtype(x.dtype())?,
    );
    let first = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
    let second = (b.broadcast_mul(&cos)? + a.broadcast_mul(&sin)?)?;
    Tensor::cat(&[first, second], D::Minus1)
}

struct Rotate {
    sizes: rope::Heads,
    rows: usize,
}

impl CustomOp3 for Rotate {
    fn name(&self) -> &'static str {
        "rotate"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        cos: &CpuStorage,
        lcos: &Layout,
        sin: &CpuStorage,
        lsin: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let x = entries(x, lx)?;
        let mut out = vec![0.0; x.len()];
        rope::forward(x, entries(cos, lcos)?, entries(sin, lsin)?, self.sizes, &mut out);
        let rope::Heads { width, heads, head_dim } = self.sizes;
        Ok(output(out, (self.rows, heads, width, head_dim)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        cos: &Tensor,
        sin: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let dx = with_entries([grad, cos, sin], |[grad, cos, sin]| {
            let mut dx = vec![0.0; grad.len()];
            rope::backward(grad, cos, sin, self.sizes, &mut dx);
            dx
        })?;
        Ok((Some(tensor(dx, x)?), None, None))
    }
}

/// For each of `rows * width` positions, the first one in its row that it sees; it sees all from there to itself.
#[derive(Clone)]
pub(crate) struct Spans {
    first: Arc<[u32]>,
    width: usize,
    /// `[rows, 1, width, width]`: 0 where a key is seen, minus infinity elsewhere. Only where no kernel does without.
    mask: Option<Tensor>,
}

impl Spans {
    pub(crate) fn new(first: Vec<u32>, width: usize, dtype: DType, device: &Device) -> Result<Self> {
        let mask = match device.is_cpu() && dtype == DType::F32 {
            true => None,
            false => Some(additive_mask(&first, width)?.to_device(device)?),
        };
        Ok(Self {
            first: first.into(),
            width,
            mask,
        })
    }
}

fn additive_mask(first: &[u32], width: usize) -> Result<Tensor> {
    let mut mask = vec![f32::NEG_INFINITY; first.len() * width];
    for (index, (row, first)) in mask.chunks_mut(width).zip(first).enumerate() {
        row[*first as usize..=index % width].fill(0.0);
    }
    Tensor::from_vec(mask, (first.len() / width, 1, width, width), &Device::Cpu)
}

/// The softmax of `scores` (`[rows, heads, width, width]`) over what each position sees, 0 elsewhere. Takes the scores
/// over: outside a graph their memory becomes the result's.
pub(crate) fn attention_softmax(scores: Tensor, spans: &Spans) -> Result<Tensor> {
    if let Some(mask) = &spans.mask {
        let dtype = scores.dtype();
        let wide = if dtype == DType::F64 {
            scores
        } else {
            scores.to_dtype(DType::F32)?
        };
        let seen = wide.broadcast_add(&mask.to_dtype(wide.dtype())?)?;
        let powers = seen.broadcast_sub(&seen.detach().max_keepdim(D::Minus1)?)?.exp()?;
        return powers.broadcast_div(&powers.sum_keepdim(D::Minus1)?)?.to_dtype(dtype);
    }
    let softmax = Softmax {
        spans: spans.clone(),
        heads: scores.dim(1)?,
    };
    if scores.track_op() {
        return scores.apply_op1(softmax);
    }
    scores.inplace_op1(&softmax)?;
    Ok(scores)
}

struct Softmax {
    spans: Spans,
    heads: usize,
}

impl InplaceOp1 for Softmax {
    fn name(&self) -> &'static str {
        "attention-softmax"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        match (storage, layout.contiguous_offsets()) {
            (CpuStorage::F32(scores), Some((start, end))) => {
                attention::softmax(&mut scores[start..end], &self.spans.first, self.heads, self.spans.width);
                Ok(())
            }
            _ => candle_core::bail!("attention-softmax needs contiguous f32 scores"),
        }
    }
}

impl CustomOp1 for Softmax {
    fn name(&self) -> &'static str {
        "attention-softmax"
    }

    fn cpu_fwd(&self, scores: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut p = entries(scores, layout)?.to_vec();
        attention::softmax(&mut p, &self.spans.first, self.heads, self.spans.width);
        Ok(output(p, layout.shape()))
    }

    fn bwd(&self, _scores: &Tensor, p: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let dscores = with_entries([p, grad], |[p, grad]| {
            let mut dscores = grad.to_vec();
            attention::softmax_backward(p, &mut dscores, self.spans.width);
            dscores
        })?;
        Ok(Some(tensor(dscores, p)?))
    }
}
