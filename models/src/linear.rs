//! The linear layer, and with it every model's head.

use candle_core::Tensor;

use crate::parameters::{Builder, Init, Weight};
use crate::{Mode, Result, ops};

/// `y = x W^T + b`, with the weight laid out as PyTorch does.
#[derive(Clone, Debug)]
pub struct Linear {
    weight: Weight,
    bias: Option<Weight>,
}

impl Linear {
    pub(crate) fn new(
        builder: &mut Builder<'_>,
        name: &str,
        [outputs, inputs]: [usize; 2],
        bias: bool,
        init: Init,
    ) -> Result<Self> {
        let weight = builder.weight(&format!("{name}.weight"), &[outputs, inputs], init)?;
        let bias = match bias {
            true => Some(builder.weight(&format!("{name}.bias"), &[outputs], Init::Zeros)?),
            false => None,
        };
        Ok(Self { weight, bias })
    }

    /// A layer without bias over a weight that another layer owns.
    pub(crate) fn tied(weight: Weight) -> Self {
        Self { weight, bias: None }
    }

    /// `[outputs, inputs]`; the variable itself, as a gradient store knows it.
    pub fn weight(&self) -> &Tensor {
        self.weight.of(Mode::Train)
    }

    /// `[outputs]`; the variable itself, as a gradient store knows it.
    pub fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref().map(|bias| bias.of(Mode::Train))
    }

    /// `[n, inputs]` to `[n, outputs]`, recorded for a backward pass.
    ///
    /// # Errors
    /// When `rows` has another shape or number format than the weight asks for.
    pub fn forward(&self, rows: &Tensor) -> Result<Tensor> {
        self.forward_in(rows, Mode::Train)
    }

    pub(crate) fn forward_in(&self, rows: &Tensor, mode: Mode) -> Result<Tensor> {
        let product = ops::linear(rows, self.weight.of(mode))?;
        match &self.bias {
            Some(bias) => Ok(product.broadcast_add(bias.of(mode))?),
            None => Ok(product),
        }
    }
}
