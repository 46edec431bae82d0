//! `Score`: examples in, soft targets out, with bounded memory whatever either side does.
//!
//! Two tasks serve a stream. One reads and prepares examples into a short queue, the other takes what has gathered there
//! into one batch, asks the teacher, and sends the answers. A caller that does not read its answers stops the second,
//! a full queue stops the first, and then HTTP/2 stops the caller. When the caller goes, or its deadline passes, the
//! channel of answers closes; both tasks end, and a question that still waits for the teacher is taken back.

mod answer;
mod read;

use super::stopping::Stopping;
use super::{convert, parts, status};
use crate::teacher::Teacher;
use decant_data::Codec;
use decant_proto::v1::{self, score_request::Message};
use std::sync::Arc;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

/// Examples that wait in the queue of one stream.
pub(super) const QUEUE_EXAMPLES: usize = 64;

/// Bytes of the examples that wait or are being answered, of one stream. More than the largest message.
const QUEUE_BYTES: usize = 4 * 1024 * 1024;

/// Bytes of the answers to one batch, and so to one example.
pub(super) const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// Answers that are on their way to the caller.
pub(super) const ANSWERS: usize = 2;

/// Most temperatures of one stream.
const MAX_TEMPERATURES: usize = 64;

pub(super) type Answers = mpsc::Sender<Result<v1::ScoreResponse, Status>>;

/// Serves one stream to its end, with the status that ends it as the last answer.
pub(super) async fn run(
    teacher: Teacher,
    mut requests: Streaming<v1::ScoreRequest>,
    answers: Answers,
    mut stopping: Stopping,
) {
    let codec = tokio::select! {
        codec = first(&mut requests) => codec,
        () = answers.closed() => return,
        () = stopping.begun() => Err(status::stopping()),
    };
    let shape = match codec.and_then(|codec| Shape::new(codec, &teacher)) {
        Ok(shape) => Arc::new(shape),
        Err(status) => {
            let _ = answers.send(Err(status)).await; // the caller may have gone
            return;
        }
    };
    let (queue, waiting) = mpsc::channel(QUEUE_EXAMPLES);
    tokio::spawn(read::run(
        teacher.clone(),
        Arc::clone(&shape),
        requests,
        queue,
        stopping,
    ));
    answer::run(&teacher, &shape, waiting, &answers).await;
}

/// What an answer is made of, and how large it may be.
struct Shape {
    codec: Codec,
    /// Positions of one message.
    per_message: usize,
    /// Positions of one batch.
    per_batch: usize,
    /// Pixels of one image.
    pixels: usize,
}

impl Shape {
    fn new(codec: Codec, teacher: &Teacher) -> Result<Self, Status> {
        let outcomes = teacher.profile().outcomes().width();
        let per_message = parts::positions_per_message(&codec, outcomes);
        if per_message == 0 {
            let bytes = parts::position_bytes(&codec, outcomes);
            let mend = "ask for fewer entries with top_k";
            return Err(Status::invalid_argument(format!(
                "one position of this codec takes {bytes} bytes, more than a message holds; {mend}"
            )));
        }
        let per_batch = (MAX_ANSWER_BYTES / parts::position_bytes(&codec, outcomes)).max(1);
        Ok(Self {
            codec,
            per_message,
            per_batch,
            pixels: teacher.profile().pixels(),
        })
    }
}

/// The codec, from the first message.
async fn first(requests: &mut Streaming<v1::ScoreRequest>) -> Result<Codec, Status> {
    let Some(v1::ScoreRequest {
        message: Some(Message::Options(options)),
    }) = requests.message().await?
    else {
        return Err(Status::invalid_argument(
            "the first message of a stream holds its options",
        ));
    };
    let codec = convert::codec(options.codec.as_ref())?;
    if codec
        .temperatures()
        .is_some_and(|temperatures| temperatures.len() > MAX_TEMPERATURES)
    {
        return Err(Status::invalid_argument(format!(
            "a stream declares at most {MAX_TEMPERATURES} temperatures"
        )));
    }
    Ok(codec)
}
