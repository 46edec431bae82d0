//! Plain slices of candle tensors.

use candle_core::{CpuStorage, Storage, Tensor};

use crate::{Error, Result};

/// Lends the values of an `f32` tensor on the CPU, row by row.
pub(crate) fn read<R>(tensor: &Tensor, body: impl FnOnce(&[f32]) -> Result<R>) -> Result<R> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cpu(CpuStorage::F32(values)) = &*storage else {
        return Err(Error::Unsupported("training runs in f32 on the CPU".into()));
    };
    let start = layout.start_offset();
    let values = values.get(start..start + layout.shape().elem_count());
    body(values.ok_or_else(|| Error::Bug("a tensor reaches beyond its storage".into()))?)
}
