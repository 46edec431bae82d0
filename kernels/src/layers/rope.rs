//! Rotary position embedding (Su et al. 2021), in the layout of Hugging Face's Llama: the first half of a head is
//! rotated with the second.

use rayon::prelude::*;

use crate::dispatch::{self, Kernel};

/// Sizes of a batch of heads.
#[derive(Clone, Copy, Debug)]
pub struct Heads {
    /// Positions in each row of the batch.
    pub width: usize,
    /// Heads at each position.
    pub heads: usize,
    /// Entries of a head; even.
    pub head_dim: usize,
}

/// Turns `[rows * width, heads * head_dim]` into `[rows, heads, width, head_dim]` and rotates each head.
///
/// `cos` and `sin` hold `head_dim / 2` entries for each position of a row (shared by all rows) or of the whole batch.
pub fn forward(x: &[f32], cos: &[f32], sin: &[f32], sizes: Heads, out: &mut [f32]) {
    let Heads { width, heads, head_dim } = sizes;
    out.par_chunks_mut((width * head_dim).max(1))
        .enumerate()
        .for_each(|(index, out)| {
            let (row, head) = (index / heads, index % heads);
            dispatch::run(Rotate {
                x: &x[row * width * heads * head_dim + head * head_dim..],
                x_stride: heads * head_dim,
                cos: of_row(cos, row, width, head_dim),
                sin: of_row(sin, row, width, head_dim),
                sign: 1.0,
                out,
                out_stride: head_dim,
                sizes: (width, head_dim),
            });
        });
}

/// The gradient: `grad` is laid out as `forward`'s output, `dx` as its input.
pub fn backward(grad: &[f32], cos: &[f32], sin: &[f32], sizes: Heads, dx: &mut [f32]) {
    let Heads { width, heads, head_dim } = sizes;
    dx.par_chunks_mut((width * heads * head_dim).max(1))
        .enumerate()
        .for_each(|(row, dx)| {
            for head in 0..heads {
                dispatch::run(Rotate {
                    x: &grad[(row * heads + head) * width * head_dim..],
                    x_stride: head_dim,
                    cos: of_row(cos, row, width, head_dim),
                    sin: of_row(sin, row, width, head_dim),
                    sign: -1.0,
                    out: &mut dx[head * head_dim..],
                    out_stride: heads * head_dim,
                    sizes: (width, head_dim),
                });
            }
        });
}

/// The part of a table that belongs to a row.
fn of_row(table: &[f32], row: usize, width: usize, head_dim: usize) -> &[f32] {
    let size = width * head_dim / 2;
    &table[if table.len() == size { 0 } else { row * size }..][..size]
}

struct Rotate<'a> {
    x: &'a [f32],
    x_stride: usize,
    cos: &'a [f32],
    sin: &'a [f32],
    sign: f32,
    out: &'a mut [f32],
    out_stride: usize,
    sizes: (usize, usize),
}

impl Kernel for Rotate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let (width, head_dim) = self.sizes;
        let half = head_dim / 2;
        for position in 0..width {
            let (a, b) = self.x[position * self.x_stride..][..head_dim].split_at(half);
            let (out_a, out_b) = self.out[position * self.out_stride..][..head_dim].split_at_mut(half);
            let cos = &self.cos[position * half..][..half];
            let sin = &self.sin[position * half..][..half];
            for i in 0..half {
                let sin = self.sign * sin[i];
                out_a[i] = a[i] * cos[i] - b[i] * sin;
                out_b[i] = b[i] * cos[i] + a[i] * sin;
            }
        }
    }
}
