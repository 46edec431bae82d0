//! What the student is asked to match, worked out against the data that is there.

use decant_data::{Codec, SoftTargets};
use decant_kernels::loss::{self, Tail};

use crate::config::{HardTargets, LossConfig};
use crate::{Error, Result};

/// The loss as the training step needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct Objective {
    /// Weight of the soft term.
    pub soft_weight: f64,
    /// Weight of the hard term.
    pub hard_weight: f64,
    /// Temperature of the soft term.
    pub temperature: f64,
    /// What becomes of the mass outside the kept entries.
    pub tail: Tail,
    /// What the hard targets are.
    pub hard_targets: HardTargets,
    /// Where the temperature's log tails stand; `None` for `dense`, which needs none.
    temperature_index: Option<usize>,
    /// Whether soft targets can be asked at this temperature.
    measurable: bool,
}

impl Objective {
    /// Binds the configured loss to a codec; `None` for raw inputs.
    ///
    /// # Errors
    /// A temperature that the codec cannot give.
    pub fn new(config: &LossConfig, codec: Option<&Codec>) -> Result<Self> {
        let asked = codec.map(|codec| codec.temperature_index(config.temperature as f32));
        let (temperature_index, measurable) = match asked {
            Some(Ok(index)) => (index, true),
            // Without a soft term the divergence is only measured, and can be done without.
            Some(Err(error)) if config.soft_weight > 0.0 => return Err(error.into()),
            Some(Err(_)) | None => (None, false),
        };
        if config.tail == crate::config::Tail::Renormalize && matches!(codec, Some(Codec::TopK { .. })) {
            tracing::warn!(
                "tail = \"renormalize\" spreads the teacher's mass outside the kept entries over them: a student equal \
                 to its teacher is still pushed away from it; \"bucket\" has no such bias"
            );
        }
        Ok(Self {
            soft_weight: config.soft_weight,
            hard_weight: config.hard_weight,
            temperature: config.temperature,
            tail: config.tail.into(),
            hard_targets: config.hard_targets,
            temperature_index,
            measurable,
        })
    }

    /// Whether the divergence from soft targets can be told at this temperature.
    pub fn is_measurable(&self) -> bool {
        self.measurable
    }

    /// `T^2 KL(teacher || student)` of one position; adds `scale` times its gradient to `grad`.
    ///
    /// # Errors
    /// Soft targets of another shape than the student's row.
    pub fn divergence(
        &self,
        student: &[f32],
        targets: &SoftTargets,
        position: usize,
        scale: f32,
        grad: &mut [f32],
        gathered: &mut Vec<f32>,
    ) -> Result<f64> {
        let temperature = self.temperature as f32;
        match self.said(targets, position)? {
            Said::All(teacher) if teacher.len() == student.len() => {
                Ok(loss::kl_dense(student, teacher, temperature, scale, grad))
            }
            Said::Most {
                ids,
                gaps,
                largest,
                log_tail,
            } if ids.iter().all(|id| (*id as usize) < student.len()) => {
                gathered.clear();
                gathered.extend(gaps.iter().map(|gap| largest - gap));
                Ok(loss::kl_top_k(
                    student,
                    ids,
                    gathered,
                    log_tail,
                    self.tail,
                    temperature,
                    scale,
                    grad,
                ))
            }
            _ => Err(misshapen()),
        }
    }

    /// What the teacher said at a position, at this temperature.
    fn said<'a>(&self, targets: &'a SoftTargets, position: usize) -> Result<Said<'a>> {
        let said = match targets {
            SoftTargets::Dense { classes, logits } => {
                logits.get(position * classes..(position + 1) * classes).map(Said::All)
            }
            SoftTargets::TopK {
                offsets,
                ids,
                gaps,
                largest,
                log_tails,
            } => (|| {
                let kept = *offsets.get(position)? as usize..*offsets.get(position + 1)? as usize;
                Some(Said::Most {
                    ids: ids.get(kept.clone())?,
                    gaps: gaps.get(kept)?,
                    largest: *largest.get(position)?,
                    log_tail: *log_tails.get(self.temperature_index?)?.get(position)?,
                })
            })(),
        };
        said.ok_or_else(misshapen)
    }

    /// Adds the teacher's probabilities at a position, at this temperature, to `sums`, one for each outcome; the mass
    /// of outcomes that it did not name.
    ///
    /// # Errors
    /// Soft targets of another shape than the sums.
    pub fn add_probabilities(&self, targets: &SoftTargets, position: usize, sums: &mut [f64]) -> Result<f64> {
        let temperature = self.temperature;
        match self.said(targets, position)? {
            Said::All(logits) => {
                let entries = logits.iter().map(|logit| f64::from(*logit) / temperature).enumerate();
                add_softmax(entries, 1.0, sums)?;
                Ok(0.0)
            }
            Said::Most {
                ids, gaps, log_tail, ..
            } => {
                let entry = |(id, gap): (&u32, &f32)| (*id as usize, -f64::from(*gap) / temperature);
                let tail = f64::from(log_tail).exp();
                add_softmax(ids.iter().zip(gaps).map(entry), 1.0 - tail, sums)?;
                Ok(tail)
            }
        }
    }
}

/// Adds `mass` times the softmax of some outcomes' logits to their sums.
fn add_softmax(entries: impl Iterator<Item = (usize, f64)> + Clone, mass: f64, sums: &mut [f64]) -> Result<()> {
    let largest = entries
        .clone()
        .fold(f64::NEG_INFINITY, |largest, (_, logit)| largest.max(logit));
    let total: f64 = entries.clone().map(|(_, logit)| (logit - largest).exp()).sum();
    for (id, logit) in entries {
        *sums.get_mut(id).ok_or_else(misshapen)? += mass * (logit - largest).exp() / total;
    }
    Ok(())
}

/// What the teacher said at one position.
enum Said<'a> {
    /// The logit of each outcome.
    All(&'a [f32]),
    /// The logits of some, as gaps to the largest, and the log of the mass outside them.
    Most {
        ids: &'a [u32],
        gaps: &'a [f32],
        largest: f32,
        log_tail: f32,
    },
}

/// The teacher's likeliest outcome at a position; equal ones: the lower id.
pub fn teacher_argmax(targets: &SoftTargets, position: usize) -> Option<u32> {
    match targets {
        SoftTargets::Dense { classes, logits } => argmax(logits.get(position * classes..(position + 1) * classes)?),
        SoftTargets::TopK { offsets, ids, .. } => ids.get(*offsets.get(position)? as usize).copied(),
    }
}

/// Index of the largest entry, the first of equal ones; `None` for a row without a finite one.
pub(crate) fn argmax(row: &[f32]) -> Option<u32> {
    let mut best = None;
    let mut largest = f32::NEG_INFINITY;
    for (index, value) in row.iter().enumerate() {
        if *value > largest {
            (best, largest) = (Some(index as u32), *value);
        }
    }
    best
}

fn misshapen() -> Error {
    Error::Bug("soft targets of another shape than the plan says reached the loss".into())
}
