//! The model on its device: one batch in, one answer for each example out.

use super::error::Result;
use super::outcomes::Outcomes;
use super::rows::{self, Answer};
use super::work::{Content, Input, Work};
use candle_core::{DType, Device, Tensor};
use decant_models::{Batch, Mode, Model, TapSpec, Taps, TokenBatch};

/// Owns the model; lives on the teacher's thread.
pub(super) struct Runner {
    model: Box<dyn Model>,
    /// `[outcomes, hidden]`: the head without the columns past the last outcome, so that a padded vocabulary costs
    /// nothing.
    weight: Tensor,
    /// `[outcomes]`
    bias: Option<Tensor>,
    outcomes: Outcomes,
    device: Device,
}

impl Runner {
    pub(super) fn new(model: Box<dyn Model>, outcomes: Outcomes, device: Device) -> Result<Self> {
        let cut = |tensor: &Tensor| tensor.detach().narrow(0, 0, outcomes.width());
        let weight = cut(model.head().weight())?;
        let bias = model.head().bias().map(cut).transpose()?;
        Ok(Self {
            model,
            weight,
            bias,
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
        let (batch, predicting) = self.batch(&work.inputs)?;
        let features = self.model.features(&batch, Mode::Eval, &mut Taps::none())?;
        let predicting = Tensor::new(predicting, &self.device)?;
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
            |range, buffer| {
                // only what predicts goes through the head: neither padding nor the last token of an example
                let rows = features.index_select(&predicting.narrow(0, range.start, range.len())?, 0)?;
                self.logits(&rows, buffer)
            },
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
                let images = Tensor::from_vec(pixels, dims, &self.device)?.to_dtype(self.weight.dtype())?;
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

    /// Logits of some rows of features, as f32, into `buffer`.
    fn logits(&self, rows: &Tensor, buffer: &mut Vec<f32>) -> Result<()> {
        let mut logits = rows.matmul(&self.weight.t()?)?;
        if let Some(bias) = &self.bias {
            logits = logits.broadcast_add(bias)?;
        }
        *buffer = logits.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
        Ok(())
    }
}
