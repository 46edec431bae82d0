//! One optimizer step: the loss of all its portions, their gradients, and the update.

use candle_core::Tensor;
use decant_models::{Mode, Model, Taps};

use crate::examples::Example;
use crate::fit::Outcomes;
use crate::gradients::Gradients;
use crate::head::{Chunks, HeadGradients, HeadView, Loss, Sums};
use crate::loader::Step;
use crate::objective::Objective;
use crate::tensor::read;
use crate::{Error, Result};

/// The loss of a step and its terms, each the mean over the positions where it is defined.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Losses {
    /// What is minimised: the weighted sum.
    pub total: f64,
    /// `T^2 KL(teacher || student)`; 0 where it is defined nowhere.
    pub soft: f64,
    /// Cross-entropy with the hard targets; 0 where it is defined nowhere.
    pub hard: f64,
}

/// What a step needs besides the model and its examples.
pub struct Learner<'a> {
    /// The student.
    pub model: &'a dyn Model,
    /// What it is asked to match.
    pub objective: &'a Objective,
    /// The outcomes of its softmax.
    pub outcomes: &'a Outcomes,
}

impl Learner<'_> {
    /// The loss of a step; its gradient ends up in `gradients`.
    ///
    /// Each term is divided by the number of positions where it is defined in the whole step, so that portions make no
    /// difference but for rounding.
    ///
    /// # Errors
    /// Examples that the model cannot read, or numbers that are not `f32` on the CPU.
    pub fn gradients(
        &self,
        step: &Step,
        examples: &[Example],
        gradients: &mut Gradients,
        chunks: &mut Chunks,
    ) -> Result<Losses> {
        let share = |weight: f64, count: usize| {
            if count == 0 {
                0.0
            } else {
                (weight / count as f64) as f32
            }
        };
        let loss = Loss {
            objective: self.objective,
            soft_scale: share(self.objective.soft_weight, step.soft),
            hard_scale: share(self.objective.hard_weight, step.hard),
        };
        gradients.clear();
        let mut sums = Sums::default();
        for portion in &step.portions {
            let portion_sums = self.portion(portion, examples, loss, gradients, chunks)?;
            sums.soft += portion_sums.soft;
            sums.hard += portion_sums.hard;
        }
        gradients.settle();
        let mean = |sum: f64, count: usize| if count == 0 { 0.0 } else { sum / count as f64 };
        let (soft, hard) = (mean(sums.soft, step.soft), mean(sums.hard, step.hard));
        let total = self.objective.soft_weight * soft + self.objective.hard_weight * hard;
        Ok(Losses { total, soft, hard })
    }

    fn portion(
        &self,
        portion: &crate::batch::MicroBatch,
        examples: &[Example],
        loss: Loss<'_>,
        gradients: &mut Gradients,
        chunks: &mut Chunks,
    ) -> Result<Sums> {
        let features = self.model.features(&portion.batch, Mode::Train, &mut Taps::none())?;
        let (positions, width) = features.dims2()?;
        let mut of_features = vec![0.0; positions * width];
        let head = self.model.head();
        let (weight_name, bias_name) = self.head_names()?;
        let mut of_weight = gradients.take(&weight_name)?;
        let mut of_bias = bias_name.as_ref().map(|name| gradients.take(name)).transpose()?;
        let sums = with_head(self.model, self.outcomes, |view| {
            read(&features, |features| {
                let into = HeadGradients {
                    weight: &mut of_weight,
                    bias: of_bias.as_deref_mut(),
                    features: &mut of_features,
                };
                chunks.learn(view, features, examples, &portion.targets, loss, into)
            })
        });
        gradients.put(&weight_name, of_weight)?;
        if let (Some(name), Some(values)) = (&bias_name, of_bias) {
            gradients.put(name, values)?;
        }
        // The gradient of this sum with respect to the features is what the head found.
        let of_features = Tensor::from_vec(of_features, (positions, width), head.weight().device())?;
        let store = (features * of_features)?.sum_all()?.backward()?;
        gradients.add(self.model.parameters(), &store)?;
        sums
    }

    /// The names of the head's weight and bias among the parameters; a tied weight has the embedding's.
    fn head_names(&self) -> Result<(String, Option<String>)> {
        let name = |tensor: &Tensor| {
            let mut parameters = self.model.parameters().trained().iter();
            let found = parameters.find(|(_, var)| var.as_tensor().id() == tensor.id());
            let name = found.map(|(name, _)| name.clone());
            name.ok_or_else(|| Error::Bug("the head is not among the model's parameters".into()))
        };
        let head = self.model.head();
        Ok((name(head.weight())?, head.bias().map(name).transpose()?))
    }
}

/// Lends a model's head as plain slices.
pub(crate) fn with_head<R>(
    model: &dyn Model,
    outcomes: &Outcomes,
    body: impl FnOnce(HeadView<'_>) -> Result<R>,
) -> Result<R> {
    let head = model.head();
    let width = head.weight().dim(1)?;
    read(head.weight(), |weight| match head.bias() {
        Some(bias) => read(bias, |bias| {
            body(HeadView {
                weight,
                bias: Some(bias),
                outcomes,
                width,
            })
        }),
        None => body(HeadView {
            weight,
            bias: None,
            outcomes,
            width,
        }),
    })
}
