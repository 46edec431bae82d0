//! Values that do not go together.

use super::{Config, DataConfig, HardTargets, LossConfig, ReadingConfig};
use crate::examples::Examples;
use crate::student::Student;
use crate::{Error, Result};

impl Config {
    /// Refuses values that do not go together.
    ///
    /// # Errors
    /// The first such value, its key and the mend.
    pub fn check(&self) -> Result<()> {
        self.loss.check()?;
        self.data.check()?;
        if self.data.dataset.is_none() {
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
        self.check_optimizer()?;
        self.check_training()
    }

    /// Refuses limits in tokens for a student that reads images: no example would ever reach them.
    pub(crate) fn check_for(&self, student: &Student) -> Result<()> {
        let training = &self.training;
        let of_tokens = [
            ("batch_tokens", training.batch_tokens, "give batch_size"),
            (
                "micro_batch_tokens",
                training.micro_batch_tokens,
                "give micro_batch_size",
            ),
            ("row_tokens", training.row_tokens, "remove it"),
        ];
        match of_tokens.iter().find(|(_, given, _)| given.is_some()) {
            Some((key, _, mend)) if student.processor().is_some() => Err(Error::Config(format!(
                "training.{key} counts tokens, and the student {} reads images; {mend}",
                student.path().display()
            ))),
            _ => Ok(()),
        }
    }

    /// Refuses rows that are too narrow for an example, before the first step rather than in the middle of a run.
    pub(crate) fn check_rows(&self, examples: &Examples) -> Result<()> {
        let longest = examples.items().iter().max_by_key(|example| example.tokens());
        match (self.training.row_tokens, longest) {
            (Some(width), Some(longest)) if longest.tokens() > width => Err(Error::Config(format!(
                "training.row_tokens is {width}, but example {:?} has {} tokens; raise it to that",
                longest.id,
                longest.tokens()
            ))),
            _ => Ok(()),
        }
    }

    fn check_optimizer(&self) -> Result<()> {
        let optimizer = &self.optimizer;
        let numbers = [
            ("learning_rate", optimizer.learning_rate),
            ("weight_decay", optimizer.weight_decay),
            ("clip_norm", optimizer.clip_norm),
        ];
        for (key, value) in numbers {
            ensure(value >= 0.0 && value.is_finite(), || {
                format!("optimizer.{key} is {value}; give 0 or more")
            })?;
        }
        // With 0, a parameter that never got a gradient would become 0 / 0.
        ensure(is_positive(optimizer.eps), || {
            format!(
                "optimizer.eps is {}; give a positive number, such as 1e-8",
                optimizer.eps
            )
        })?;
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

impl LossConfig {
    fn check(&self) -> Result<()> {
        for (key, weight) in [("soft_weight", self.soft_weight), ("hard_weight", self.hard_weight)] {
            ensure(weight >= 0.0 && (weight as f32).is_finite(), || {
                format!("loss.{key} is {weight}; give 0 or more")
            })?;
        }
        ensure(self.soft_weight > 0.0 || self.hard_weight > 0.0, || {
            "loss.soft_weight and loss.hard_weight are both 0: there is nothing to learn; raise one".into()
        })?;
        ensure(is_positive(self.temperature), || {
            format!("loss.temperature is {}; give a positive number", self.temperature)
        })
    }
}

impl DataConfig {
    fn check(&self) -> Result<()> {
        ensure(self.dataset.is_some() == self.inputs.is_empty(), || {
            "give either data.dataset (a sealed dataset) or [data.inputs] (raw files), and not both".into()
        })?;
        ensure(
            self.dataset.is_none() || self.reading == ReadingConfig::default(),
            || {
                "[data.reading] is for [data.inputs]: the examples of a dataset were read when it was captured; remove it"
                .into()
            },
        )?;
        let reading = &self.reading;
        for (key, given) in [
            ("stride", reading.stride.is_some()),
            ("prefix", reading.prefix.is_some()),
        ] {
            ensure(!given || reading.window.is_some(), || {
                format!("data.reading.{key} is of windows, and data.reading.window is not set; set it, or remove {key}")
            })?;
        }
        ensure(!self.train.is_empty(), || "data.train names no split".into())?;
        for (key, splits) in [("train", &self.train), ("evaluate", &self.evaluate)] {
            let twice = (1..splits.len()).find(|index| splits[..*index].contains(&splits[*index]));
            ensure(twice.is_none(), || {
                format!("data.{key} names {:?} twice; name it once", splits[twice.unwrap_or(0)])
            })?;
        }
        ensure(self.evaluate.is_empty() || self.held_out.is_none(), || {
            "data.evaluate and data.held_out both name a part to evaluate on; give one".into()
        })?;
        if let Some(fraction) = self.held_out {
            ensure(fraction > 0.0 && fraction < 1.0, || {
                format!("data.held_out is {fraction}; give a fraction between 0 and 1")
            })?;
        }
        match self.evaluate.iter().find(|split| self.train.contains(split)) {
            None => Ok(()),
            Some(split) => Err(Error::Config(format!(
                "data.evaluate names {split:?}, which is trained on; give another split, or held_out"
            ))),
        }
    }
}

/// Positive and finite, also in the f32 of the kernels.
fn is_positive(number: f64) -> bool {
    number as f32 > 0.0 && (number as f32).is_finite()
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::Config(otherwise())) }
}
