//! A convolution as a product: the patch under each output pixel becomes a row.

use std::ops::Range;

use rayon::prelude::*;

/// Sizes of a square convolution over images laid out `[height, width, channels]`, padded with zeros.
#[derive(Clone, Copy, Debug)]
pub struct Patches {
    /// Rows of pixels.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
    /// Numbers at each pixel.
    pub channels: usize,
    /// Side of the kernel.
    pub kernel: usize,
    /// Step between outputs.
    pub stride: usize,
    /// Zeros around the image.
    pub padding: usize,
}

impl Patches {
    /// Rows and columns of outputs.
    pub fn output(&self) -> (usize, usize) {
        let outputs = |side: usize| (side + 2 * self.padding - self.kernel) / self.stride + 1;
        (outputs(self.height), outputs(self.width))
    }

    /// Entries of one patch: `kernel * kernel * channels`.
    pub fn patch(&self) -> usize {
        self.kernel * self.kernel * self.channels
    }

    fn image(&self) -> usize {
        self.height * self.width * self.channels
    }

    fn outputs(&self) -> usize {
        let (height, width) = self.output();
        height * width * self.patch()
    }

    /// Calls `visit(patch entries, image entries)` for each run of pixels that a patch shares with the image.
    fn each_run(&self, mut visit: impl FnMut(Range<usize>, Range<usize>)) {
        let (height, width) = self.output();
        for (row, column) in (0..height).flat_map(|row| (0..width).map(move |column| (row, column))) {
            let patch = (row * width + column) * self.patch();
            let left = column * self.stride;
            // Kernel columns that lie on the image: `padding <= left + kx < width + padding`.
            let from = self.padding.saturating_sub(left);
            let to = self.kernel.min((self.width + self.padding).saturating_sub(left));
            if from >= to {
                continue;
            }
            for ky in 0..self.kernel {
                let Some(y) = (row * self.stride + ky)
                    .checked_sub(self.padding)
                    .filter(|y| *y < self.height)
                else {
                    continue;
                };
                let entry = patch + (ky * self.kernel + from) * self.channels;
                let pixel = (y * self.width + left + from - self.padding) * self.channels;
                let run = (to - from) * self.channels;
                visit(entry..entry + run, pixel..pixel + run);
            }
        }
    }
}

/// `[n, height, width, channels]` to `[n * outputs, kernel * kernel * channels]`; `out` must hold zeros.
pub fn patches(images: &[f32], sizes: Patches, out: &mut [f32]) {
    out.par_chunks_mut(sizes.outputs())
        .zip(images.par_chunks(sizes.image()))
        .for_each(|(out, image)| {
            sizes.each_run(|entries, pixels| out[entries].copy_from_slice(&image[pixels]));
        });
}

/// The gradient of [`patches`]: each pixel sums what its copies got. `out` must hold zeros.
pub fn patches_backward(grad: &[f32], sizes: Patches, out: &mut [f32]) {
    out.par_chunks_mut(sizes.image())
        .zip(grad.par_chunks(sizes.outputs()))
        .for_each(|(image, grad)| {
            sizes.each_run(|entries, pixels| {
                for (sum, grad) in image[pixels].iter_mut().zip(&grad[entries]) {
                    *sum += grad;
                }
            });
        });
}
