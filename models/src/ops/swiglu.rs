//! The gated activation of the feed-forward layer.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use decant_kernels::layers::activation;

use super::{entries, fused, output, tensor, with_entries};

/// `silu(gate) * up`.
pub(crate) fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    match fused(gate) {
        true => gate.apply_op2(up, SwiGlu),
        false => gate.silu()?.mul(up),
    }
}

struct SwiGlu;

impl CustomOp2 for SwiGlu {
    fn name(&self) -> &'static str {
        "swiglu"
    }

    fn cpu_fwd(&self, gate: &CpuStorage, lg: &Layout, up: &CpuStorage, lu: &Layout) -> Result<(CpuStorage, Shape)> {
        let (gate, up) = (entries(gate, lg)?, entries(up, lu)?);
        let mut out = vec![0.0; gate.len()];
        activation::swiglu(gate, up, &mut out);
        Ok(output(out, lg.shape()))
    }

    fn bwd(&self, gate: &Tensor, up: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (dgate, dup) = with_entries([gate, up, grad], |[gate, up, grad]| {
            let (mut dgate, mut dup) = (vec![0.0; gate.len()], vec![0.0; gate.len()]);
            activation::swiglu_backward(gate, up, grad, &mut dgate, &mut dup);
            (dgate, dup)
        })?;
        Ok((Some(tensor(dgate, gate)?), Some(tensor(dup, up)?)))
    }
}
