//! The server's end: bounded in time, and nothing half done.

use crate::support::{Place, create, plan, until};
use decant_proto::v1::{self, codec::Kind, score_example::Content, score_request::Message};
use std::time::Duration;
use teacher_server::grpc::Settings;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

fn options() -> v1::ScoreRequest {
    let codec = v1::Codec {
        kind: Some(Kind::Dense(v1::DenseCodec {})),
    };
    v1::ScoreRequest {
        message: Some(Message::Options(v1::ScoreOptions { codec: Some(codec) })),
    }
}

fn example(id: &str) -> v1::ScoreRequest {
    let content = Content::Tokens(v1::Tokens { ids: vec![1, 2, 3] });
    let example = v1::ScoreExample {
        id: id.to_owned(),
        content: Some(content),
    };
    v1::ScoreRequest {
        message: Some(Message::Example(example)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_told_and_the_server_ends() {
    let place = Place::documents(120);
    let server = place.serve().await;
    let mut client = server.client().await;
    let job = create(
        &mut client,
        v1::PlanOptions {
            examples_per_shard: Some(1),
            ..plan("out")
        },
    )
    .await
    .unwrap();
    let mut watching = client
        .watch_job(v1::WatchJobRequest { id: job.id.clone() })
        .await
        .unwrap()
        .into_inner();
    let (sender, requests) = mpsc::channel(4);
    sender.send(options()).await.unwrap();
    sender.send(example("before")).await.unwrap();
    let mut answers = client.score(ReceiverStream::new(requests)).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().id, "before");

    let task = server.begin_end();
    // both streams are open and their callers wait: each hears that the server is stopping
    let ended = answers.message().await.unwrap_err();
    assert_eq!(ended.code(), Code::Unavailable);
    let ended = loop {
        match watching.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the job ended before the server did"),
            Err(status) => break status,
        }
    };
    assert_eq!(ended.code(), Code::Unavailable);
    tokio::time::timeout(Duration::from_secs(60), task)
        .await
        .expect("the server ends")
        .unwrap()
        .unwrap();
    // nothing half done: no table lies about that no marker names
    let staged = std::fs::read_dir(place.root.join("out/staging")).map_or(0, |entries| entries.count());
    let committed = std::fs::read_dir(place.root.join("out/commits")).map_or(0, |entries| entries.count());
    assert_eq!(staged, committed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_stays_open_does_not_hold_the_end_up() {
    let place = Place::decoder();
    let settings = Settings {
        grace: Duration::from_millis(300),
        ..Settings::default()
    };
    let server = crate::support::Server::start(&place.model, &place.root, settings).await;
    let mut client = server.client().await;
    // a caller that never ends its stream and never reads
    let (sender, requests) = mpsc::channel(4);
    sender.send(options()).await.unwrap();
    let _answers = client.score(ReceiverStream::new(requests)).await.unwrap();
    let url = server.url.clone();
    let idle = tokio::net::TcpStream::connect(url.trim_start_matches("http://"))
        .await
        .unwrap();

    server.end().await;
    drop((sender, idle));
    // and nobody is let in any more
    until("the port is closed", async || {
        tokio::net::TcpStream::connect(url.trim_start_matches("http://"))
            .await
            .is_err()
            .then_some(())
    })
    .await;
}
