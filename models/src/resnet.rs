//! A residual convolutional network (He et al. 2015): basic blocks, sized for small images.
//!
//! Inside, images are laid out with their channels last: a convolution is then a product over patches, and batch norm
//! a normalisation of columns.

mod batch_norm;

use batch_norm::BatchNorm;
use candle_core::Tensor;

use crate::linear::Linear;
use crate::ops::{self, Window};
use crate::parameters::{Builder, Init, Parameters, Weight};
use crate::{Batch, Mode, Model, ModelConfig, ResnetConfig, Result, TapSpec, Taps, Task, image};

pub(crate) struct Resnet {
    config: ModelConfig,
    stem: Convolution,
    stages: Vec<Vec<Block>>,
    head: Linear,
    parameters: Parameters,
}

/// A convolution without bias, and the batch norm that would swallow it.
struct Convolution {
    weight: Weight,
    window: Window,
    norm: BatchNorm,
}

/// Two 3x3 convolutions beside a shortcut, which is a 1x1 convolution where the shape changes.
struct Block {
    first: Convolution,
    second: Convolution,
    shortcut: Option<Convolution>,
}

impl Resnet {
    pub(crate) fn new(config: ModelConfig, sizes: &ResnetConfig, mut builder: Builder<'_>) -> Result<Self> {
        let mut channels = sizes.hidden_sizes[0];
        let stem = Convolution::new(&mut builder, "stem", [channels, sizes.image.channels], (3, 1))?;
        let mut stages = Vec::with_capacity(sizes.depths.len());
        for (stage, (&depth, &outputs)) in sizes.depths.iter().zip(&sizes.hidden_sizes).enumerate() {
            let mut blocks = Vec::with_capacity(depth);
            for block in 0..depth {
                let stride = if block == 0 && stage > 0 { 2 } else { 1 };
                let name = format!("stages.{stage}.{block}");
                blocks.push(Block::new(&mut builder, &name, [outputs, channels], stride)?);
                channels = outputs;
            }
            stages.push(blocks);
        }
        let init = Init::Uniform(1.0 / (channels as f64).sqrt());
        let head = Linear::new(&mut builder, "classifier", [config.outcomes(), channels], true, init)?;
        // PyTorch counts the batches that its running statistics have seen; nothing depends on it.
        let parameters = builder.finish(|name, _| name.ends_with(".num_batches_tracked"))?;
        Ok(Self {
            config,
            stem,
            stages,
            head,
            parameters,
        })
    }
}

impl Model for Resnet {
    fn task(&self) -> Task {
        Task::ImageClassification
    }

    fn config(&self) -> &ModelConfig {
        &self.config
    }

    fn taps(&self) -> Vec<TapSpec> {
        let tap = |index| TapSpec::new(output_tap(index), "output of the stage: [n, channels, height, width]");
        (0..self.stages.len()).map(tap).collect()
    }

    fn features(&self, batch: &Batch, mode: Mode, taps: &mut Taps) -> Result<Tensor> {
        taps.check(&self.taps())?;
        let images = image::checked(batch, &self.config, self.head.weight())?
            .permute((0, 2, 3, 1))?
            .contiguous()?;
        let mut x = ops::relu(&self.stem.forward(&images, mode)?)?;
        for (stage, blocks) in self.stages.iter().enumerate() {
            for block in blocks {
                x = block.forward(&x, mode)?;
            }
            if taps.wants(&output_tap(stage)) {
                taps.record(&output_tap(stage), &x.permute((0, 3, 1, 2))?.contiguous()?);
            }
        }
        let (n, height, width, channels) = x.dims4()?;
        Ok(x.reshape((n, height * width, channels))?.mean(1)?)
    }

    fn head(&self) -> &Linear {
        &self.head
    }

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }
}

impl Block {
    fn new(builder: &mut Builder<'_>, name: &str, shape: [usize; 2], stride: usize) -> Result<Self> {
        let [outputs, inputs] = shape;
        let mut convolution =
            |part: &str, shape, size| Convolution::new(builder, &format!("{name}.{part}"), shape, size);
        Ok(Self {
            first: convolution("first", shape, (3, stride))?,
            second: convolution("second", [outputs, outputs], (3, 1))?,
            shortcut: match stride == 1 && outputs == inputs {
                true => None,
                false => Some(convolution("shortcut", shape, (1, stride))?),
            },
        })
    }

    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let inner = ops::relu(&self.first.forward(x, mode)?)?;
        let inner = self.second.forward(&inner, mode)?;
        let around = match &self.shortcut {
            Some(shortcut) => shortcut.forward(x, mode)?,
            None => x.clone(),
        };
        Ok(ops::relu(&(inner + around)?)?)
    }
}

impl Convolution {
    fn new(
        builder: &mut Builder<'_>,
        name: &str,
        [outputs, inputs]: [usize; 2],
        (kernel, stride): (usize, usize),
    ) -> Result<Self> {
        // He et al. 2015b, by what leaves a layer, as torchvision starts its residual networks.
        let init = Init::Normal((2.0 / (outputs * kernel * kernel) as f64).sqrt());
        Ok(Self {
            weight: builder.weight(
                &format!("{name}.convolution.weight"),
                &[outputs, inputs, kernel, kernel],
                init,
            )?,
            window: Window {
                kernel,
                stride,
                padding: kernel / 2,
            },
            norm: BatchNorm::new(builder, &format!("{name}.normalization"), outputs)?,
        })
    }

    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        self.norm
            .forward(&ops::convolution(x, self.weight.of(mode), self.window)?, mode)
    }
}

fn output_tap(stage: usize) -> String {
    format!("stages.{stage}.output")
}
