//! Values, gradients and taps of every kind of model against PyTorch.
//!
//! In f32 a model runs its fused kernels, in f64 candle's plain operations: both are held to the same reference, whose
//! own rounding (f32 in the norms of `transformers`, and in the file) is some 1e-7.

use std::collections::HashMap;

use candle_core::{DType, Tensor};
use decant_models::{Batch, Mode, Model, Taps, TokenBatch};

use crate::support::{DECODERS, distance, documents, load, real_rows, reference};

/// Measured: at most 1.8e-6 in f32, 8.2e-7 in f64.
const TOLERANCE: f64 = 1e-5;

/// Checks everything that the reference holds for a model; `rows` picks from features what the logits are for.
fn check(
    name: &str,
    model: &dyn Model,
    batch: &Batch,
    reference: &HashMap<String, Tensor>,
    rows: impl Fn(&Tensor) -> Tensor,
) -> f64 {
    let dtype = model.head().weight().dtype();
    let names: Vec<&str> = reference.keys().filter_map(|key| key.strip_prefix("tap.")).collect();
    let mut taps = Taps::of(&names);
    let features = model.features(batch, Mode::Train, &mut taps).unwrap();
    let logits = model.head().forward(&rows(&features)).unwrap();
    let loss = (&logits * reference["grad_logits"].to_dtype(dtype).unwrap())
        .unwrap()
        .sum_all()
        .unwrap();
    let gradients = loss.backward().unwrap();

    let mut worst = ("logits".to_owned(), distance(&logits, &reference["logits"]));
    let mut compare = |what: String, found: &Tensor, truth: &Tensor| {
        let apart = distance(found, truth);
        if apart > worst.1 {
            worst = (what, apart);
        }
    };
    for tap in names {
        let truth = &reference[&format!("tap.{tap}")];
        let mut found = taps
            .take(tap)
            .unwrap_or_else(|| panic!("{name}: tap {tap} was not filled"));
        if let Batch::Tokens(batch) = batch {
            // The reference is for the first document, alone.
            let len = batch.documents[0].len;
            found = match found.rank() {
                2 => found.narrow(0, 0, len).unwrap(),
                _ => found
                    .get(0)
                    .unwrap()
                    .narrow(1, 0, len)
                    .unwrap()
                    .narrow(2, 0, len)
                    .unwrap(),
            };
        }
        compare(format!("tap {tap}"), &found, truth);
    }
    let parameters = model.parameters();
    for (parameter, var) in parameters.trained() {
        let gradient = gradients
            .get(var)
            .unwrap_or_else(|| panic!("{name}: no gradient reaches {parameter}"));
        compare(
            format!("gradient of {parameter}"),
            gradient,
            &reference[&format!("grad.{parameter}")],
        );
    }
    for (buffer, var) in parameters.buffers() {
        compare(buffer.clone(), var.as_tensor(), &reference[&format!("buffer.{buffer}")]);
    }
    let references = reference
        .keys()
        .filter(|key| key.starts_with("grad.") || key.starts_with("buffer."))
        .count();
    assert_eq!(
        references,
        parameters.trained().len() + parameters.buffers().len(),
        "{name}"
    );
    println!(
        "{name} {dtype:?}: largest difference over largest value {:.1e} ({})",
        worst.1, worst.0
    );
    assert!(
        worst.1 < TOLERANCE,
        "{name} {dtype:?}: {} differs by {:e}",
        worst.0,
        worst.1
    );
    worst.1
}

#[test]
fn decoders_agree_with_transformers() {
    for name in DECODERS {
        for dtype in [DType::F32, DType::F64] {
            let reference = reference(name);
            let documents = documents(&reference);
            for batch in [
                TokenBatch::padded(&documents),
                TokenBatch::packed(&documents, 18).unwrap(),
            ] {
                let rows = |features: &Tensor| real_rows(features, &batch);
                check(
                    name,
                    &*load(name, dtype),
                    &Batch::Tokens(batch.clone()),
                    &reference,
                    rows,
                );
            }
        }
    }
}

#[test]
fn image_models_agree_with_pytorch() {
    for name in ["mlp", "resnet"] {
        for dtype in [DType::F32, DType::F64] {
            let reference = reference(name);
            let model = load(name, dtype);
            let batch = Batch::Images(reference["images"].clone());
            check(name, &*model, &batch, &reference, Tensor::clone);
            // By the running statistics that the training step above left.
            let features = model.features(&batch, Mode::Eval, &mut Taps::none()).unwrap();
            let logits = model.head().forward(&features).unwrap();
            let apart = distance(&logits, &reference["eval_logits"]);
            assert!(
                apart < TOLERANCE,
                "{name} {dtype:?}: logits in evaluation differ by {apart:e}"
            );
        }
    }
}

#[test]
fn every_tap_can_be_read_and_unknown_ones_are_refused() {
    for name in DECODERS.into_iter().chain(["mlp", "resnet"]) {
        let (model, reference) = (load(name, DType::F32), reference(name));
        let batch = match reference.get("images") {
            Some(images) => Batch::Images(images.clone()),
            None => Batch::Tokens(TokenBatch::padded(&documents(&reference))),
        };
        let names: Vec<String> = model.taps().into_iter().map(|tap| tap.name).collect();
        assert!(!names.is_empty());
        let mut taps = Taps::of(&names);
        model.features(&batch, Mode::Eval, &mut taps).unwrap();
        for tap in &names {
            let tensor = taps.take(tap).unwrap_or_else(|| panic!("{name}: tap {tap} is empty"));
            assert!(tensor.elem_count() > 0 && taps.take(tap).is_none());
            if tap.ends_with(".attention") {
                let sums = tensor.sum(3).unwrap();
                assert!(
                    distance(&sums, &sums.ones_like().unwrap()) < 1e-6,
                    "{name}: {tap} does not sum to 1"
                );
            }
        }
        let message = model
            .features(&batch, Mode::Eval, &mut Taps::of(&["logits"]))
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("no tap `logits`") && message.contains(&names[0]),
            "{message}"
        );
    }
}

#[test]
fn evaluation_records_no_graph() {
    for name in ["llama", "resnet"] {
        let (model, reference) = (load(name, DType::F32), reference(name));
        let batch = match reference.get("images") {
            Some(images) => Batch::Images(images.clone()),
            None => Batch::Tokens(TokenBatch::padded(&documents(&reference))),
        };
        let features = model.features(&batch, Mode::Eval, &mut Taps::none()).unwrap();
        assert!(!features.track_op(), "{name}");
        assert!(
            model
                .features(&batch, Mode::Train, &mut Taps::none())
                .unwrap()
                .track_op(),
            "{name}"
        );
    }
}
