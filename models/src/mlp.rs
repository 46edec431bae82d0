//! A multi-layer perceptron over pixels.

use candle_core::Tensor;

use crate::linear::Linear;
use crate::parameters::{Builder, Init, Parameters};
use crate::{Batch, MlpConfig, Mode, Model, ModelConfig, Result, TapSpec, Taps, Task, image, ops};

pub(crate) struct Mlp {
    config: ModelConfig,
    layers: Vec<Linear>,
    head: Linear,
    parameters: Parameters,
}

impl Mlp {
    pub(crate) fn new(config: ModelConfig, sizes: &MlpConfig, mut builder: Builder<'_>) -> Result<Self> {
        let mut inputs = sizes.image.values();
        let mut layers = Vec::with_capacity(sizes.hidden_sizes.len());
        for (index, &width) in sizes.hidden_sizes.iter().enumerate() {
            // He et al. 2015b: keeps the variance through a ReLU.
            let init = Init::Normal((2.0 / inputs as f64).sqrt());
            layers.push(Linear::new(
                &mut builder,
                &format!("layers.{index}"),
                [width, inputs],
                true,
                init,
            )?);
            inputs = width;
        }
        let init = Init::Uniform(1.0 / (inputs as f64).sqrt());
        let head = Linear::new(&mut builder, "classifier", [config.outcomes(), inputs], true, init)?;
        Ok(Self {
            config,
            layers,
            head,
            parameters: builder.finish(|_, _| false)?,
        })
    }
}

impl Model for Mlp {
    fn task(&self) -> Task {
        Task::ImageClassification
    }

    fn config(&self) -> &ModelConfig {
        &self.config
    }

    fn taps(&self) -> Vec<TapSpec> {
        let tap = |index| TapSpec::new(output_tap(index), "hidden layer after its ReLU: [n, width]");
        (0..self.layers.len()).map(tap).collect()
    }

    fn features(&self, batch: &Batch, mode: Mode, taps: &mut Taps) -> Result<Tensor> {
        taps.check(&self.taps())?;
        let images = image::checked(batch, &self.config, self.head.weight())?;
        let mut x = images.flatten_from(1)?;
        for (index, layer) in self.layers.iter().enumerate() {
            x = ops::relu(&layer.forward_in(&x, mode)?)?;
            taps.record(&output_tap(index), &x);
        }
        Ok(x)
    }

    fn head(&self) -> &Linear {
        &self.head
    }

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }
}

fn output_tap(layer: usize) -> String {
    format!("layers.{layer}.output")
}
