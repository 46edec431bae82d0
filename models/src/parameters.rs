//! The tensors of a model: what is trained, what is kept beside it, and how each comes to be.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};

use crate::checkpoint::Weights;
use crate::{Mode, Result, random};

/// Every tensor of a model by name, in name order.
///
/// Names are those of the checkpoint. A tensor that serves twice (tied embeddings) is here once.
#[derive(Clone, Debug, Default)]
pub struct Parameters {
    trained: BTreeMap<String, Var>,
    buffers: BTreeMap<String, Var>,
}

impl Parameters {
    /// What training changes.
    pub fn trained(&self) -> &BTreeMap<String, Var> {
        &self.trained
    }

    /// What the forward pass itself keeps up to date in [`Mode::Train`]: running statistics. No gradient.
    pub fn buffers(&self) -> &BTreeMap<String, Var> {
        &self.buffers
    }

    /// How many numbers are trained.
    pub fn count(&self) -> usize {
        self.trained.values().map(|var| var.elem_count()).sum()
    }
}

/// One trained tensor as a layer holds it: in the graph, and outside it. Both share the variable's storage.
#[derive(Clone, Debug)]
pub(crate) struct Weight {
    variable: Tensor,
    constant: Tensor,
}

impl Weight {
    pub(crate) fn of(&self, mode: Mode) -> &Tensor {
        match mode {
            Mode::Train => &self.variable,
            Mode::Eval => &self.constant,
        }
    }
}

/// Initial values of a tensor that is not loaded.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Init {
    Zeros,
    Ones,
    /// Standard deviation.
    Normal(f64),
    /// Half the width of the interval around 0.
    Uniform(f64),
}

impl Init {
    fn draw(self, seed: u64, name: &str, count: usize) -> Vec<f32> {
        match self {
            Self::Zeros => vec![0.0; count],
            Self::Ones => vec![1.0; count],
            Self::Normal(deviation) => random::normal(&mut random::generator(seed, name), deviation, count),
            Self::Uniform(bound) => random::uniform(&mut random::generator(seed, name), bound, count),
        }
    }
}

/// Where values come from.
pub(crate) enum Source<'a> {
    Checkpoint(&'a Weights),
    Seed(u64),
}

/// Hands tensors to the layers of a model under construction and remembers them.
pub(crate) struct Builder<'a> {
    source: Source<'a>,
    dtype: DType,
    device: &'a Device,
    parameters: Parameters,
}

impl<'a> Builder<'a> {
    pub(crate) fn new(source: Source<'a>, dtype: DType, device: &'a Device) -> Self {
        Self {
            source,
            dtype,
            device,
            parameters: Parameters::default(),
        }
    }

    /// A tensor to be trained.
    pub(crate) fn weight(&mut self, name: &str, shape: &[usize], init: Init) -> Result<Weight> {
        let var = self.variable(name, shape, init)?;
        let weight = Weight {
            variable: var.as_tensor().clone(),
            constant: var.as_tensor().detach(),
        };
        self.parameters.trained.insert(name.to_owned(), var);
        Ok(weight)
    }

    /// A tensor that the forward pass keeps up to date.
    pub(crate) fn buffer(&mut self, name: &str, shape: &[usize], init: Init) -> Result<Var> {
        let var = self.variable(name, shape, init)?;
        self.parameters.buffers.insert(name.to_owned(), var.clone());
        Ok(var)
    }

    fn variable(&self, name: &str, shape: &[usize], init: Init) -> Result<Var> {
        let tensor = match self.source {
            Source::Checkpoint(weights) => weights.tensor(name, shape, self.dtype, self.device)?,
            Source::Seed(seed) => {
                let values = init.draw(seed, name, shape.iter().product());
                Tensor::from_vec(values, shape, &Device::Cpu)?
                    .to_dtype(self.dtype)?
                    .to_device(self.device)?
            }
        };
        Ok(Var::from_tensor(&tensor)?)
    }

    /// Ends the construction. A tensor of the checkpoint that no layer asked for is an error, unless `harmless` says
    /// of its name and shape that it holds nothing of its own.
    pub(crate) fn finish(self, harmless: impl Fn(&str, &[usize]) -> bool) -> Result<Parameters> {
        if let Source::Checkpoint(weights) = self.source {
            weights.refuse_extra(|name, shape| {
                self.parameters.trained.contains_key(name)
                    || self.parameters.buffers.contains_key(name)
                    || harmless(name, shape)
            })?;
        }
        Ok(self.parameters)
    }
}
