//! The softmax of attention, where each position sees one unbroken range of positions up to itself.
//!
//! Causality, documents packed side by side, sliding windows and padding all come to that: a position is described by
//! the first one that it sees. No mask is ever made, and what is not seen is not read.

use rayon::prelude::*;

use super::{dot, rows_per_task};
use crate::dispatch::{self, Kernel};
use crate::vector;

/// Replaces each row of `scores` (`[rows, heads, width, width]`) by its softmax over the range that the position sees,
/// and by 0 outside it. `first` holds, for each of `rows * width` positions, the first one in its row that it sees.
pub fn softmax(scores: &mut [f32], first: &[u32], heads: usize, width: usize) {
    let task = rows_per_task(width);
    scores
        .par_chunks_mut(task * width)
        .enumerate()
        .for_each(|(index, scores)| {
            dispatch::run(Softmax {
                scores,
                first,
                heads,
                width,
                row: index * task,
            });
        });
}

/// The gradient: `p` is the output of [`softmax`], `grad` is its gradient and becomes that of the scores.
pub fn softmax_backward(p: &[f32], grad: &mut [f32], width: usize) {
    let task = rows_per_task(width) * width;
    grad.par_chunks_mut(task)
        .zip(p.par_chunks(task))
        .for_each(|(grad, p)| dispatch::run(Backward { p, grad, width }));
}

struct Softmax<'a> {
    scores: &'a mut [f32],
    first: &'a [u32],
    heads: usize,
    width: usize,
    row: usize,
}

impl Kernel for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Self { heads, width, .. } = self;
        for (offset, scores) in self.scores.chunks_exact_mut(width).enumerate() {
            let row = self.row + offset;
            let position = row % width;
            let first = self.first[row / (heads * width) * width + position] as usize;
            let (before, rest) = scores.split_at_mut(first);
            let (seen, after) = rest.split_at_mut(position + 1 - first);
            before.fill(0.0);
            after.fill(0.0);
            let largest = vector::max(seen);
            let sum = vector::sum_replaced(seen, |score| vector::exp::<FUSED>(score - largest));
            let inverse = (1.0 / sum) as f32;
            for p in seen {
                *p *= inverse;
            }
        }
    }
}

struct Backward<'a> {
    p: &'a [f32],
    grad: &'a mut [f32],
    width: usize,
}

impl Kernel for Backward<'_> {
    type Output = ();

    /// `ds = p (grad - sum(p grad))`; `p` is 0 outside the range, and so is `ds`.
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        for (p, grad) in self
            .p
            .chunks_exact(self.width)
            .zip(self.grad.chunks_exact_mut(self.width))
        {
            let mean = dot::<FUSED>(p, grad);
            for (grad, p) in grad.iter_mut().zip(p) {
                *grad = p * (*grad - mean);
            }
        }
    }
}
