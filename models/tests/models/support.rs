//! Fixtures, real models, and how far two tensors are apart.

use std::collections::HashMap;
use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};
use decant_models::{Batch, Checkpoint, Mode, Model, Taps, TokenBatch};

/// The language models among the fixtures.
pub(crate) const DECODERS: [&str; 4] = ["llama", "llama-wide-heads", "mistral", "qwen2"];

pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

pub(crate) fn load(name: &str, dtype: DType) -> Box<dyn Model> {
    Checkpoint::open(&fixture(name))
        .unwrap()
        .load(dtype, &Device::Cpu)
        .unwrap()
}

/// What PyTorch computed for a fixture.
pub(crate) fn reference(name: &str) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(fixture(name).join("reference.safetensors"), &Device::Cpu).unwrap()
}

/// The documents of a decoder's reference.
pub(crate) fn documents(reference: &HashMap<String, Tensor>) -> Vec<Vec<u32>> {
    let numbers = |key: &str| reference[key].to_dtype(DType::U32).unwrap().to_vec1::<u32>().unwrap();
    let mut ids = numbers("ids").into_iter();
    numbers("lengths")
        .iter()
        .map(|&length| ids.by_ref().take(length as usize).collect())
        .collect()
}

/// Rows of real positions, in the order of documents.
pub(crate) fn real_rows(features: &Tensor, batch: &TokenBatch) -> Tensor {
    let rows: Vec<u32> = batch
        .documents
        .iter()
        .flat_map(|doc| (0..doc.len).map(|offset| (doc.row * batch.width + doc.start + offset) as u32))
        .collect();
    let count = rows.len();
    features
        .index_select(&Tensor::from_vec(rows, count, &Device::Cpu).unwrap(), 0)
        .unwrap()
}

/// Logits of every real position.
pub(crate) fn logits(model: &dyn Model, batch: &TokenBatch, mode: Mode) -> Tensor {
    let features = model
        .features(&Batch::Tokens(batch.clone()), mode, &mut Taps::none())
        .unwrap();
    model.head().forward(&real_rows(&features, batch)).unwrap()
}

pub(crate) fn values(tensor: &Tensor) -> Vec<f64> {
    tensor
        .to_dtype(DType::F64)
        .unwrap()
        .flatten_all()
        .unwrap()
        .to_vec1()
        .unwrap()
}

/// Largest difference over largest value.
pub(crate) fn distance(found: &Tensor, truth: &Tensor) -> f64 {
    assert_eq!(found.dims(), truth.dims());
    let (found, truth) = (values(found), values(truth));
    let largest = truth.iter().fold(0.0f64, |a, b| a.max(b.abs()));
    let worst = found.iter().zip(&truth).fold(0.0f64, |a, (f, t)| a.max((f - t).abs()));
    assert!(found.iter().all(|value| value.is_finite()), "not finite");
    worst / largest
}

/// A folder of real models and data, or `None` with a word about what is skipped.
pub(crate) fn assets(what: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("DECANT_ASSETS").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: {what} needs DECANT_ASSETS, a folder that `assets/fetch` filled");
    }
    folder
}
