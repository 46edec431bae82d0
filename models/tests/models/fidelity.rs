//! SmolLM2-135M-Instruct against `transformers`, on three real passages.

use std::collections::HashMap;

use candle_core::{D, DType, Device, Tensor};
use decant_models::{Checkpoint, Mode, TextTokenizer, TokenBatch};

use crate::support::{assets, fixture, logits, values};

/// Largest absolute difference of logits, over their largest absolute value.
const TOLERANCE: f64 = 1e-3;

struct Passage {
    name: String,
    ids: Vec<u32>,
}

fn passages(reference: &HashMap<String, Tensor>) -> Vec<Passage> {
    let mut names: Vec<&str> = reference.keys().filter_map(|key| key.strip_suffix(".ids")).collect();
    names.sort_unstable();
    names
        .into_iter()
        .map(|name| Passage {
            name: name.to_owned(),
            ids: reference[&format!("{name}.ids")]
                .to_dtype(DType::U32)
                .unwrap()
                .to_vec1()
                .unwrap(),
        })
        .collect()
}

fn check_tokens(tokenizer: &TextTokenizer, passage: &Passage, reference: &HashMap<String, Tensor>) {
    let text = reference[&format!("{}.text", passage.name)].to_vec1::<u8>().unwrap();
    let text = String::from_utf8(text).unwrap();
    assert_eq!(tokenizer.encode(&text).unwrap(), passage.ids, "{}", passage.name);
    assert_eq!(tokenizer.decode(&passage.ids).unwrap(), text);
}

/// Largest absolute difference.
fn apart(found: &Tensor, truth: &Tensor) -> f64 {
    assert_eq!(found.dims(), truth.dims());
    values(found)
        .iter()
        .zip(values(truth))
        .fold(0.0, |worst, (found, truth)| f64::max(worst, (found - truth).abs()))
}

#[test]
fn smollm2_agrees_with_transformers() {
    let Some(assets) = assets("the fidelity of SmolLM2") else {
        return;
    };
    let checkpoint = Checkpoint::open(&assets.join("smollm2-135m-instruct")).unwrap();
    let reference = candle_core::safetensors::load(fixture("smollm2.safetensors"), &Device::Cpu).unwrap();
    let passages = passages(&reference);
    assert_eq!(passages.len(), 3);
    let tokenizer = checkpoint.tokenizer().unwrap().unwrap();
    let model = checkpoint.load(DType::F32, &Device::Cpu).unwrap();
    let mut same_top = 0;
    let mut positions = 0;
    for passage in &passages {
        assert!(passage.ids.len() >= 256);
        check_tokens(&tokenizer, passage, &reference);
        let of = |what: &str| &reference[&format!("{}.{what}", passage.name)];
        let found = logits(&*model, &TokenBatch::padded(&[&passage.ids]), Mode::Eval);
        let largest = found.max_keepdim(D::Minus1).unwrap();
        let powers = found.broadcast_sub(&largest).unwrap().exp().unwrap();
        let log_sums = (powers.sum_keepdim(D::Minus1).unwrap().log().unwrap() + largest).unwrap();
        let top_ids = of("top_ids").to_dtype(DType::U32).unwrap();
        let every: Vec<u32> = (0..found.dim(1).unwrap() as u32).step_by(997).collect();
        let every = found
            .index_select(&Tensor::new(every, &Device::Cpu).unwrap(), 1)
            .unwrap();
        let worst = apart(&found.gather(&top_ids, 1).unwrap(), of("top_logits"))
            .max(apart(&every, of("every_997th")))
            .max(apart(&log_sums.squeeze(1).unwrap(), of("log_sum_exp")));
        let scale = values(of("top_logits"))
            .iter()
            .chain(&values(of("every_997th")))
            .fold(0.0, |a: f64, b| a.max(b.abs()));
        let tops = values(&found.argmax(D::Minus1).unwrap());
        let true_tops = values(&top_ids.narrow(1, 0, 1).unwrap());
        let same = tops
            .iter()
            .zip(&true_tops)
            .filter(|(found, truth)| found == truth)
            .count();
        println!(
            "{}: {} positions, largest difference {worst:.1e} of a scale of {scale:.1} ({:.1e}), same top-1 at {same}",
            passage.name,
            tops.len(),
            worst / scale
        );
        assert!(worst < TOLERANCE * scale, "{}: {worst:e} of {scale}", passage.name);
        same_top += same;
        positions += tops.len();
    }
    assert_eq!(same_top, positions, "another top-1");
}
