//! Batch norm with running statistics, as PyTorch keeps them.

use candle_core::{Tensor, Var};

use crate::parameters::{Builder, Init, Weight};
use crate::{Error, Mode, Result, ops};

/// How much of each batch goes into the running statistics.
const MOMENTUM: f64 = 0.1;
/// Added to the variance before its root.
const EPS: f64 = 1e-5;

pub(super) struct BatchNorm {
    scale: Weight,
    shift: Weight,
    mean: Var,
    variance: Var,
}

impl BatchNorm {
    pub(super) fn new(builder: &mut Builder<'_>, name: &str, channels: usize) -> Result<Self> {
        Ok(Self {
            scale: builder.weight(&format!("{name}.weight"), &[channels], Init::Ones)?,
            shift: builder.weight(&format!("{name}.bias"), &[channels], Init::Zeros)?,
            mean: builder.buffer(&format!("{name}.running_mean"), &[channels], Init::Zeros)?,
            variance: builder.buffer(&format!("{name}.running_var"), &[channels], Init::Ones)?,
        })
    }

    /// Over the last dimension of `x`. In training the running statistics move towards the batch's.
    pub(super) fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let (scale, shift) = (self.scale.of(mode), self.shift.of(mode));
        if mode == Mode::Eval {
            let scale = scale.div(&(self.variance.as_detached_tensor() + EPS)?.sqrt()?)?;
            let shift = shift.sub(&self.mean.as_detached_tensor().mul(&scale)?)?;
            return Ok(x.broadcast_mul(&scale)?.broadcast_add(&shift)?);
        }
        let channels = scale.elem_count();
        let rows = x.elem_count() / channels;
        if rows < 2 {
            return Err(Error::Batch(
                "gives batch norm one value for each channel; train on two images or more".into(),
            ));
        }
        let (y, mean, variance) = ops::batch_norm(&x.reshape((rows, channels))?, scale, shift, EPS)?;
        // The running variance is that of the population: divided by one less than the count.
        self.variance
            .set(&blend(&self.variance, &variance, rows as f64 / (rows - 1) as f64)?)?;
        self.mean.set(&blend(&self.mean, &mean, 1.0)?)?;
        Ok(y.reshape(x.shape())?)
    }
}

fn blend(running: &Var, batch: &Tensor, factor: f64) -> Result<Tensor> {
    Ok(((running.as_detached_tensor() * (1.0 - MOMENTUM))? + (batch * (MOMENTUM * factor))?)?)
}
