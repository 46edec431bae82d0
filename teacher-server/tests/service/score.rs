//! Examples in, soft targets out.

use crate::fixtures::{self, full_logits};
use crate::support::{Client, Place, until};
use candle_core::{DType, Device};
use decant_models::{Checkpoint, Model};
use decant_proto::MAX_MESSAGE_BYTES;
use decant_proto::v1::soft_targets_part::Targets;
use decant_proto::v1::{self, codec::Kind, score_example::Content, score_request::Message, score_response::Outcome};
use prost::Message as _;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

fn dense() -> Kind {
    Kind::Dense(v1::DenseCodec {})
}

fn top_k(k: u32, temperatures: &[f32]) -> Kind {
    Kind::TopK(v1::TopKCodec {
        k,
        temperatures: temperatures.to_vec(),
    })
}

fn options(kind: Kind) -> v1::ScoreRequest {
    let options = v1::ScoreOptions {
        codec: Some(v1::Codec { kind: Some(kind) }),
    };
    v1::ScoreRequest {
        message: Some(Message::Options(options)),
    }
}

fn example(id: &str, content: Content) -> v1::ScoreRequest {
    let example = v1::ScoreExample {
        id: id.to_owned(),
        content: Some(content),
    };
    v1::ScoreRequest {
        message: Some(Message::Example(example)),
    }
}

fn tokens(ids: &[u32]) -> Content {
    Content::Tokens(v1::Tokens { ids: ids.to_vec() })
}

/// Sends all of it and reads every answer.
async fn score(client: &mut Client, requests: Vec<v1::ScoreRequest>) -> Result<Vec<v1::ScoreResponse>, tonic::Status> {
    let mut answers = client.score(tokio_stream::iter(requests)).await?.into_inner();
    let mut all = Vec::new();
    while let Some(answer) = answers.message().await? {
        assert!(answer.encoded_len() <= MAX_MESSAGE_BYTES);
        all.push(answer);
    }
    Ok(all)
}

fn part(response: &v1::ScoreResponse) -> &v1::SoftTargetsPart {
    match response.outcome.as_ref().unwrap() {
        Outcome::Part(part) => part,
        Outcome::Status(status) => panic!("{}: {}", response.id, status.message),
    }
}

fn status(response: &v1::ScoreResponse) -> (Code, &str) {
    match response.outcome.as_ref().unwrap() {
        Outcome::Status(status) => (Code::from(status.code), status.message.as_str()),
        Outcome::Part(_) => panic!("{} was scored", response.id),
    }
}

/// The model itself, to compare with.
fn model(place: &Place) -> Box<dyn Model> {
    Checkpoint::open(&place.model)
        .unwrap()
        .load(DType::F32, &Device::Cpu)
        .unwrap()
}

/// One position's log-probabilities, in f64 and plainly: what is outside the tokenizer's map is outside the softmax.
fn log_softmax(row: &[f32], temperature: f64) -> Vec<f64> {
    let inside = |id: usize| id < fixtures::IDS as usize && id != fixtures::HOLE as usize;
    let scaled = |id: usize| f64::from(row[id]) / temperature;
    let sum: f64 = (0..row.len()).filter(|&id| inside(id)).map(|id| scaled(id).exp()).sum();
    let log = |id: usize| {
        if inside(id) {
            scaled(id) - sum.ln()
        } else {
            f64::NEG_INFINITY
        }
    };
    (0..row.len()).map(log).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn dense_answers_are_the_models_logits() {
    let place = Place::decoder();
    let server = place.serve().await;
    let mut client = server.client().await;
    let sequences: Vec<Vec<u32>> = vec![vec![3, 5, 7, 9], vec![1, 2], (1..16).collect()];
    let mut requests = vec![options(dense())];
    requests.extend(
        sequences
            .iter()
            .enumerate()
            .map(|(index, ids)| example(&format!("e{index}"), tokens(ids))),
    );
    let answers = score(&mut client, requests).await.unwrap();

    assert_eq!(answers.len(), 3);
    let model = model(&place);
    for (index, (answer, ids)) in answers.iter().zip(&sequences).enumerate() {
        assert_eq!(answer.id, format!("e{index}"));
        let rows = full_logits(model.as_ref(), ids);
        let part = part(answer);
        assert_eq!((part.first_position, part.total_positions as usize), (0, rows.len()));
        let Some(Targets::Dense(targets)) = &part.targets else {
            panic!("not dense")
        };
        let width = targets.outcomes as usize;
        assert_eq!(
            (width, targets.logits.len()),
            (fixtures::IDS as usize, rows.len() * width)
        );
        for (row, answered) in rows.iter().zip(targets.logits.chunks(width)) {
            for (id, (&expected, &logit)) in row.iter().zip(answered).enumerate() {
                match id == fixtures::HOLE as usize {
                    true => assert_eq!(logit, f32::NEG_INFINITY),
                    false => assert!((expected - logit).abs() < 1e-5, "{id}: {expected} {logit}"),
                }
            }
        }
        for (row, entropy) in rows.iter().zip(&part.entropy) {
            let log = log_softmax(row, 1.0);
            let expected: f64 = log
                .iter()
                .filter(|log| log.is_finite())
                .map(|log| -log.exp() * log)
                .sum();
            assert!((expected - f64::from(*entropy)).abs() < 1e-4);
        }
    }
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn top_k_answers_keep_the_largest_and_the_mass_outside() {
    let place = Place::decoder();
    let server = place.serve().await;
    let mut client = server.client().await;
    let (k, temperatures) = (5, [1.0, 2.0]);
    // text as the teacher's tokenizer reads it: "w3" is id 3, and so on
    let text = Content::Text("w3 w5 w7 w9 w11".to_owned());
    let answers = score(&mut client, vec![options(top_k(k, &temperatures)), example("a", text)])
        .await
        .unwrap();

    let rows = full_logits(model(&place).as_ref(), &[3, 5, 7, 9, 11]);
    let part = part(&answers[0]);
    let Some(Targets::TopK(targets)) = &part.targets else {
        panic!("not top_k")
    };
    assert_eq!(targets.offsets, [0, 5, 10, 15, 20]);
    assert_eq!(
        targets
            .log_tails
            .iter()
            .map(|tail| tail.temperature)
            .collect::<Vec<_>>(),
        temperatures
    );
    for (position, row) in rows.iter().enumerate() {
        let log = log_softmax(row, 1.0);
        let mut order: Vec<usize> = (0..row.len()).collect();
        order.sort_by(|&left, &right| log[right].total_cmp(&log[left]));
        let kept = position * 5..position * 5 + 5;
        let expected: Vec<u32> = order[..5].iter().map(|&id| id as u32).collect();
        assert_eq!(targets.ids[kept.clone()], expected[..]);
        assert!((targets.largest[position] - row[order[0]]).abs() < 1e-5);
        for (gap, &id) in targets.gaps[kept].iter().zip(&order) {
            assert!((gap - (row[order[0]] - row[id])).abs() < 1e-5);
        }
        for (tails, temperature) in targets.log_tails.iter().zip(temperatures) {
            let log = log_softmax(row, f64::from(temperature));
            let outside: f64 = order[5..].iter().map(|&id| log[id].exp()).sum();
            assert!((outside.ln() - f64::from(tails.values[position])).abs() < 1e-4);
        }
    }
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_scored_and_another_size_has_its_own_status() {
    let place = Place::with(fixtures::mlp);
    let images = fixtures::images(&place.root, "right", 4, &[0]);
    let large = fixtures::images(&place.root, "large", 6, &[0]);
    let png = |path: &std::path::Path| {
        let mut reader = decant_data::input::open(path, &Default::default()).unwrap();
        match reader.next().unwrap().unwrap().content {
            decant_data::input::Content::Image(bytes) => Content::Image(bytes),
            other => panic!("{other:?}"),
        }
    };
    let server = place.serve().await;
    let mut client = server.client().await;
    let requests = vec![
        options(dense()),
        example("large", png(&large)),
        example("broken", Content::Image(b"no image".to_vec())),
        example("right", png(&images)),
        example("text", Content::Text("w1 w2".to_owned())),
    ];
    let answers = score(&mut client, requests).await.unwrap();
    assert_eq!(
        answers.iter().map(|answer| answer.id.as_str()).collect::<Vec<_>>(),
        ["large", "broken", "right", "text"]
    );
    assert_eq!(status(&answers[0]).0, Code::InvalidArgument);
    assert_eq!(status(&answers[1]).0, Code::InvalidArgument);
    let Some(Targets::Dense(targets)) = &part(&answers[2]).targets else {
        panic!("not dense")
    };
    assert_eq!((targets.outcomes, targets.logits.len()), (3, 3));
    assert_eq!(status(&answers[3]).0, Code::InvalidArgument);
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_example_has_its_own_status_and_the_stream_goes_on() {
    let place = Place::decoder();
    let server = place.serve().await;
    let mut client = server.client().await;
    let long: Vec<u32> = vec![1; fixtures::MAX_POSITIONS + 1];
    let nothing = v1::ScoreExample {
        id: "nothing".to_owned(),
        content: None,
    };
    let requests = vec![
        options(dense()),
        example("first", tokens(&[1, 2])),
        example("unknown id", tokens(&[1, fixtures::HOLE])),
        example("one token", tokens(&[1])),
        example("too long", tokens(&long)),
        example("empty", Content::Text(" ".to_owned())),
        v1::ScoreRequest {
            message: Some(Message::Example(nothing)),
        },
        example("", tokens(&[1, 2])),
        example(&"x".repeat(5000), tokens(&[1, 2])),
        example("last", tokens(&[1, 2])),
    ];
    let answers = score(&mut client, requests).await.unwrap();
    assert_eq!(answers.len(), 9);
    for wrong in &answers[1..8] {
        assert_eq!(status(wrong).0, Code::InvalidArgument, "{}", wrong.id);
    }
    assert!(status(&answers[1]).1.contains("17"), "{}", status(&answers[1]).1);
    assert!(status(&answers[3]).1.contains("49"), "{}", status(&answers[3]).1);
    assert_eq!((answers[0].id.as_str(), answers[8].id.as_str()), ("first", "last"));
    assert_eq!(part(&answers[0]).entropy, part(&answers[8]).entropy);
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_begins_with_options_that_make_sense() {
    let place = Place::decoder();
    let server = place.serve().await;
    let mut client = server.client().await;
    let cases = [
        vec![],
        vec![example("a", tokens(&[1, 2]))],
        vec![options(top_k(0, &[1.0]))],
        vec![options(top_k(4, &[]))],
        vec![options(top_k(4, &[0.0]))],
        vec![options(dense()), options(dense())],
    ];
    for requests in cases {
        let refused = score(&mut client, requests.clone()).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{requests:?}");
    }
    server.end().await;
}

/// A decoder with so wide a vocabulary that a few positions fill a message.
fn wide_decoder(dir: &std::path::Path) -> std::path::PathBuf {
    let vocabulary: serde_json::Map<String, serde_json::Value> =
        (0..100_000).map(|id| (format!("w{id}"), id.into())).collect();
    let tokenizer = serde_json::json!({
        "version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "Whitespace"},
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "w0"},
    });
    let config = serde_json::json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4, "intermediate_size": 4,
        "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1, "hidden_act": "silu",
        "vocab_size": 100_000, "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "tie_word_embeddings": true,
    });
    let described = dir.join("wide-described");
    std::fs::create_dir(&described).unwrap();
    std::fs::write(described.join("config.json"), config.to_string()).unwrap();
    std::fs::write(described.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let checkpoint = Checkpoint::open(&described).unwrap();
    let model = checkpoint.initialise(3, &Device::Cpu).unwrap();
    checkpoint.save(model.as_ref(), &dir.join("wide")).unwrap();
    dir.join("wide")
}

#[tokio::test(flavor = "multi_thread")]
async fn large_answers_come_in_parts_and_too_large_ones_are_refused() {
    let place = Place::with(wide_decoder);
    let server = place.serve().await;
    let mut client = server.client().await;
    let ids: Vec<u32> = (0..33).collect();
    // an answer holds 64 MiB: 167 positions of 400 kB
    let requests = vec![
        options(dense()),
        example("parts", tokens(&ids)),
        example("too large", tokens(&[1; 200])),
    ];
    let answers = score(&mut client, requests).await.unwrap();

    let (parts, rest) = answers.split_at(answers.len() - 1);
    // a message holds 5 positions of 400 kB
    assert_eq!(parts.len(), 7);
    let rows = full_logits(model(&place).as_ref(), &ids);
    let mut position = 0;
    for answer in parts {
        let part = part(answer);
        assert_eq!((part.first_position as usize, part.total_positions), (position, 32));
        let Some(Targets::Dense(targets)) = &part.targets else {
            panic!("not dense")
        };
        for answered in targets.logits.chunks(100_000) {
            let difference = rows[position]
                .iter()
                .zip(answered)
                .map(|(left, right)| (left - right).abs());
            assert!(difference.fold(0.0, f32::max) < 1e-5);
            position += 1;
        }
    }
    assert_eq!(position, 32);
    assert_eq!(
        (rest[0].id.as_str(), status(&rest[0]).0),
        ("too large", Code::OutOfRange)
    );
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_over_the_limit_ends_the_stream() {
    let place = Place::decoder();
    let server = place.serve().await;
    let mut client = server.client().await;
    let large = "w1 ".repeat(MAX_MESSAGE_BYTES / 3 + 1);
    let refused = score(
        &mut client,
        vec![options(dense()), example("large", Content::Text(large))],
    )
    .await
    .unwrap_err();
    assert!(refused.message().contains("too large"), "{refused}");
    // and the server is none the worse
    let answers = score(&mut client, vec![options(dense()), example("a", tokens(&[1, 2]))])
        .await
        .unwrap();
    assert_eq!(answers.len(), 1);
    server.end().await;
}

/// A stream whose requests are sent one by one.
async fn open(client: &mut Client, kind: Kind) -> (mpsc::Sender<v1::ScoreRequest>, Streaming<v1::ScoreResponse>) {
    let (sender, requests) = mpsc::channel(1);
    sender.send(options(kind)).await.unwrap();
    let answers = client.score(ReceiverStream::new(requests)).await.unwrap().into_inner();
    (sender, answers)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_is_not_read_from() {
    let place = Place::with(wide_decoder);
    let server = place.serve().await;
    let mut client = server.client().await;
    let (sender, mut answers) = open(&mut client, dense()).await;
    // each answer is one message of 1.6 MB, each example one of 128 kB: windows and queues hold some of either, and then
    // nothing moves any more
    let text = format!("w1 w2 w3 w4 w5{}", " ".repeat(128 * 1024));
    let sending = tokio::spawn(async move {
        let mut sent = 0;
        while sent < 200 {
            let next = sender.send(example(&format!("e{sent}"), Content::Text(text.clone())));
            match tokio::time::timeout(Duration::from_secs(3), next).await {
                Ok(result) => result.unwrap(),
                Err(_) => break,
            }
            sent += 1;
        }
        (sender, sent)
    });
    let (sender, sent) = sending.await.unwrap();
    assert!(sent < 200, "the server took 200 examples whose answers nobody read");
    drop(sender);
    let mut read = 0;
    while let Some(answer) = answers.message().await.unwrap() {
        assert_eq!(answer.id, format!("e{read}"));
        read += 1;
    }
    assert_eq!(read, sent);
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_holds_for_the_whole_stream() {
    let place = Place::decoder();
    let server = place.serve().await;
    let mut client = server.client().await;
    let (sender, requests) = mpsc::channel(4);
    sender.send(options(dense())).await.unwrap();
    sender.send(example("a", tokens(&[1, 2]))).await.unwrap();
    let mut request = tonic::Request::new(ReceiverStream::new(requests));
    // the header itself, and not the client's own timer
    request.metadata_mut().insert("grpc-timeout", "700m".parse().unwrap());
    let mut answers = client.score(request).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().id, "a");
    // the stream is open and idle: only the deadline ends it
    let ended = tokio::time::timeout(Duration::from_secs(60), answers.message())
        .await
        .expect("the stream ends");
    assert_eq!(ended.unwrap_err().code(), Code::DeadlineExceeded);
    drop(sender);
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_counted_and_given_back() {
    let place = Place::decoder();
    let server = place.serve().await;
    let mut client = server.client().await;
    let mut streams = Vec::new();
    for _ in 0..16 {
        let (sender, mut answers) = open(&mut client, dense()).await;
        sender.send(example("a", tokens(&[1, 2]))).await.unwrap();
        answers.message().await.unwrap().unwrap();
        streams.push((sender, answers));
    }
    let refused = score(&mut client, vec![options(dense())]).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    // dropped in the middle, without an end
    drop(streams);
    let answers = until("a stream is free again", async || {
        score(&mut client, vec![options(dense()), example("b", tokens(&[1, 2]))])
            .await
            .ok()
    })
    .await;
    assert_eq!(answers[0].id, "b");
    server.end().await;
}
