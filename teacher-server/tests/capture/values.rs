//! What is stored is what the teacher says.

use crate::fixtures::{self, HOLE, IDS, documents, full_logits, images, rows, train};
use candle_core::{DType, Device};
use decant_data::{Codec, Dataset, Row, SoftTargets, Store, Values};
use decant_models::Checkpoint;
use std::path::Path;
use teacher_server::capture::{self, CancelFlag, Start};
use teacher_server::planning::{CodecKind, PlanRequest};
use teacher_server::teacher::{Profile, Teacher};

/// Plans, works and seals.
fn capture(request: &PlanRequest, model: &Path, store: &Store) -> Dataset {
    let profile = Profile::open(model, "f32", "cpu").unwrap();
    let dataset = fixtures::plan(request, &profile, store);
    let teacher = Teacher::load(profile).unwrap();
    teacher.probe().unwrap();
    let worked = capture::run_all(&teacher, &dataset, Start::default(), &CancelFlag::new(), &mut |_| {}).unwrap();
    assert_eq!(worked.done.positions, dataset.plan().positions());
    decant_data::seal(store, &mut ()).unwrap();
    dataset
}

/// The softmax of logits at a temperature in f64, by its definition (Hinton et al. 2015, equation 1).
fn log_softmax(logits: &[f64], temperature: f64) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logits.iter().map(|z| ((z - largest) / temperature).exp()).sum();
    logits.iter().map(|z| (z - largest) / temperature - sum.ln()).collect()
}

#[test]
fn top_k_rows_agree_with_the_full_logits_in_f64() {
    let dir = tempfile::tempdir().unwrap();
    let model = fixtures::decoder(dir.path(), 1);
    let input = dir.path().join("in.jsonl");
    documents(&input, 12);
    let store = Store::open("memory://top-k-rows").unwrap();
    let request = PlanRequest {
        codec: Some(CodecKind::TopK),
        top_k: 5,
        temperatures: vec![1.0, 2.0],
        values: Some(Values::F32),
        examples_per_shard: Some(5),
        chunk_rows: 7,
        ..PlanRequest::new(train(&input))
    };
    let dataset = capture(&request, &model, &store);
    assert_eq!(dataset.plan().shards.len(), 3);
    assert_eq!(
        (dataset.plan().spec.outcomes, dataset.plan().spec.holes.as_slice()),
        (IDS, &[HOLE][..])
    );

    let direct = Checkpoint::open(&model)
        .unwrap()
        .load(DType::F32, &Device::Cpu)
        .unwrap();
    let captured = rows(&store, "train");
    assert_eq!(captured.len(), 12);
    for Row { example, targets, .. } in &captured {
        let SoftTargets::TopK {
            offsets,
            ids,
            gaps,
            largest,
            log_tails,
        } = targets
        else {
            panic!("{targets:?}")
        };
        for (position, logits) in full_logits(direct.as_ref(), example.tokens()).iter().enumerate() {
            let mut logits: Vec<f64> = logits[..IDS as usize].iter().map(|z| f64::from(*z)).collect();
            logits[HOLE as usize] = f64::NEG_INFINITY;
            let mut order: Vec<u32> = (0..IDS).collect();
            order.sort_by(|a, b| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b)));
            let entries = offsets[position] as usize..offsets[position + 1] as usize;
            assert_eq!(ids[entries.clone()], order[..5], "{} {position}", example.id);
            for (id, gap) in ids[entries.clone()].iter().zip(&gaps[entries]) {
                let logit = f64::from(largest[position] - gap);
                assert!(
                    (logit - logits[*id as usize]).abs() < 2e-6,
                    "{logit} {}",
                    logits[*id as usize]
                );
            }
            for (tails, temperature) in log_tails.iter().zip([1.0, 2.0]) {
                let log_probabilities = log_softmax(&logits, temperature);
                let outside: f64 = order[5..].iter().map(|id| log_probabilities[*id as usize].exp()).sum();
                assert!(
                    (f64::from(tails[position]) - outside.ln()).abs() < 2e-6,
                    "{} {}",
                    tails[position],
                    outside.ln()
                );
            }
        }
    }
}

#[test]
fn the_mean_entropy_is_of_the_whole_distribution() {
    let dir = tempfile::tempdir().unwrap();
    let model = fixtures::decoder(dir.path(), 1);
    let input = dir.path().join("in.jsonl");
    documents(&input, 3);
    let store = Store::open("memory://entropy").unwrap();
    capture(
        &PlanRequest {
            top_k: 2,
            ..PlanRequest::new(train(&input))
        },
        &model,
        &store,
    );
    let direct = Checkpoint::open(&model)
        .unwrap()
        .load(DType::F32, &Device::Cpu)
        .unwrap();
    for row in rows(&store, "train") {
        let entropies: Vec<f64> = full_logits(direct.as_ref(), row.example.tokens())
            .iter()
            .map(|logits| {
                let kept = (0..IDS)
                    .filter(|id| *id != HOLE)
                    .map(|id| f64::from(logits[id as usize]))
                    .collect::<Vec<_>>();
                log_softmax(&kept, 1.0).iter().map(|log_p| -log_p.exp() * log_p).sum()
            })
            .collect();
        let mean = entropies.iter().sum::<f64>() / entropies.len() as f64;
        assert!((f64::from(row.mean_entropy.unwrap()) - mean).abs() < 1e-5);
    }
}

#[test]
fn ids_without_a_token_are_outside_the_softmax() {
    let dir = tempfile::tempdir().unwrap();
    let model = fixtures::decoder(dir.path(), 2);
    let input = dir.path().join("in.jsonl");
    documents(&input, 4);

    let store = Store::open("memory://holes-top-k").unwrap();
    let request = PlanRequest {
        top_k: 1000,
        values: Some(Values::F32),
        ..PlanRequest::new(train(&input))
    };
    capture(&request, &model, &store);
    for row in rows(&store, "train") {
        let SoftTargets::TopK {
            offsets,
            ids,
            log_tails,
            ..
        } = row.targets
        else {
            panic!()
        };
        assert!(
            offsets.windows(2).all(|pair| pair[1] - pair[0] == IDS - 1),
            "every token is kept"
        );
        assert!(ids.iter().all(|id| *id < IDS && *id != HOLE));
        assert!(
            log_tails[0].iter().all(|tail| *tail == f32::NEG_INFINITY),
            "nothing is outside"
        );
    }

    let store = Store::open("memory://holes-dense").unwrap();
    let request = PlanRequest {
        codec: Some(CodecKind::Dense),
        ..PlanRequest::new(train(&input))
    };
    capture(&request, &model, &store);
    for row in rows(&store, "train") {
        let SoftTargets::Dense { classes, logits } = row.targets else {
            panic!()
        };
        assert_eq!(classes, IDS as usize);
        for logits in logits.chunks(classes) {
            let outside: Vec<usize> = (0..classes).filter(|id| !logits[*id].is_finite()).collect();
            assert_eq!(outside, [HOLE as usize]);
            assert_eq!(logits[HOLE as usize], f32::NEG_INFINITY);
        }
    }
}

/// A matrix product may add in another order at another shape. Each logit is a sum of 32 products after two layers, so
/// a few dozen roundings of 2^-24 relative to the largest logit: 2^-24 x 64 is 4e-6.
#[test]
fn another_cut_into_batches_and_chunks_changes_values_by_f32_rounding_only() {
    let dir = tempfile::tempdir().unwrap();
    let model = fixtures::decoder(dir.path(), 3);
    let input = dir.path().join("in.jsonl");
    documents(&input, 20);
    let run = |name: &str, batch_tokens, chunk_rows| {
        let store = Store::open(name).unwrap();
        let request = PlanRequest {
            codec: Some(CodecKind::Dense),
            batch_tokens,
            chunk_rows,
            ..PlanRequest::new(train(&input))
        };
        capture(&request, &model, &store);
        rows(&store, "train")
    };
    let one_by_one = run("memory://cut-1", 1, 1);
    let together = run("memory://cut-2", 100_000, 1000);
    let (mut largest, mut difference) = (0f32, 0f32);
    for (a, b) in one_by_one.iter().zip(&together) {
        assert_eq!(a.example, b.example);
        let (SoftTargets::Dense { logits: a, .. }, SoftTargets::Dense { logits: b, .. }) = (&a.targets, &b.targets)
        else {
            panic!()
        };
        assert_eq!(a.len(), b.len());
        for (a, b) in a.iter().zip(b).filter(|(a, _)| a.is_finite()) {
            largest = largest.max(a.abs());
            difference = difference.max((a - b).abs());
        }
    }
    assert!(difference <= 4e-6 * largest, "{difference} of {largest}");
}

#[test]
fn images_give_one_dense_row_each_with_label_and_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let model = fixtures::mlp(dir.path());
    let input = images(dir.path(), "train", 4, &[0, 2, 1, 1, 0]);
    let output = dir.path().join("out");
    let store = Store::open(output.to_str().unwrap()).unwrap();
    let request = PlanRequest {
        examples_per_shard: Some(2),
        batch_pixels: 16,
        ..PlanRequest::new(train(&input))
    };
    let dataset = capture(&request, &model, &store);
    assert_eq!(dataset.plan().spec.codec, Codec::Dense { values: Values::F32 });
    assert_eq!(
        dataset.plan().spec.classes.as_deref().unwrap(),
        ["circle", "square", "star"]
    );
    let captured = rows(&store, "train");
    assert_eq!(
        captured
            .iter()
            .map(|row| row.example.label.unwrap())
            .collect::<Vec<_>>(),
        [0, 2, 1, 1, 0]
    );
    for row in captured {
        let SoftTargets::Dense { classes, logits } = row.targets else {
            panic!()
        };
        assert_eq!((classes, logits.len()), (3, 3));
    }
}

#[test]
fn a_bf16_teacher_is_captured_and_says_so_in_its_plan() {
    let dir = tempfile::tempdir().unwrap();
    let model = fixtures::decoder(dir.path(), 1);
    let input = dir.path().join("in.jsonl");
    documents(&input, 2);
    let store = Store::open("memory://bf16").unwrap();
    let profile = Profile::open(&model, "bf16", "cpu").unwrap();
    let dataset = fixtures::plan(&PlanRequest::new(train(&input)), &profile, &store);
    assert_eq!(dataset.plan().spec.teacher.dtype, "bf16");
    let teacher = Teacher::load(profile).unwrap();
    capture::run_all(&teacher, &dataset, Start::default(), &CancelFlag::new(), &mut |_| {}).unwrap();
    decant_data::seal(&store, &mut ()).unwrap();
    assert_eq!(rows(&store, "train").len(), 2);
}
