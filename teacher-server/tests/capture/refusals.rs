//! What cannot be captured is refused by name, before the teacher costs anything.

use crate::fixtures::{self, HOLE, MAX_POSITIONS, documents, images, train};
use decant_data::{Counts, Store};
use decant_models::Checkpoint;
use std::fs;
use std::path::{Path, PathBuf};
use teacher_server::Error;
use teacher_server::capture::{self, CancelFlag, Start};
use teacher_server::planning::{self, CodecKind, PlanRequest, WindowRequest};
use teacher_server::teacher::{Profile, Teacher};

fn planned(request: &PlanRequest, model: &Path, store: &str) -> Result<decant_data::Dataset, String> {
    let profile = Profile::open(model, "f32", "cpu").unwrap();
    let store = Store::open(store).unwrap();
    planning::plan(request, &profile, &store, &CancelFlag::new(), &mut |_| {}).map_err(|error| error.to_string())
}

fn words(count: usize) -> String {
    vec!["w1"; count].join(" ")
}

struct Texts {
    dir: tempfile::TempDir,
    model: PathBuf,
}

impl Texts {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let model = fixtures::decoder(dir.path(), 1);
        Self { dir, model }
    }

    fn write(&self, lines: &[String]) -> PathBuf {
        let path = self.dir.path().join("in.jsonl");
        fs::write(&path, lines.join("\n")).unwrap();
        path
    }
}

fn text(words: &str) -> String {
    format!(r#"{{"text": "{words}"}}"#)
}

#[test]
fn texts_over_the_limit_are_refused_with_place_count_and_mend() {
    let texts = Texts::new();
    let input = texts.write(&[text(&words(9)), text(&words(11)), text(&words(10)), text(&words(30))]);
    let request = PlanRequest {
        max_length: Some(10),
        ..PlanRequest::new(train(&input))
    };
    let error = planned(&request, &texts.model, "memory://too-long").unwrap_err();
    for part in [
        "in.jsonl:2",
        "11 tokens",
        "limit of 10",
        "2 of 4 examples",
        "--truncate",
        "--window",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let store = Store::open("memory://too-long").unwrap();
    assert!(!store.exists("plan.json").unwrap(), "nothing was planned");
}

#[test]
fn texts_over_the_limit_are_cut_and_counted_when_asked() {
    let texts = Texts::new();
    let input = texts.write(&[text(&words(9)), text(&words(11)), text(&words(30)), text("w1")]);
    let request = PlanRequest {
        max_length: Some(10),
        truncate: true,
        ..PlanRequest::new(train(&input))
    };
    let dataset = planned(&request, &texts.model, "memory://truncated").unwrap();
    let counts = dataset.plan().counts;
    assert_eq!(
        counts,
        Counts {
            read: 4,
            truncated: 2,
            too_short: 1,
            ..Counts::default()
        }
    );
    let lengths: Vec<usize> = dataset
        .inputs(0)
        .unwrap()
        .iter()
        .map(|example| example.tokens().len())
        .collect();
    assert_eq!(lengths, [9, 10, 10]);
}

#[test]
fn the_models_own_limit_holds_where_none_is_given() {
    let texts = Texts::new();
    let input = texts.write(&[text(&words(MAX_POSITIONS + 1))]);
    let error = planned(&PlanRequest::new(train(&input)), &texts.model, "memory://model-limit").unwrap_err();
    assert!(error.contains(&format!("limit of {MAX_POSITIONS}")), "{error}");
    let request = PlanRequest {
        max_length: Some(MAX_POSITIONS + 1),
        ..PlanRequest::new(train(&input))
    };
    let error = planned(&request, &texts.model, "memory://model-limit").unwrap_err();
    assert!(error.contains("--max-length 49"), "{error}");
}

#[test]
fn windows_cut_long_documents_and_name_their_pieces() {
    let texts = Texts::new();
    let input = texts.write(&[format!(r#"{{"id": "a", "text": "{}"}}"#, words(20))]);
    let window = |prefix: &str| {
        Some(WindowRequest {
            length: 8,
            stride: None,
            prefix: Some(prefix.to_owned()),
        })
    };
    let request = PlanRequest {
        window: window("w5"),
        ..PlanRequest::new(train(&input))
    };
    let dataset = planned(&request, &texts.model, "memory://windows").unwrap();
    let examples = dataset.inputs(0).unwrap();
    assert_eq!(
        examples.iter().map(|example| example.id.as_str()).collect::<Vec<_>>(),
        ["a#0", "a#1", "a#2"]
    );
    assert!(examples.iter().all(|example| example.tokens()[0] == 5));
    let request = PlanRequest {
        window: window("<s>"),
        ..request
    };
    let error = planned(&request, &texts.model, "memory://windows-2").unwrap_err();
    assert!(error.contains("<s>"), "{error}");
}

#[test]
fn broken_examples_are_named_by_file_and_line() {
    let texts = Texts::new();
    let cases = [
        (r#"{"text": "#.to_owned(), "in.jsonl:2"),
        (text("  "), "empty"),
        (r#"{"text": 3}"#.to_owned(), "in.jsonl:2"),
        (format!(r#"{{"input_ids": [1, {HOLE}]}}"#), "token 1 has id 17"),
        (r#"{"input_ids": [1, 99]}"#.to_owned(), "token 1 has id 99"),
    ];
    for (line, part) in cases {
        let input = texts.write(&[text("w1 w2"), line.clone()]);
        let error = planned(&PlanRequest::new(train(&input)), &texts.model, "memory://broken-lines").unwrap_err();
        assert!(error.contains(part) && error.contains("in.jsonl:2"), "{line}: {error}");
    }
}

#[test]
fn images_of_another_size_and_labels_out_of_range_are_refused_at_plan_time() {
    let dir = tempfile::tempdir().unwrap();
    let model = fixtures::mlp(dir.path());
    let large = images(dir.path(), "large", 5, &[0, 1]);
    let error = planned(&PlanRequest::new(train(&large)), &model, "memory://image-size").unwrap_err();
    assert!(
        error.contains("large-images-idx3-ubyte row 0") && error.contains('5') && error.contains('4'),
        "{error}"
    );
    let label = images(dir.path(), "label", 4, &[0, 3]);
    let error = planned(&PlanRequest::new(train(&label)), &model, "memory://labels").unwrap_err();
    assert!(
        error.contains("row 1") && error.contains("label 3") && error.contains("3 classes"),
        "{error}"
    );
    let text = dir.path().join("in.txt");
    fs::write(&text, "hello").unwrap();
    let error = planned(&PlanRequest::new(train(&text)), &model, "memory://text-for-images").unwrap_err();
    assert!(error.contains("in.txt") && error.contains("reads images"), "{error}");
    let request = PlanRequest {
        max_length: Some(8),
        ..PlanRequest::new(train(&label))
    };
    assert!(
        planned(&request, &model, "memory://labels")
            .unwrap_err()
            .contains("--max-length")
    );
}

#[test]
fn another_plan_in_the_same_place_is_refused_with_the_keys_that_differ() {
    let texts = Texts::new();
    let input = texts.write(&[text("w1 w2")]);
    let request = PlanRequest {
        top_k: 4,
        ..PlanRequest::new(train(&input))
    };
    let first = planned(&request, &texts.model, "memory://other-plan").unwrap();
    let again = planned(&request, &texts.model, "memory://other-plan").unwrap();
    assert_eq!(first.plan(), again.plan(), "the same plan is found again");
    let error = planned(
        &PlanRequest { top_k: 5, ..request },
        &texts.model,
        "memory://other-plan",
    )
    .unwrap_err();
    assert!(
        error.contains('k') && error.contains('4') && error.contains('5'),
        "{error}"
    );
}

#[test]
fn another_teacher_is_refused_with_both_hashes() {
    let texts = Texts::new();
    let input = texts.write(&[text("w1 w2")]);
    let dataset = planned(&PlanRequest::new(train(&input)), &texts.model, "memory://other-teacher").unwrap();
    let other = fixtures::decoder(texts.dir.path(), 2);
    let teacher = Teacher::start(&other, "f32", "cpu").unwrap();
    let error = capture::run_all(&teacher, &dataset, Start::default(), &CancelFlag::new(), &mut |_| {}).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::OtherTeacher(_)));
    assert!(text.contains(&dataset.plan().spec.teacher.weights_sha256), "{text}");
    assert!(text.contains(&teacher.identity().weights_sha256), "{text}");
    let teacher = Teacher::start(&texts.model, "bf16", "cpu").unwrap();
    let error = capture::run_all(&teacher, &dataset, Start::default(), &CancelFlag::new(), &mut |_| {}).unwrap_err();
    assert!(
        error.to_string().contains("the dtype is f32 in the plan and bf16"),
        "{error}"
    );
}

#[test]
fn logits_that_are_no_numbers_are_an_error_with_example_and_position() {
    let texts = Texts::new();
    let checkpoint = Checkpoint::open(&texts.model).unwrap();
    let model = checkpoint
        .load(candle_core::DType::F32, &candle_core::Device::Cpu)
        .unwrap();
    let embedding = model.parameters().trained().get("model.embed_tokens.weight").unwrap();
    // attention multiplies what it does not see by 0, and 0 times NaN is NaN: token 9 spoils its whole text
    let rows = embedding.to_vec2::<f32>().unwrap();
    let poisoned: Vec<Vec<f32>> = rows
        .into_iter()
        .enumerate()
        .map(|(id, row)| if id == 9 { vec![f32::NAN; row.len()] } else { row })
        .collect();
    embedding
        .set(&candle_core::Tensor::new(poisoned, &candle_core::Device::Cpu).unwrap())
        .unwrap();
    let broken = texts.dir.path().join("broken");
    checkpoint.save(model.as_ref(), &broken).unwrap();

    let input = texts.write(&[
        r#"{"id": "good", "text": "w1 w2 w3"}"#.to_owned(),
        r#"{"id": "bad", "text": "w1 w2 w9 w3"}"#.to_owned(),
    ]);
    let request = PlanRequest {
        codec: Some(CodecKind::Dense),
        ..PlanRequest::new(train(&input))
    };
    let dataset = planned(&request, &broken, "memory://nan").unwrap();
    let teacher = Teacher::start(&broken, "f32", "cpu").unwrap();
    let error = capture::run_all(&teacher, &dataset, Start::default(), &CancelFlag::new(), &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("example bad, position 0"), "{error}");
    assert_eq!(dataset.missing().unwrap(), [0], "nothing of the shard is committed");
}

#[test]
fn splits_never_share_a_shard() {
    let texts = Texts::new();
    let (train_file, test_file) = (texts.dir.path().join("a.jsonl"), texts.dir.path().join("b.jsonl"));
    documents(&train_file, 3);
    fs::write(&test_file, text("w1 w2 w3")).unwrap();
    let mut sources = train(&train_file);
    sources.push(planning::Source {
        split: "test".to_owned(),
        path: test_file,
    });
    let dataset = planned(&PlanRequest::new(sources), &texts.model, "memory://splits").unwrap();
    let shards: Vec<(&str, u64)> = dataset
        .plan()
        .shards
        .iter()
        .map(|shard| (shard.split.as_str(), shard.examples))
        .collect();
    assert_eq!(shards, [("train", 3), ("test", 1)]);
}
