//! The optimizer's arithmetic, in place over one parameter.

use rayon::prelude::*;

use crate::dispatch::{self, Kernel};
use crate::vector;

/// Elements that one thread takes at a time; also the length of one partial sum, so that sums do not depend on the
/// number of threads.
const CHUNK: usize = 1 << 14;

/// AdamW as of Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (2019), algorithm 2, with PyTorch's
/// convention that the decay is multiplied by the learning rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// Learning rate of this step.
    pub lr: f64,
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of squared gradients.
    pub beta2: f64,
    /// Added to the root of the squared mean.
    pub eps: f64,
    /// Decoupled weight decay; 0 for parameters that are not matrices.
    pub weight_decay: f64,
    /// Number of this step, from 1.
    pub step: u64,
}

impl AdamW {
    /// One step of a parameter and its two moments: `m = b1 m + (1 - b1) g`, `v = b2 v + (1 - b2) g^2`,
    /// `param = (1 - lr wd) param - lr (m / (1 - b1^step)) / (sqrt(v / (1 - b2^step)) + eps)`.
    ///
    /// # Panics
    /// If the slices differ in length.
    pub fn update(&self, param: &mut [f32], grad: &[f32], m: &mut [f32], v: &mut [f32]) {
        let n = param.len();
        assert!(
            grad.len() == n && m.len() == n && v.len() == n,
            "parameter, gradient and moments have one length"
        );
        let step = self.step as f64;
        let update = Update {
            beta1: self.beta1 as f32,
            beta2: self.beta2 as f32,
            new1: (1.0 - self.beta1) as f32,
            new2: (1.0 - self.beta2) as f32,
            keep: (1.0 - self.lr * self.weight_decay) as f32,
            rate: (self.lr / (1.0 - self.beta1.powf(step))) as f32,
            inverse_bias2: (1.0 / (1.0 - self.beta2.powf(step))) as f32,
            eps: self.eps as f32,
        };
        let chunks = param.par_chunks_mut(CHUNK).zip(grad.par_chunks(CHUNK));
        let moments = m.par_chunks_mut(CHUNK).zip(v.par_chunks_mut(CHUNK));
        chunks.zip(moments).for_each(|((param, grad), (m, v))| {
            dispatch::run(Step {
                update,
                param,
                grad,
                m,
                v,
            })
        });
    }
}

/// Sum of squares in `f64`; NaN or infinite if an element is.
pub fn sum_of_squares(x: &[f32]) -> f64 {
    let partial: Vec<f64> = x
        .par_chunks(CHUNK)
        .map(|chunk| dispatch::run(Squares { x: chunk }))
        .collect();
    partial.into_iter().sum()
}

#[derive(Clone, Copy)]
struct Update {
    beta1: f32,
    beta2: f32,
    new1: f32,
    new2: f32,
    keep: f32,
    rate: f32,
    inverse_bias2: f32,
    eps: f32,
}

struct Step<'a> {
    update: Update,
    param: &'a mut [f32],
    grad: &'a [f32],
    m: &'a mut [f32],
    v: &'a mut [f32],
}

impl Kernel for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let u = self.update;
        let elements = self
            .param
            .iter_mut()
            .zip(self.grad)
            .zip(self.m.iter_mut().zip(self.v.iter_mut()));
        for ((param, grad), (m, v)) in elements {
            *m = vector::mul_add::<FUSED>(u.beta1, *m, u.new1 * grad);
            *v = vector::mul_add::<FUSED>(u.beta2, *v, u.new2 * grad * grad);
            let root = (*v * u.inverse_bias2).sqrt() + u.eps;
            *param = vector::mul_add::<FUSED>(u.keep, *param, -(u.rate * *m / root));
        }
    }
}

struct Squares<'a> {
    x: &'a [f32],
}

impl Kernel for Squares<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<const FUSED: bool>(self) -> f64 {
        const WIDE: usize = 16;
        let mut lanes = [0f64; WIDE];
        let (chunks, rest) = self.x.as_chunks::<WIDE>();
        for chunk in chunks {
            for lane in 0..WIDE {
                let x = f64::from(chunk[lane]);
                lanes[lane] += x * x;
            }
        }
        for (lane, x) in lanes.iter_mut().zip(rest) {
            *lane += f64::from(*x) * f64::from(*x);
        }
        lanes.into_iter().sum()
    }
}
