//! The parts of a model's layers that are not products, each with its gradient: one pass over memory where tensor
//! operations would take five.
//!
//! Rows are independent of each other and shared out among threads; sums over rows run in blocks of a fixed number of
//! rows that are added in order, so that no result depends on the number of threads.

pub mod activation;
pub mod attention;
pub mod batch_norm;
pub mod convolution;
pub mod rms_norm;
pub mod rope;

use rayon::prelude::*;

use crate::vector::{LANES, Lanes, mul_add};

/// Rows that are summed together before the sums are added up.
const BLOCK_ROWS: usize = 64;

/// Entries that one task handles at least, so that small inputs are not torn apart.
const TASK: usize = 1 << 13;

/// How many rows of `width` one task takes.
fn rows_per_task(width: usize) -> usize {
    TASK.div_ceil(width.max(1))
}

/// Sum of products in a fixed number of lanes.
#[inline(always)]
fn dot<const FUSED: bool>(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut lanes: Lanes = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            lanes[lane] = mul_add::<FUSED>(a[lane], b[lane], lanes[lane]);
        }
    }
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    a_rest.iter().zip(b_rest).fold(lanes[0], |sum, (a, b)| sum + a * b)
}

/// Adds up, over all rows, what `row` adds to `sums` for each; `sums` is as wide as the caller likes.
fn sum_rows(rows: usize, sums: &mut [f32], block: impl Fn(std::ops::Range<usize>, &mut [f32]) + Sync) {
    let blocks = rows.div_ceil(BLOCK_ROWS);
    let width = sums.len();
    let mut partial = vec![0.0; blocks * width];
    partial
        .par_chunks_mut(width.max(1))
        .enumerate()
        .for_each(|(index, partial)| {
            let first = index * BLOCK_ROWS;
            block(first..rows.min(first + BLOCK_ROWS), partial);
        });
    let mut wide = vec![0.0f64; width];
    for partial in partial.chunks(width.max(1)) {
        for (sum, part) in wide.iter_mut().zip(partial) {
            *sum += f64::from(*part);
        }
    }
    for (sum, wide) in sums.iter_mut().zip(wide) {
        *sum = wide as f32;
    }
}

#[cfg(test)]
mod tests;
