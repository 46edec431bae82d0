//! The operations that models are made of, each with a gradient.
//!
//! On a CPU in f32 they run the fused kernels of `decant_kernels::layers`; elsewhere (a GPU, half precision) they are
//! candle's plain operations. A kernel becomes a node of candle's graph through `CustomOp`, whose `bwd` gives its
//! gradient: the operations that candle itself fuses have none.

mod attention;
mod convolution;
mod linear;
mod norm;
mod swiglu;

pub(crate) use attention::{Rotation, Spans, attention_softmax, rotate};
pub(crate) use convolution::{Window, convolution};
pub(crate) use linear::linear;
pub(crate) use norm::{batch_norm, rms_norm};
pub(crate) use swiglu::swiglu;

use candle_core::{CpuStorage, DType, Layout, Result, Shape, Storage, Tensor};

/// Whether the fused kernels can run on it.
fn fused(x: &Tensor) -> bool {
    x.device().is_cpu() && x.dtype() == DType::F32
}

/// `max(x, 0)`, with gradient 0 at 0 as PyTorch has it; candle's own has 1 there.
pub(crate) fn relu(x: &Tensor) -> Result<Tensor> {
    if !x.track_op() {
        return x.relu();
    }
    x.mul(&x.detach().gt(0.0)?.to_dtype(x.dtype())?)
}

/// The entries of a contiguous f32 storage.
fn entries<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => candle_core::bail!("a fused operation was given a tensor that is not contiguous"),
    }
}

/// What a `cpu_fwd` gives back.
fn output(values: Vec<f32>, shape: impl Into<Shape>) -> (CpuStorage, Shape) {
    (CpuStorage::F32(values), shape.into())
}

/// Hands the entries of contiguous CPU tensors to `read`: how a `bwd` reaches its kernel.
fn with_entries<const N: usize, T>(tensors: [&Tensor; N], read: impl FnOnce([&[f32]; N]) -> T) -> Result<T> {
    let tensors = tensors.map(Tensor::contiguous);
    let mut contiguous = Vec::with_capacity(N);
    for tensor in tensors {
        contiguous.push(tensor?);
    }
    let guards: Vec<_> = contiguous.iter().map(Tensor::storage_and_layout).collect();
    let mut slices = [&[][..]; N];
    for (slice, (storage, layout)) in slices.iter_mut().zip(&guards) {
        *slice = match &**storage {
            Storage::Cpu(storage) => entries(storage, layout)?,
            _ => candle_core::bail!("a fused operation was given a tensor that is not on the CPU"),
        };
    }
    Ok(read(slices))
}

/// A tensor over `values`, shaped as `like`.
fn tensor(values: Vec<f32>, like: &Tensor) -> Result<Tensor> {
    Tensor::from_vec(values, like.shape(), like.device())
}
