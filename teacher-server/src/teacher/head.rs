//! The head: from features to logits, a few rows at a time, into a buffer that is used again.
//!
//! A chunk of logits is tens of megabytes for a language model. On a CPU in f32 the product is written straight into
//! the caller's buffer; elsewhere (a GPU, half precision) the logits come as a tensor and are copied.

use super::error::Result;
use candle_core::{DType, Device, Storage, Tensor};
use decant_kernels::product::{self, Matrix};
use decant_models::Linear;
use std::ops::Range;

/// A head without the columns past the last outcome, so that the padding of a vocabulary costs nothing.
pub(super) struct Head {
    /// `[outcomes, hidden]`
    weight: Tensor,
    /// `[outcomes]`
    bias: Option<Tensor>,
}

/// The rows of features that predict something, in order.
pub(super) struct Predicting<'a> {
    /// `[positions, hidden]`
    pub(super) features: &'a Tensor,
    /// Which of them.
    pub(super) rows: &'a [u32],
}

impl Head {
    /// The first `outcomes` columns of a model's head.
    pub(super) fn new(head: &Linear, outcomes: usize) -> Result<Self> {
        let cut = |tensor: &Tensor| tensor.detach().narrow(0, 0, outcomes);
        let (weight, bias) = (cut(head.weight())?, head.bias().map(cut).transpose()?);
        Ok(Self { weight, bias })
    }

    /// The number format that the model computes in.
    pub(super) fn dtype(&self) -> DType {
        self.weight.dtype()
    }

    fn device(&self) -> &Device {
        self.weight.device()
    }

    /// Puts the logits of a range of the predicting rows into `logits`, as f32: `[range, outcomes]`.
    pub(super) fn logits(&self, of: &Predicting<'_>, range: Range<usize>, logits: &mut Vec<f32>) -> Result<()> {
        let rows = Tensor::new(&of.rows[range], self.device())?;
        let features = of.features.index_select(&rows, 0)?;
        if self.device().is_cpu() && self.dtype() == DType::F32 {
            return self.multiply(&features, logits);
        }
        let mut product = features.matmul(&self.weight.t()?)?;
        if let Some(bias) = &self.bias {
            product = product.broadcast_add(bias)?;
        }
        *logits = product.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
        Ok(())
    }

    /// `features W^T + b`, in place.
    fn multiply(&self, features: &Tensor, logits: &mut Vec<f32>) -> Result<()> {
        let ((rows, hidden), (outcomes, _)) = (features.dims2()?, self.weight.dims2()?);
        logits.resize(rows * outcomes, 0.0);
        with_entries(features, |features| {
            with_entries(&self.weight, |weight| {
                let weight = Matrix::new(weight, outcomes, hidden).transpose();
                product::multiply(Matrix::new(features, rows, hidden), weight, logits, false);
            })
        })??;
        if let Some(bias) = &self.bias {
            let bias: Vec<f32> = bias.to_vec1()?;
            for row in logits.chunks_exact_mut(outcomes) {
                row.iter_mut().zip(&bias).for_each(|(logit, bias)| *logit += bias);
            }
        }
        Ok(())
    }
}

/// Hands the entries of a contiguous f32 tensor on the CPU to `read`, without a copy.
fn with_entries<T>(tensor: &Tensor, read: impl FnOnce(&[f32]) -> T) -> Result<T> {
    let (storage, layout) = tensor.storage_and_layout();
    match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(storage), Some((start, end))) => Ok(read(&storage.as_slice::<f32>()?[start..end])),
        _ => Err(
            candle_core::Error::Msg("the head's product needs contiguous tensors on the CPU".to_owned())
                .bt()
                .into(),
        ),
    }
}
