//! Normalisation over a row, and over a batch.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, D, DType, Layout, Result, Shape, Tensor};
use decant_kernels::layers::{batch_norm as kernel, rms_norm as rms_kernel};

use super::{entries, fused, output, tensor, with_entries};

/// `weight * x / sqrt(mean(x^2) + eps)` over the last dimension, in f32 whatever the number format, as Hugging Face's
/// models do it.
pub(crate) fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    if fused(x) {
        return x.contiguous()?.apply_op2(weight, RmsNorm { eps: eps as f32 });
    }
    let wide = if x.dtype() == DType::F64 {
        x.clone()
    } else {
        x.to_dtype(DType::F32)?
    };
    let root = (wide.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?;
    wide.broadcast_div(&root)?.to_dtype(x.dtype())?.broadcast_mul(weight)
}

struct RmsNorm {
    eps: f32,
}

impl CustomOp2 for RmsNorm {
    fn name(&self) -> &'static str {
        "rms-norm"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, w: &CpuStorage, lw: &Layout) -> Result<(CpuStorage, Shape)> {
        let (x, weight) = (entries(x, lx)?, entries(w, lw)?);
        let mut out = vec![0.0; x.len()];
        rms_kernel::forward(x, weight, self.eps, &mut out);
        Ok(output(out, lx.shape()))
    }

    fn bwd(&self, x: &Tensor, w: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (dx, dweight) = with_entries([x, w, grad], |[x, weight, grad]| {
            let (mut dx, mut dweight) = (vec![0.0; x.len()], vec![0.0; weight.len()]);
            rms_kernel::backward(x, weight, self.eps, grad, &mut dx, &mut dweight);
            (dx, dweight)
        })?;
        Ok((Some(tensor(dx, x)?), Some(tensor(dweight, w)?)))
    }
}

/// Batch norm in training over the rows of `[n, channels]`: the output, and the batch's mean and variance (divided by
/// the count), which carry no gradient.
pub(crate) fn batch_norm(x: &Tensor, scale: &Tensor, shift: &Tensor, eps: f64) -> Result<(Tensor, Tensor, Tensor)> {
    if !fused(x) {
        let mean = x.mean_keepdim(0)?;
        let centred = x.broadcast_sub(&mean)?;
        let variance = centred.sqr()?.mean_keepdim(0)?;
        let normal = centred.broadcast_div(&(&variance + eps)?.sqrt()?)?;
        let y = normal.broadcast_mul(scale)?.broadcast_add(shift)?;
        return Ok((y, mean.squeeze(0)?.detach(), variance.squeeze(0)?.detach()));
    }
    let x = x.contiguous()?;
    let statistics = with_entries([&x], |[entries]| kernel::statistics(entries, scale.elem_count()))?;
    let mean = tensor(statistics.mean.clone(), scale)?;
    let variance = tensor(statistics.variance.clone(), scale)?;
    Ok((
        x.apply_op3(
            scale,
            shift,
            BatchNorm {
                statistics,
                eps: eps as f32,
            },
        )?,
        mean,
        variance,
    ))
}

struct BatchNorm {
    statistics: kernel::Statistics,
    eps: f32,
}

impl CustomOp3 for BatchNorm {
    fn name(&self) -> &'static str {
        "batch-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        scale: &CpuStorage,
        lscale: &Layout,
        shift: &CpuStorage,
        lshift: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let x = entries(x, lx)?;
        let mut out = vec![0.0; x.len()];
        kernel::forward(
            x,
            entries(scale, lscale)?,
            entries(shift, lshift)?,
            &self.statistics,
            self.eps,
            &mut out,
        );
        Ok(output(out, lx.shape()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        scale: &Tensor,
        shift: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (dx, dscale, dshift) = with_entries([x, scale, grad], |[x, scale, grad]| {
            let (mut dx, mut dscale) = (vec![0.0; x.len()], vec![0.0; scale.len()]);
            let mut dshift = dscale.clone();
            let out = (&mut dx[..], &mut dscale[..], &mut dshift[..]);
            kernel::backward(x, scale, &self.statistics, self.eps, grad, out);
            (dx, dscale, dshift)
        })?;
        Ok((
            Some(tensor(dx, x)?),
            Some(tensor(dscale, scale)?),
            Some(tensor(dshift, shift)?),
        ))
    }
}
