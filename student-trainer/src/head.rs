//! The student's head and the loss over its logits, in chunks of rows, so that the logits of a batch never exist at
//! once: over a vocabulary of 49,152, 2,048 positions of them would take 400 MB, and their gradient as much.

use decant_kernels::loss::cross_entropy;
use decant_kernels::product::{Matrix, multiply};
use rayon::prelude::*;

use crate::batch::Target;
use crate::examples::Example;
use crate::fit::Outcomes;
use crate::objective::Objective;
use crate::{Error, Result};

/// Logits of a chunk: 32 MiB of them, which is where products stop growing faster.
const CHUNK: usize = 8 << 20;

/// The head of a student over plain slices.
#[derive(Clone, Copy)]
pub struct HeadView<'a> {
    /// `[outputs, width]`.
    pub weight: &'a [f32],
    /// `[outputs]`.
    pub bias: Option<&'a [f32]>,
    /// Which outputs are outcomes.
    pub outcomes: &'a Outcomes,
    /// Length of a feature row.
    pub width: usize,
}

impl HeadView<'_> {
    fn outputs(&self) -> usize {
        self.weight.len().checked_div(self.width).unwrap_or(0)
    }
}

/// Where the gradients of a head go; all are added to.
pub struct HeadGradients<'a> {
    /// `[outputs, width]`.
    pub weight: &'a mut [f32],
    /// `[outputs]`.
    pub bias: Option<&'a mut [f32]>,
    /// `[positions, width]`: of the features.
    pub features: &'a mut [f32],
}

/// The loss of a step: what is matched, and what each term is multiplied with.
#[derive(Debug, Clone, Copy)]
pub struct Loss<'a> {
    /// Temperature and tail.
    pub objective: &'a Objective,
    /// Weight over count, of the soft term.
    pub soft_scale: f32,
    /// Weight over count, of the hard term.
    pub hard_scale: f32,
}

/// Sums over positions, in nats, without weights.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sums {
    /// `T^2 KL(teacher || student)`.
    pub soft: f64,
    /// Cross-entropy with the hard target.
    pub hard: f64,
}

/// Space of one thread.
#[derive(Debug, Default)]
pub struct Space {
    /// A gradient that nobody asks for.
    pub unused: Vec<f32>,
    /// The teacher's logits of one position.
    pub gathered: Vec<f32>,
}

/// Buffers that are used again from chunk to chunk.
#[derive(Debug, Default)]
pub struct Chunks {
    rows: Vec<f32>,
    logits: Vec<f32>,
    gradient: Vec<f32>,
    row_gradient: Vec<f32>,
}

impl Chunks {
    /// The loss of some positions, and its gradients.
    ///
    /// # Errors
    /// Targets of another shape than the plan says.
    pub fn learn(
        &mut self,
        head: HeadView<'_>,
        features: &[f32],
        examples: &[Example],
        targets: &[Target],
        loss: Loss<'_>,
        mut gradients: HeadGradients<'_>,
    ) -> Result<Sums> {
        let (outputs, width, outcomes) = (head.outputs(), head.width, head.outcomes.width);
        let mut sums = Sums::default();
        for targets in targets.chunks(rows_of_a_chunk(outputs)) {
            self.forward(head, features, targets)?;
            self.gradient.clear();
            self.gradient.resize(targets.len() * outputs, 0.0);
            let rows = self
                .logits
                .par_chunks(outputs)
                .zip(self.gradient.par_chunks_mut(outputs))
                .zip(targets);
            let losses: Vec<Result<Sums>> = rows
                .map_init(Vec::new, |gathered, ((logits, gradient), target)| {
                    let (logits, gradient) = (&logits[..outcomes], &mut gradient[..outcomes]);
                    let mut sums = Sums::default();
                    if target.soft {
                        let soft = examples
                            .get(target.example as usize)
                            .and_then(|example| example.targets.as_ref());
                        let soft = soft.ok_or_else(|| Error::Bug("a soft target went missing".into()))?;
                        let position = target.position as usize;
                        sums.soft =
                            loss.objective
                                .divergence(logits, soft, position, loss.soft_scale, gradient, gathered)?;
                    }
                    if let Some(label) = target.hard {
                        sums.hard = cross_entropy(logits, label as usize, loss.hard_scale, gradient);
                    }
                    Ok(sums)
                })
                .collect();
            for loss in losses {
                let loss = loss?;
                sums.soft += loss.soft;
                sums.hard += loss.hard;
            }

            let gradient = Matrix::new(&self.gradient, targets.len(), outputs);
            self.row_gradient.resize(targets.len() * width, 0.0);
            multiply(
                gradient,
                Matrix::new(head.weight, outputs, width),
                &mut self.row_gradient,
                false,
            );
            for (row, target) in self.row_gradient.chunks_exact(width).zip(targets) {
                let place = &mut gradients.features[target.feature as usize * width..][..width];
                place.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
            }
            multiply(
                gradient.transpose(),
                Matrix::new(&self.rows, targets.len(), width),
                gradients.weight,
                true,
            );
            if let Some(bias) = &mut gradients.bias {
                for row in self.gradient.chunks_exact(outputs) {
                    bias.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
                }
            }
        }
        Ok(sums)
    }

    /// Hands the logits of each position, over the outcomes alone, to `judge`, with space that it may use as it likes;
    /// its results in the order of positions.
    ///
    /// # Errors
    /// Those of `judge`.
    pub fn judge<T: Send>(
        &mut self,
        head: HeadView<'_>,
        features: &[f32],
        targets: &[Target],
        judge: impl Fn(&[f32], &Target, &mut Space) -> Result<T> + Sync,
    ) -> Result<Vec<T>> {
        let mut judged = Vec::with_capacity(targets.len());
        for targets in targets.chunks(rows_of_a_chunk(head.outputs())) {
            self.forward(head, features, targets)?;
            let rows = self.logits.par_chunks(head.outputs()).zip(targets);
            let results: Vec<Result<T>> = rows
                .map_init(Space::default, |space, (logits, target)| {
                    judge(&logits[..head.outcomes.width], target, space)
                })
                .collect();
            for result in results {
                judged.push(result?);
            }
        }
        Ok(judged)
    }

    /// Gathers the feature rows of some positions and computes their logits; ids that the tokenizer does not have
    /// become minus infinity.
    fn forward(&mut self, head: HeadView<'_>, features: &[f32], targets: &[Target]) -> Result<()> {
        let (outputs, width) = (head.outputs(), head.width);
        self.rows.clear();
        for target in targets {
            let start = target.feature as usize * width;
            let row = features.get(start..start + width);
            self.rows
                .extend_from_slice(row.ok_or_else(|| Error::Bug("a position without a feature row".into()))?);
        }
        self.logits.resize(targets.len() * outputs, 0.0);
        let rows = Matrix::new(&self.rows, targets.len(), width);
        multiply(
            rows,
            Matrix::new(head.weight, outputs, width).transpose(),
            &mut self.logits,
            false,
        );
        if head.bias.is_some() || !head.outcomes.holes.is_empty() {
            self.logits.par_chunks_mut(outputs).for_each(|row| {
                if let Some(bias) = head.bias {
                    row.iter_mut().zip(bias).for_each(|(logit, bias)| *logit += bias);
                }
                for hole in &head.outcomes.holes {
                    row[*hole as usize] = f32::NEG_INFINITY;
                }
            });
        }
        Ok(())
    }
}

fn rows_of_a_chunk(outputs: usize) -> usize {
    (CHUNK / outputs.max(1)).clamp(32, 4096)
}
