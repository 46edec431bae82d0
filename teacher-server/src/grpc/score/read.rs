//! The reading side of a stream: messages in, prepared items out.

use super::{QUEUE_BYTES, Shape};
use crate::grpc::parts::MAX_ID_BYTES;
use crate::grpc::stopping::Stopping;
use crate::grpc::{convert, status};
use crate::teacher::{Input, Teacher};
use decant_proto::v1::{self, score_request::Message};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tonic::{Status, Streaming};

/// One message of the caller, prepared.
pub(super) enum Item {
    /// For the teacher.
    Input(Input, OwnedSemaphorePermit),
    /// Not for the teacher: its id, and why.
    Refused(String, Status),
    /// Nothing comes after this.
    End(Status),
}

/// Prepares examples as they come, until the caller ends, fails, or the server stops.
pub(super) async fn run(
    teacher: Teacher,
    shape: Arc<Shape>,
    mut requests: Streaming<v1::ScoreRequest>,
    queue: mpsc::Sender<Item>,
    mut stopping: Stopping,
) {
    let room = Arc::new(Semaphore::new(QUEUE_BYTES));
    loop {
        let request = tokio::select! {
            request = requests.message() => request,
            () = stopping.begun() => Err(status::stopping()),
            () = queue.closed() => return,
        };
        let item = match request {
            Ok(None) => return,
            Err(status) => Item::End(status),
            Ok(Some(v1::ScoreRequest {
                message: Some(Message::Example(example)),
            })) => {
                let bytes = content_bytes(&example).min(QUEUE_BYTES);
                let Ok(permit) = Arc::clone(&room).acquire_many_owned(bytes as u32).await else {
                    return;
                };
                prepare(&teacher, &shape, example, permit).await
            }
            Ok(Some(_)) => Item::End(Status::invalid_argument(
                "every message after the first holds an example",
            )),
        };
        let last = matches!(item, Item::End(_));
        if queue.send(item).await.is_err() || last {
            return;
        }
    }
}

fn content_bytes(example: &v1::ScoreExample) -> usize {
    use v1::score_example::Content;
    example.id.len()
        + match &example.content {
            Some(Content::Text(text)) => text.len(),
            Some(Content::Image(bytes)) => bytes.len(),
            Some(Content::Tokens(tokens)) => tokens.ids.len() * size_of::<u32>(),
            None => 0,
        }
}

/// Tokenises or decodes where that may take its time.
async fn prepare(
    teacher: &Teacher,
    shape: &Arc<Shape>,
    example: v1::ScoreExample,
    permit: OwnedSemaphorePermit,
) -> Item {
    let mut id = example.id.clone();
    if id.is_empty() || id.len() > MAX_ID_BYTES {
        let reason = format!("an id has 1 to {MAX_ID_BYTES} bytes, this one has {}", id.len());
        while id.len() > MAX_ID_BYTES {
            id.pop();
        }
        return Item::Refused(id, Status::invalid_argument(reason));
    }
    let (teacher, shape) = (teacher.clone(), Arc::clone(shape));
    let prepared = tokio::task::spawn_blocking(move || {
        let example = convert::example(example, teacher.profile())?;
        let input = teacher.input(&example).map_err(|error| status::of_teacher(&error))?;
        let positions = input.content.positions();
        if positions > shape.per_batch {
            return Err(Status::out_of_range(format!(
                "{positions} positions, but an answer in this codec holds at most {}; cut the example, or ask for fewer \
                 entries with top_k",
                shape.per_batch
            )));
        }
        Ok(input)
    });
    match prepared.await {
        Ok(Ok(input)) => Item::Input(input, permit),
        Ok(Err(status)) => Item::Refused(id, status),
        Err(_) => Item::Refused(id, Status::internal("reading the example ended in a bug of the server")),
    }
}
