//! Root mean square layer normalisation (Zhang and Sennrich 2019, equation 4).

use rayon::prelude::*;

use super::{dot, rows_per_task, sum_rows};
use crate::dispatch::{self, Kernel};

/// `out = weight * x / sqrt(mean(x^2) + eps)`, for each row of `weight.len()` entries.
pub fn forward(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let task = rows_per_task(weight.len()) * weight.len();
    out.par_chunks_mut(task)
        .zip(x.par_chunks(task))
        .for_each(|(out, x)| dispatch::run(Forward { x, weight, eps, out }));
}

/// The gradients: `dx` is written, `dweight` is written with the sum over rows.
pub fn backward(x: &[f32], weight: &[f32], eps: f32, grad: &[f32], dx: &mut [f32], dweight: &mut [f32]) {
    let width = weight.len();
    let task = rows_per_task(width) * width;
    dx.par_chunks_mut(task)
        .zip(x.par_chunks(task))
        .zip(grad.par_chunks(task))
        .for_each(|((dx, x), grad)| {
            dispatch::run(Backward {
                x,
                weight,
                eps,
                grad,
                dx,
            })
        });
    sum_rows(x.len() / width, dweight, |rows, sums| {
        let rows = rows.start * width..rows.end * width;
        dispatch::run(WeightGradient {
            x: &x[rows.clone()],
            grad: &grad[rows],
            eps,
            sums,
        });
    });
}

/// `1 / sqrt(mean(x^2) + eps)`.
#[inline(always)]
fn inverse_root<const FUSED: bool>(x: &[f32], eps: f32) -> f32 {
    1.0 / (dot::<FUSED>(x, x) / x.len() as f32 + eps).sqrt()
}

struct Forward<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    eps: f32,
    out: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let width = self.weight.len();
        for (x, out) in self.x.chunks_exact(width).zip(self.out.chunks_exact_mut(width)) {
            let inverse = inverse_root::<FUSED>(x, self.eps);
            for ((out, x), weight) in out.iter_mut().zip(x).zip(self.weight) {
                *out = weight * (x * inverse);
            }
        }
    }
}

struct Backward<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    eps: f32,
    grad: &'a [f32],
    dx: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Output = ();

    /// With `n = x r` and `dn = weight * grad`: `dx = r (dn - n mean(dn n))`.
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let width = self.weight.len();
        let rows = self.x.chunks_exact(width).zip(self.grad.chunks_exact(width));
        for ((x, grad), dx) in rows.zip(self.dx.chunks_exact_mut(width)) {
            let inverse = inverse_root::<FUSED>(x, self.eps);
            for ((dx, grad), weight) in dx.iter_mut().zip(grad).zip(self.weight) {
                *dx = weight * grad;
            }
            let along = dot::<FUSED>(dx, x) * inverse * inverse / width as f32;
            for (dx, x) in dx.iter_mut().zip(x) {
                *dx = inverse * (*dx - x * along);
            }
        }
    }
}

struct WeightGradient<'a> {
    x: &'a [f32],
    grad: &'a [f32],
    eps: f32,
    sums: &'a mut [f32],
}

impl Kernel for WeightGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let width = self.sums.len();
        for (x, grad) in self.x.chunks_exact(width).zip(self.grad.chunks_exact(width)) {
            let inverse = inverse_root::<FUSED>(x, self.eps);
            for ((sum, grad), x) in self.sums.iter_mut().zip(grad).zip(x) {
                *sum += grad * (x * inverse);
            }
        }
    }
}
