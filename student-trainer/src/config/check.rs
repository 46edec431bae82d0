//! Values that do not go together.

use super::{Config, HardTargets};
use crate::{Error, Result};

impl Config {
    /// Refuses values that do not go together.
    ///
    /// # Errors
    /// The first such value, its key and the mend.
    pub fn check(&self) -> Result<()> {
        self.check_loss()?;
        self.check_data()?;
        self.check_optimizer()?;
        self.check_training()
    }

    fn check_loss(&self) -> Result<()> {
        let loss = &self.loss;
        for (key, weight) in [("soft_weight", loss.soft_weight), ("hard_weight", loss.hard_weight)] {
            ensure(weight >= 0.0 && weight.is_finite(), || {
                format!("loss.{key} is {weight}; give 0 or more")
            })?;
        }
        ensure(loss.soft_weight > 0.0 || loss.hard_weight > 0.0, || {
            "loss.soft_weight and loss.hard_weight are both 0: there is nothing to learn; raise one".into()
        })?;
        let temperature = loss.temperature;
        ensure(temperature > 0.0 && temperature.is_finite(), || {
            format!("loss.temperature is {temperature}; give a positive number")
        })
    }

    fn check_data(&self) -> Result<()> {
        let data = &self.data;
        ensure(data.dataset.is_some() == data.inputs.is_empty(), || {
            "give either data.dataset (a sealed dataset) or [data.inputs] (raw files), and not both".into()
        })?;
        if data.dataset.is_none() {
            ensure(self.loss.soft_weight == 0.0, || {
                format!(
                    "loss.soft_weight is {}, but raw inputs have no soft targets; set it to 0 or give data.dataset",
                    self.loss.soft_weight
                )
            })?;
            ensure(self.loss.hard_targets == HardTargets::Labels, || {
                "loss.hard_targets is \"teacher_argmax\", which raw inputs do not have; give data.dataset".into()
            })?;
        }
        ensure(!data.train.is_empty(), || "data.train names no split".into())?;
        ensure(data.evaluate.is_empty() || data.held_out.is_none(), || {
            "data.evaluate and data.held_out both name a part to evaluate on; give one".into()
        })?;
        if let Some(fraction) = data.held_out {
            ensure(fraction > 0.0 && fraction < 1.0, || {
                format!("data.held_out is {fraction}; give a fraction between 0 and 1")
            })?;
        }
        match data.evaluate.iter().find(|split| data.train.contains(split)) {
            None => Ok(()),
            Some(split) => Err(Error::Config(format!(
                "data.evaluate names {split:?}, which is trained on; give another split, or held_out"
            ))),
        }
    }

    fn check_optimizer(&self) -> Result<()> {
        let optimizer = &self.optimizer;
        let numbers = [
            ("learning_rate", optimizer.learning_rate),
            ("eps", optimizer.eps),
            ("weight_decay", optimizer.weight_decay),
            ("clip_norm", optimizer.clip_norm),
        ];
        for (key, value) in numbers {
            ensure(value >= 0.0 && value.is_finite(), || {
                format!("optimizer.{key} is {value}; give 0 or more")
            })?;
        }
        for beta in optimizer.betas {
            ensure((0.0..1.0).contains(&beta), || {
                format!("optimizer.betas holds {beta}; give numbers from 0 to below 1")
            })?;
        }
        ensure((0.0..=1.0).contains(&optimizer.min_ratio), || {
            format!(
                "optimizer.min_ratio is {}; give a fraction from 0 to 1",
                optimizer.min_ratio
            )
        })
    }

    fn check_training(&self) -> Result<()> {
        let training = &self.training;
        ensure(training.steps.is_some() != training.epochs.is_some(), || {
            "give either training.steps or training.epochs, and not both".into()
        })?;
        ensure(training.batch_size.is_some() != training.batch_tokens.is_some(), || {
            "give either training.batch_size (examples) or training.batch_tokens, and not both".into()
        })?;
        ensure(
            !(training.micro_batch_size.is_some() && training.micro_batch_tokens.is_some()),
            || "training.micro_batch_size and training.micro_batch_tokens both cut a step; give one".into(),
        )?;
        let counts = [
            ("steps", training.steps.map(|steps| steps as usize)),
            ("epochs", training.epochs.map(|epochs| epochs as usize)),
            ("batch_size", training.batch_size),
            ("batch_tokens", training.batch_tokens),
            ("micro_batch_size", training.micro_batch_size),
            ("micro_batch_tokens", training.micro_batch_tokens),
            ("row_tokens", training.row_tokens),
            ("keep", Some(training.keep)),
            ("threads", training.threads),
        ];
        for (key, count) in counts {
            ensure(count != Some(0), || format!("training.{key} is 0; give at least 1"))?;
        }
        Ok(())
    }
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::Config(otherwise())) }
}
