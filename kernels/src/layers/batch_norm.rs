//! Batch normalisation in training (Ioffe and Szegedy 2015, algorithm 1): each channel by the batch's own statistics.

use rayon::prelude::*;

use super::{rows_per_task, sum_rows};
use crate::dispatch::{self, Kernel};

/// What one batch says of each channel.
#[derive(Clone, Debug)]
pub struct Statistics {
    /// Mean.
    pub mean: Vec<f32>,
    /// Variance, divided by the count (not by one less).
    pub variance: Vec<f32>,
}

/// Mean and variance of each of `channels` columns of `x`, in two passes.
pub fn statistics(x: &[f32], channels: usize) -> Statistics {
    let rows = x.len() / channels;
    let mut mean = vec![0.0; channels];
    sum_rows(rows, &mut mean, |rows, sums| {
        for x in x[rows.start * channels..rows.end * channels].chunks_exact(channels) {
            for (sum, x) in sums.iter_mut().zip(x) {
                *sum += x;
            }
        }
    });
    mean.iter_mut().for_each(|mean| *mean /= rows as f32);
    let mut variance = vec![0.0; channels];
    sum_rows(rows, &mut variance, |rows, sums| {
        for x in x[rows.start * channels..rows.end * channels].chunks_exact(channels) {
            for ((sum, x), mean) in sums.iter_mut().zip(x).zip(&mean) {
                *sum += (x - mean) * (x - mean);
            }
        }
    });
    variance.iter_mut().for_each(|variance| *variance /= rows as f32);
    Statistics { mean, variance }
}

impl Statistics {
    fn inverse_deviation(&self, eps: f32) -> Vec<f32> {
        self.variance
            .iter()
            .map(|variance| 1.0 / (variance + eps).sqrt())
            .collect()
    }
}

/// `out = scale * (x - mean) / sqrt(variance + eps) + shift`.
pub fn forward(x: &[f32], scale: &[f32], shift: &[f32], statistics: &Statistics, eps: f32, out: &mut [f32]) {
    let channels = scale.len();
    let inverse = statistics.inverse_deviation(eps);
    let task = rows_per_task(channels) * channels;
    out.par_chunks_mut(task).zip(x.par_chunks(task)).for_each(|(out, x)| {
        dispatch::run(Forward {
            x,
            scale,
            shift,
            mean: &statistics.mean,
            inverse: &inverse,
            out,
        });
    });
}

/// The gradients of `x`, `scale` and `shift`, written.
pub fn backward(
    x: &[f32],
    scale: &[f32],
    statistics: &Statistics,
    eps: f32,
    grad: &[f32],
    (dx, dscale, dshift): (&mut [f32], &mut [f32], &mut [f32]),
) {
    let channels = scale.len();
    let inverse = &statistics.inverse_deviation(eps)[..];
    let mean = &statistics.mean[..];
    let rows = x.len() / channels;
    let mut sums = vec![0.0; 2 * channels];
    sum_rows(rows, &mut sums, |rows, sums| {
        let range = rows.start * channels..rows.end * channels;
        let (dscale, dshift) = sums.split_at_mut(channels);
        for (x, grad) in x[range.clone()]
            .chunks_exact(channels)
            .zip(grad[range].chunks_exact(channels))
        {
            for c in 0..channels {
                dscale[c] += grad[c] * ((x[c] - mean[c]) * inverse[c]);
                dshift[c] += grad[c];
            }
        }
    });
    dscale.copy_from_slice(&sums[..channels]);
    dshift.copy_from_slice(&sums[channels..]);
    let task = rows_per_task(channels) * channels;
    let (dscale, dshift) = (&*dscale, &*dshift);
    dx.par_chunks_mut(task)
        .zip(x.par_chunks(task))
        .zip(grad.par_chunks(task))
        .for_each(|((dx, x), grad)| {
            dispatch::run(Backward {
                x,
                grad,
                scale,
                mean,
                inverse,
                dscale,
                dshift,
                rows: rows as f32,
                dx,
            });
        });
}

struct Forward<'a> {
    x: &'a [f32],
    scale: &'a [f32],
    shift: &'a [f32],
    mean: &'a [f32],
    inverse: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let channels = self.scale.len();
        let (scale, shift) = (&self.scale[..channels], &self.shift[..channels]);
        let (mean, inverse) = (&self.mean[..channels], &self.inverse[..channels]);
        for (x, out) in self.x.chunks_exact(channels).zip(self.out.chunks_exact_mut(channels)) {
            for c in 0..channels {
                out[c] = scale[c] * ((x[c] - mean[c]) * inverse[c]) + shift[c];
            }
        }
    }
}

struct Backward<'a> {
    x: &'a [f32],
    grad: &'a [f32],
    scale: &'a [f32],
    mean: &'a [f32],
    inverse: &'a [f32],
    dscale: &'a [f32],
    dshift: &'a [f32],
    rows: f32,
    dx: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Output = ();

    /// With `n` the normalised input: `dx = scale / deviation (grad - mean(grad) - n mean(grad n))`.
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let channels = self.scale.len();
        let (scale, mean, inverse) = (
            &self.scale[..channels],
            &self.mean[..channels],
            &self.inverse[..channels],
        );
        let (dscale, dshift) = (&self.dscale[..channels], &self.dshift[..channels]);
        let count = 1.0 / self.rows;
        let rows = self.x.chunks_exact(channels).zip(self.grad.chunks_exact(channels));
        for ((x, grad), dx) in rows.zip(self.dx.chunks_exact_mut(channels)) {
            for c in 0..channels {
                let n = (x[c] - mean[c]) * inverse[c];
                dx[c] = scale[c] * inverse[c] * (grad[c] - count * (dshift[c] + n * dscale[c]));
            }
        }
    }
}
