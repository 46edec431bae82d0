//! The model on its device: one batch in, one answer for each example out.

use super::error::Result;
use super::head::{Head, Predicting};
use super::outcomes::Outcomes;
use super::rows::{self, Answer};
use super::work::{Content, Input, Work};
use candle_core::{Device, Tensor};
use decant_models::{Batch, Mode, Model, TapSpec, Taps, TokenBatch};

/// Owns the model; lives on the teacher's thread.
pub(super) struct Runner {
    model: Box<dyn Model>,
    head: Head,
    outcomes: Outcomes,
    device: Device,
}

impl Runner {
    pub(super) fn new(model: Box<dyn Model>, outcomes: Outcomes, device: Device) -> Result<Self> {
        let head = Head::new(model.head(), outcomes.width())?;
        Ok(Self {
            model,
            head,
            outcomes,
            device,
        })
    }

    /// Where the model can be read.
    pub(super) fn taps(&self) -> Vec<TapSpec> {
        self.model.taps()
    }

    /// Runs one batch. The outer error is the batch's, an inner one that of its example alone.
    pub(super) fn run(&self, work: &Work) -> Result<Vec<Result<Answer>>> {
        // only what predicts goes through the head: neither padding nor the last token of an example
        let (batch, rows) = self.batch(&work.inputs)?;
        let features = self.model.features(&batch, Mode::Eval, &mut Taps::none())?;
        let predicting = Predicting {
            features: &features,
            rows: &rows,
        };
        let examples: Vec<(&str, usize)> = work
            .inputs
            .iter()
            .map(|input| (input.id.as_str(), input.content.positions()))
            .collect();
        rows::reduce(
            &examples,
            &self.outcomes,
            &work.codec,
            work.chunk_rows,
            |range, logits| self.head.logits(&predicting, range, logits),
        )
    }

    /// The batch, and which rows of its features predict something.
    fn batch(&self, inputs: &[Input]) -> Result<(Batch, Vec<u32>)> {
        let (mut tokens, mut pixels, mut images) = (Vec::new(), Vec::new(), 0);
        for input in inputs {
            match &input.content {
                Content::Tokens(ids) => tokens.push(ids),
                Content::Image(values) => {
                    pixels.extend_from_slice(values);
                    images += 1;
                }
            }
        }
        match self.model.config().image_shape() {
            Some(shape) if tokens.is_empty() => {
                let dims = (images, shape.channels, shape.height, shape.width);
                let images = Tensor::from_vec(pixels, dims, &self.device)?.to_dtype(self.head.dtype())?;
                Ok((Batch::Images(images), (0..dims.0 as u32).collect()))
            }
            None if images == 0 => {
                let batch = TokenBatch::padded(&tokens);
                let predicting = batch.predicting();
                Ok((Batch::Tokens(batch), predicting))
            }
            _ => Err(decant_models::Error::Batch("of another kind than the model reads".to_owned()).into()),
        }
    }
}
