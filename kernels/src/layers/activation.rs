//! The gated activation of a Llama feed-forward layer (SwiGLU; Shazeer 2020, equation 6).

use rayon::prelude::*;

use super::TASK;
use crate::dispatch::{self, Kernel};
use crate::vector;

/// `out = gate * sigmoid(gate) * up`.
pub fn swiglu(gate: &[f32], up: &[f32], out: &mut [f32]) {
    out.par_chunks_mut(TASK)
        .zip(gate.par_chunks(TASK))
        .zip(up.par_chunks(TASK))
        .for_each(|((out, gate), up)| dispatch::run(Forward { gate, up, out }));
}

/// The gradients of both inputs, written.
pub fn swiglu_backward(gate: &[f32], up: &[f32], grad: &[f32], dgate: &mut [f32], dup: &mut [f32]) {
    dgate
        .par_chunks_mut(TASK)
        .zip(dup.par_chunks_mut(TASK))
        .zip(gate.par_chunks(TASK))
        .zip(up.par_chunks(TASK))
        .zip(grad.par_chunks(TASK))
        .for_each(|((((dgate, dup), gate), up), grad)| {
            dispatch::run(Backward {
                gate,
                up,
                grad,
                dgate,
                dup,
            })
        });
}

#[inline(always)]
fn sigmoid<const FUSED: bool>(x: f32) -> f32 {
    1.0 / (1.0 + vector::exp::<FUSED>(-x))
}

struct Forward<'a> {
    gate: &'a [f32],
    up: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        for ((out, gate), up) in self.out.iter_mut().zip(self.gate).zip(self.up) {
            *out = gate * sigmoid::<FUSED>(*gate) * up;
        }
    }
}

struct Backward<'a> {
    gate: &'a [f32],
    up: &'a [f32],
    grad: &'a [f32],
    dgate: &'a mut [f32],
    dup: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let inputs = self.gate.iter().zip(self.up).zip(self.grad);
        for ((dgate, dup), ((gate, up), grad)) in self.dgate.iter_mut().zip(self.dup).zip(inputs) {
            let open = sigmoid::<FUSED>(*gate);
            *dup = grad * gate * open;
            *dgate = grad * up * open * (1.0 + gate * (1.0 - open));
        }
    }
}
