//! Layout and number formats: a document's values depend on the document alone.

use candle_core::{DType, Device, Tensor};
use decant_models::{Batch, Document, Mode, Taps, TokenBatch};

use crate::support::{DECODERS, distance, documents, load, logits, reference};

#[test]
fn packed_and_padded_documents_are_as_if_alone() {
    for name in DECODERS {
        let (model, documents) = (load(name, DType::F32), documents(&reference(name)));
        let alone: Vec<Tensor> = documents
            .iter()
            .map(|doc| logits(&*model, &TokenBatch::padded(&[doc]), Mode::Eval))
            .collect();
        let alone = Tensor::cat(&alone, 0).unwrap();
        for (how, batch) in [
            ("padded", TokenBatch::padded(&documents)),
            ("packed in one row", TokenBatch::packed(&documents, 40).unwrap()),
            ("packed in two rows", TokenBatch::packed(&documents, 20).unwrap()),
        ] {
            let apart = distance(&logits(&*model, &batch, Mode::Eval), &alone);
            assert!(apart < 2e-6, "{name}: {how} differs by {apart:e}");
        }
    }
}

#[test]
fn padding_on_both_sides_changes_nothing_and_stays_finite() {
    for dtype in [DType::F32, DType::F64] {
        let model = load("mistral", dtype);
        let doc = vec![5, 9, 33, 2, 60, 11];
        let alone = logits(&*model, &TokenBatch::padded(&[&doc]), Mode::Eval);
        let mut ids = vec![0; 20];
        ids[13..19].copy_from_slice(&doc);
        let documents = vec![Document {
            row: 1,
            start: 3,
            len: 6,
        }];
        let batch = TokenBatch {
            rows: 2,
            width: 10,
            ids,
            documents,
        };
        let apart = distance(&logits(&*model, &batch, Mode::Eval), &alone);
        assert!(apart < 2e-6, "{dtype:?}: {apart:e}");
        let all = model
            .features(&Batch::Tokens(batch), Mode::Eval, &mut Taps::none())
            .unwrap();
        let sum = all
            .to_dtype(DType::F64)
            .unwrap()
            .sum_all()
            .unwrap()
            .to_scalar::<f64>()
            .unwrap();
        assert!(sum.is_finite(), "{dtype:?}");
    }
}

#[test]
fn half_precision_is_near_full_precision() {
    for name in DECODERS {
        let batch = TokenBatch::padded(&documents(&reference(name)));
        let full = logits(&*load(name, DType::F32), &batch, Mode::Eval);
        // Their spacings at 1 are 2^-10 and 2^-7; errors of some layers add up.
        for (dtype, tolerance) in [(DType::F16, 1e-2), (DType::BF16, 8e-2)] {
            let found = logits(&*load(name, dtype), &batch, Mode::Eval);
            assert_eq!(found.dtype(), dtype);
            let apart = distance(&found, &full);
            assert!(apart < tolerance, "{name} {dtype:?}: {apart:e}");
        }
    }
}

#[test]
fn batches_that_do_not_fit_are_refused() {
    let model = load("llama", DType::F32);
    let refusal = |batch: Batch| {
        model
            .features(&batch, Mode::Eval, &mut Taps::none())
            .unwrap_err()
            .to_string()
    };
    assert!(refusal(Batch::Tokens(TokenBatch::padded(&[[61]]))).contains("token id 61"));
    assert!(refusal(Batch::Tokens(TokenBatch::padded(&[[1; 65]]))).contains("65 tokens, longer than the 64"));
    let images = Tensor::zeros((1, 3, 7, 7), DType::F32, &Device::Cpu).unwrap();
    assert!(refusal(Batch::Images(images.clone())).contains("images was given to a language model"));
    let resnet = load("resnet", DType::F32);
    let small = Batch::Images(images.narrow(2, 0, 6).unwrap());
    let message = resnet
        .features(&small, Mode::Eval, &mut Taps::none())
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("[1, 3, 6, 7]") && message.contains("[n, 3, 7, 7]"),
        "{message}"
    );
    let one = Batch::Images(images.narrow(0, 0, 1).unwrap());
    assert!(
        resnet.features(&one, Mode::Train, &mut Taps::none()).is_ok(),
        "49 positions are enough for batch norm"
    );
}
