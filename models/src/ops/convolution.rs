//! Square convolutions over images laid out with their channels last.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use decant_kernels::layers::convolution::{self as kernel, Patches};

use super::{entries, fused, linear, output, tensor, with_entries};

/// How a kernel moves over an image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) padding: usize,
}

/// `[n, height, width, channels]` and `[outputs, channels, kernel, kernel]` to `[n, height', width', outputs]`.
///
/// On a CPU it is one product over patches: candle's own convolution is several times slower there, most of all
/// backwards.
pub(crate) fn convolution(images: &Tensor, weight: &Tensor, window: Window) -> Result<Tensor> {
    let (n, height, width, channels) = images.dims4()?;
    let Window {
        kernel,
        stride,
        padding,
    } = window;
    if !fused(images) {
        let images = images.permute((0, 3, 1, 2))?.contiguous()?;
        return images
            .conv2d(weight, padding, stride, 1, 1)?
            .permute((0, 2, 3, 1))?
            .contiguous();
    }
    let sizes = Patches {
        height,
        width,
        channels,
        kernel,
        stride,
        padding,
    };
    let patches = match window {
        // Each patch is one pixel: the images are the patches.
        Window {
            kernel: 1,
            stride: 1,
            padding: 0,
        } => images.reshape((n * height * width, channels))?,
        _ => images.apply_op1(Gather { sizes })?,
    };
    let outputs = weight.dim(0)?;
    let weight = weight.permute((0, 2, 3, 1))?.reshape((outputs, sizes.patch()))?;
    let (out_height, out_width) = sizes.output();
    linear(&patches, &weight)?.reshape((n, out_height, out_width, outputs))
}

/// Patches from images.
struct Gather {
    sizes: Patches,
}

impl CustomOp1 for Gather {
    fn name(&self) -> &'static str {
        "patches"
    }

    fn cpu_fwd(&self, images: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (height, width) = self.sizes.output();
        let rows = layout.shape().dims4()?.0 * height * width;
        let mut out = vec![0.0; rows * self.sizes.patch()];
        kernel::patches(entries(images, layout)?, self.sizes, &mut out);
        Ok(output(out, (rows, self.sizes.patch())))
    }

    fn bwd(&self, images: &Tensor, _patches: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let dimages = with_entries([grad], |[grad]| {
            let mut dimages = vec![0.0; images.elem_count()];
            kernel::patches_backward(grad, self.sizes, &mut dimages);
            dimages
        })?;
        Ok(Some(tensor(dimages, images)?))
    }
}
