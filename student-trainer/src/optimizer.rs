//! AdamW over all parameters, in place and in name order.

use std::cell::RefCell;
use std::collections::BTreeMap;

use candle_core::{CpuStorage, InplaceOp1, Layout};
use decant_kernels::optimizer::AdamW;
use decant_models::Parameters;

use crate::config::OptimizerConfig;
use crate::gradients::Gradients;
use crate::{Error, Result};

/// The two moments of one parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    /// Mean of gradients.
    pub first: Vec<f32>,
    /// Mean of squared gradients.
    pub second: Vec<f32>,
}

/// The optimizer's state.
#[derive(Debug, Clone, PartialEq)]
pub struct Optimizer {
    /// Moments by parameter name.
    pub moments: BTreeMap<String, Moments>,
    /// Steps taken.
    pub step: u64,
}

impl Optimizer {
    /// A start: zero moments.
    pub fn new(parameters: &Parameters) -> Self {
        let zero = |count| Moments {
            first: vec![0.0; count],
            second: vec![0.0; count],
        };
        let moments = parameters
            .trained()
            .iter()
            .map(|(name, var)| (name.clone(), zero(var.elem_count())));
        Self {
            moments: moments.collect(),
            step: 0,
        }
    }

    /// Takes one step.
    ///
    /// # Errors
    /// When a parameter is not `f32` on the CPU.
    pub fn update(
        &mut self,
        parameters: &Parameters,
        gradients: &Gradients,
        config: &OptimizerConfig,
        learning_rate: f64,
    ) -> Result<()> {
        self.step += 1;
        for (name, gradient) in gradients.iter() {
            let (Some(var), Some(moments)) = (parameters.trained().get(name), self.moments.get_mut(name)) else {
                return Err(Error::Bug(format!("the optimizer knows no parameter {name}")));
            };
            // Gains and biases are not decayed: they have one dimension.
            let matrix = var.rank() >= 2;
            let adam = AdamW {
                lr: learning_rate,
                beta1: config.betas[0],
                beta2: config.betas[1],
                eps: config.eps,
                weight_decay: if matrix { config.weight_decay } else { 0.0 },
                step: self.step,
            };
            var.inplace_op1(&Update {
                adam,
                gradient,
                moments: RefCell::new(moments),
            })?;
        }
        Ok(())
    }
}

/// AdamW on a variable's own storage.
struct Update<'a> {
    adam: AdamW,
    gradient: &'a [f32],
    moments: RefCell<&'a mut Moments>,
}

impl InplaceOp1 for Update<'_> {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let (CpuStorage::F32(values), Some((from, to))) = (storage, layout.contiguous_offsets()) else {
            candle_core::bail!("training runs in f32 on contiguous parameters");
        };
        let moments = &mut *self.moments.borrow_mut();
        self.adam.update(
            &mut values[from..to],
            self.gradient,
            &mut moments.first,
            &mut moments.second,
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use decant_models::Checkpoint;

    use super::*;

    #[test]
    fn matrices_decay_and_nothing_else_does() {
        let folder = tempfile::tempdir().unwrap();
        let config = r#"{"architectures": ["ResidualForImageClassification"], "image_size": 4, "num_channels": 1,
            "hidden_sizes": [3], "depths": [1], "num_labels": 2}"#;
        std::fs::write(folder.path().join("config.json"), config).unwrap();
        let model = Checkpoint::open(folder.path())
            .unwrap()
            .initialise(3, &Device::Cpu)
            .unwrap();
        let values = || -> BTreeMap<String, Vec<f32>> {
            let trained = model.parameters().trained().iter();
            trained
                .map(|(name, var)| (name.clone(), var.flatten_all().unwrap().to_vec1().unwrap()))
                .collect()
        };
        let before = values();
        let config = OptimizerConfig {
            weight_decay: 0.25,
            ..OptimizerConfig::default()
        };
        // Without a gradient the decay is all that a step does: by 0.5 x 0.25.
        let gradients = Gradients::new(model.parameters());
        Optimizer::new(model.parameters())
            .update(model.parameters(), &gradients, &config, 0.5)
            .unwrap();
        let mut decayed = Vec::new();
        for ((name, before), after) in before.iter().zip(values().values()) {
            let shrunk: Vec<f32> = before.iter().map(|value| 0.875 * value).collect();
            match (after == before, *after == shrunk) {
                (false, true) => decayed.push(name.as_str()),
                // The biases, and the scales and shifts of batch norm.
                (true, false) | (true, true) => assert!(!name.contains("convolution") && name != "classifier.weight"),
                (false, false) => panic!("{name} is neither as it was nor decayed"),
            }
        }
        let matrices = [
            "classifier.weight",
            "stages.0.0.first.convolution.weight",
            "stages.0.0.second.convolution.weight",
            "stem.convolution.weight",
        ];
        assert_eq!(decayed, matrices);
    }
}
