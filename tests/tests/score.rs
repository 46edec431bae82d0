//! `Score`: examples in, soft targets out, one answer each.

use decant_data::{Reader, Row, SoftTargets, Store};
use decant_proto::v1::codec::Kind;
use decant_proto::v1::score_example::Content;
use decant_proto::v1::score_request::Message;
use decant_proto::v1::score_response::Outcome;
use decant_proto::v1::soft_targets_part::Targets;
use decant_proto::v1::{
    Codec, DenseCodec, ScoreExample, ScoreOptions, ScoreRequest, ScoreResponse, Tokens, TopKCodec, TopKTargets,
};
use decant_tests::{Program, Server, fixtures};
use std::collections::BTreeMap;
use std::path::Path;
use tonic::Code;

/// Sends the examples and gives every message of the answer.
async fn score(server: &mut Server, codec: Kind, examples: Vec<(String, Content)>) -> Vec<ScoreResponse> {
    let options = Message::Options(ScoreOptions {
        codec: Some(Codec { kind: Some(codec) }),
    });
    let examples = examples.into_iter().map(|(id, content)| {
        Message::Example(ScoreExample {
            id,
            content: Some(content),
        })
    });
    let requests: Vec<ScoreRequest> = std::iter::once(options)
        .chain(examples)
        .map(|message| ScoreRequest { message: Some(message) })
        .collect();
    let mut client = server.client().await;
    let mut answers = client.score(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let mut all = Vec::new();
    while let Some(answer) = answers.message().await.unwrap() {
        all.push(answer);
    }
    all
}

fn top_k(k: u32) -> Kind {
    Kind::TopK(TopKCodec {
        k,
        temperatures: vec![1.0, 2.0],
    })
}

/// Ids and texts of a JSON-lines file.
fn texts(path: &Path) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(path).unwrap();
    let field = |line: &serde_json::Value, key: &str| line[key].as_str().unwrap().to_owned();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .map(|line: serde_json::Value| (field(&line, "id"), field(&line, "text")))
        .collect()
}

/// The training rows of a dataset, by id.
fn rows(dataset: &Path) -> BTreeMap<String, Row> {
    let reader = Reader::open(&Store::open(dataset.to_str().unwrap()).unwrap()).unwrap();
    let rows = reader.rows("train").unwrap().map(Result::unwrap);
    rows.map(|row| (row.example.id.clone(), row)).collect()
}

#[tokio::test]
async fn a_stream_says_what_a_dataset_says() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fixtures::decoder(7, &folder.join("teacher"));
    std::fs::write(folder.join("texts.jsonl"), fixtures::texts(40)).unwrap();
    Program::teacher_server()
        .current_dir(folder)
        .args("precompute --model teacher --input texts.jsonl --output cache --codec top_k --top-k 5")
        .args("--temperatures 1,2 --values f32")
        .succeed();
    let cache = folder.join("cache");
    // a dataset is read by a runtime of its own
    let mut rows = tokio::task::spawn_blocking(move || rows(&cache)).await.unwrap();

    let mut server = Server::start(&folder.join("teacher"), folder);
    let examples = texts(&folder.join("texts.jsonl"));
    let contents = examples
        .iter()
        .cloned()
        .map(|(id, text)| (id, Content::Text(text)))
        .collect();
    let answers = score(&mut server, top_k(5), contents).await;

    let order: Vec<&str> = answers.iter().map(|answer| answer.id.as_str()).collect();
    assert_eq!(order, examples.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>());
    for answer in &answers {
        let Some(Outcome::Part(part)) = &answer.outcome else {
            panic!("{answer:?}")
        };
        let Some(Targets::TopK(TopKTargets {
            ids,
            gaps,
            largest,
            log_tails,
            ..
        })) = &part.targets
        else {
            panic!("{answer:?}")
        };
        let row = rows.remove(&answer.id).unwrap();
        assert_eq!(
            (part.first_position, part.total_positions as usize),
            (0, row.targets.positions())
        );
        let SoftTargets::TopK {
            ids: kept,
            gaps: stored,
            largest: tops,
            log_tails: tails,
            ..
        } = &row.targets
        else {
            panic!("the dataset holds top_k")
        };
        assert_eq!(ids, kept);
        let tail = |index: usize| log_tails[index].values.as_slice();
        for (ours, theirs) in [(gaps, stored), (largest, tops)] {
            assert!(near(ours, theirs), "{}: {ours:?} {theirs:?}", answer.id);
        }
        assert!(near(tail(0), &tails[0]) && near(tail(1), &tails[1]), "{}", answer.id);
        assert_eq!((log_tails[0].temperature, log_tails[1].temperature), (1.0, 2.0));
    }
    assert!(rows.is_empty());
}

/// Equal but for what another batch does to f32.
fn near(ours: &[f32], theirs: &[f32]) -> bool {
    ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| (a - b).abs() <= 1e-3)
}

#[tokio::test]
async fn an_example_that_cannot_be_scored_has_a_status_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    fixtures::decoder(7, &folder.path().join("teacher"));
    let mut server = Server::start(&folder.path().join("teacher"), folder.path());
    let tokens = |ids: &[u32]| Content::Tokens(Tokens { ids: ids.to_vec() });
    let examples = [
        ("good", tokens(&[1, 2, 3, 4])),
        ("image", Content::Image(b"\x89PNG".to_vec())),
        ("id beyond the vocabulary", tokens(&[1, 4000])),
        ("too long", tokens(&[5; 257])),
        ("alone", tokens(&[5])),
        ("empty", Content::Text(String::new())),
        ("also good", Content::Text("hello".to_owned())),
    ];
    let answers = score(
        &mut server,
        top_k(3),
        examples.map(|(id, content)| (id.to_owned(), content)).into(),
    )
    .await;

    assert_eq!(answers.len(), 7);
    for answer in &answers {
        match (&answer.outcome, answer.id.contains("good")) {
            (Some(Outcome::Part(part)), true) => assert!(part.total_positions >= 3, "{answer:?}"),
            (Some(Outcome::Status(status)), false) => {
                assert_eq!(Code::from(status.code), Code::InvalidArgument, "{answer:?}");
                assert!(
                    !status.message.is_empty() && !status.message.contains('\n'),
                    "{answer:?}"
                );
            }
            _ => panic!("{answer:?}"),
        }
    }
}

#[tokio::test]
async fn an_image_has_one_soft_target_over_the_classes() {
    let folder = tempfile::tempdir().unwrap();
    let teacher = folder.path().join("teacher");
    fixtures::with_weights(&fixtures::digits_model("student"), 3, &teacher);
    let mut server = Server::start(&teacher, folder.path());
    let image = std::fs::read(fixtures::grey_png(folder.path(), 8, 8)).unwrap();
    let wrong = std::fs::read(fixtures::grey_png(folder.path(), 9, 8)).unwrap();
    let examples = vec![
        ("right".to_owned(), Content::Image(image)),
        ("wrong".to_owned(), Content::Image(wrong)),
    ];
    let answers = score(&mut server, Kind::Dense(DenseCodec {}), examples).await;

    let Some(Outcome::Part(part)) = &answers[0].outcome else {
        panic!("{answers:?}")
    };
    let Some(Targets::Dense(dense)) = &part.targets else {
        panic!("{answers:?}")
    };
    assert_eq!((part.total_positions, dense.outcomes, dense.logits.len()), (1, 10, 10));
    // entropy of softmax(logits), computed here in f64
    let largest = dense.logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f64> = dense
        .logits
        .iter()
        .map(|logit| f64::from(logit - largest).exp())
        .collect();
    let sum: f64 = weights.iter().sum();
    let entropy: f64 = weights.iter().map(|weight| weight / sum).map(|p| -p * p.ln()).sum();
    assert!(
        (entropy - f64::from(part.entropy[0])).abs() < 1e-5,
        "{entropy} {part:?}"
    );

    let Some(Outcome::Status(status)) = &answers[1].outcome else {
        panic!("{answers:?}")
    };
    assert!(status.message.contains("8 pixels high and 9 wide"), "{status:?}");
}
