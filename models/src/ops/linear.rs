//! The product with a transposed weight.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CudaStorage, CustomOp2, Layout, Result, Shape, Tensor};

/// `x W^T`: `[n, inputs]` and `[outputs, inputs]` to `[n, outputs]`.
///
/// candle's own product over `W.t()` gives the weight's gradient transposed and then adds it element by element; this
/// one gives it in the weight's own layout.
pub(crate) fn linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    x.apply_op2(weight, Linear)
}

struct Linear;

/// Batch 1, then rows, columns and inner size of the product.
fn sizes(x: &Layout, weight: &Layout) -> Result<(usize, usize, usize, usize)> {
    let ((n, inputs), (outputs, width)) = (x.shape().dims2()?, weight.shape().dims2()?);
    if inputs != width {
        candle_core::bail!("rows of {inputs} entries meet a weight for {width}");
    }
    Ok((1, n, outputs, inputs))
}

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, w: &CpuStorage, lw: &Layout) -> Result<(CpuStorage, Shape)> {
        let sizes = sizes(lx, lw)?;
        Ok((x.matmul(w, sizes, lx, &lw.transpose(0, 1)?)?, (sizes.1, sizes.2).into()))
    }

    fn cuda_fwd(&self, x: &CudaStorage, lx: &Layout, w: &CudaStorage, lw: &Layout) -> Result<(CudaStorage, Shape)> {
        let sizes = sizes(lx, lw)?;
        Ok((x.matmul(w, sizes, lx, &lw.transpose(0, 1)?)?, (sizes.1, sizes.2).into()))
    }

    fn bwd(&self, x: &Tensor, w: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((Some(grad.matmul(w)?), Some(grad.t()?.matmul(x)?)))
    }
}
