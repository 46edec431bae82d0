//! `Score`: examples in, soft targets out, with bounded memory whatever either side does.
//!
//! Two tasks serve a stream. One reads and prepares examples into a short queue, the other takes what has gathered there
//! into one batch, asks the teacher, and sends the answers. A caller that does not read its answers stops the second,
//! a full queue stops the first, and then HTTP/2 stops the caller. When the caller goes, or its deadline passes, the
//! channel of answers closes; both tasks end, and a question that still waits for the teacher is taken back.

use super::convert;
use super::parts::{self, MAX_ID_BYTES};
use super::status;
use super::stopping::Stopping;
use crate::planning::PlanRequest;
use crate::teacher::{Answer, Content, Input, Teacher, Work};
use decant_data::Codec;
use decant_proto::v1::{self, score_request::Message, score_response::Outcome};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
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
    tokio::spawn(read(teacher.clone(), Arc::clone(&shape), requests, queue, stopping));
    answer(teacher, &shape, waiting, &answers).await;
}

/// What an answer is made of, and how large it may be.
struct Shape {
    codec: Codec,
    /// Positions of one message.
    per_message: usize,
    /// Positions of one batch.
    per_batch: usize,
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

/// One message of the caller, prepared.
enum Item {
    /// For the teacher.
    Input(Input, OwnedSemaphorePermit),
    /// Not for the teacher: its id, and why.
    Refused(String, Status),
    /// Nothing comes after this.
    End(Status),
}

/// Prepares examples as they come, until the caller ends, fails, or the server stops.
async fn read(
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

/// Answers what waits, a batch at a time, until nothing comes any more or nobody listens.
async fn answer(teacher: Teacher, shape: &Shape, mut waiting: mpsc::Receiver<Item>, answers: &Answers) {
    let mut next = None;
    loop {
        let (batch, end) = tokio::select! {
            gathered = gather(&mut waiting, &mut next, shape, &teacher) => gathered,
            () = answers.closed() => return,
        };
        let nothing_left = batch.is_empty() && end.is_none();
        let sent = tokio::select! {
            sent = answer_batch(&teacher, shape, batch, answers) => sent,
            () = answers.closed() => return, // takes the question back
        };
        if let Some(status) = end {
            let _ = answers.send(Err(status)).await; // the caller may have gone
            return;
        }
        if nothing_left || sent.is_err() {
            return;
        }
    }
}

/// The next item, waited for, and what has come after it, as far as one batch goes; and the status that ends the
/// stream, where that is next. Nothing at all: the caller has ended.
async fn gather(
    waiting: &mut mpsc::Receiver<Item>,
    next: &mut Option<Item>,
    shape: &Shape,
    teacher: &Teacher,
) -> (Vec<Item>, Option<Status>) {
    let mut batch: Vec<Item> = Vec::new();
    let mut size = Size::default();
    loop {
        let item = match next.take() {
            Some(item) => Some(item),
            None if batch.is_empty() => waiting.recv().await,
            None => waiting.try_recv().ok(),
        };
        match item {
            None => return (batch, None),
            Some(Item::End(status)) => return (batch, Some(status)),
            Some(Item::Refused(..)) if batch.len() >= QUEUE_EXAMPLES => {
                *next = item;
                return (batch, None);
            }
            Some(refused @ Item::Refused(..)) => batch.push(refused),
            Some(Item::Input(input, permit)) => {
                let grown = size.with(&input.content, teacher);
                if size.examples > 0 && !grown.fits(shape) {
                    *next = Some(Item::Input(input, permit));
                    return (batch, None);
                }
                size = grown;
                batch.push(Item::Input(input, permit));
            }
        }
    }
}

/// What a batch costs; the budget is the default one of a plan.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    examples: usize,
    longest: usize,
    pixels: usize,
    positions: usize,
}

impl Size {
    fn with(self, content: &Content, teacher: &Teacher) -> Self {
        let (length, pixels) = match content {
            Content::Tokens(tokens) => (tokens.len(), 0),
            Content::Image(_) => (0, teacher.profile().pixels()),
        };
        Self {
            examples: self.examples + 1,
            longest: self.longest.max(length),
            pixels: self.pixels + pixels,
            positions: self.positions + content.positions(),
        }
    }

    fn fits(self, shape: &Shape) -> bool {
        self.examples * self.longest <= PlanRequest::BATCH_TOKENS as usize
            && self.pixels <= PlanRequest::BATCH_PIXELS as usize
            && self.positions <= shape.per_batch
            && self.examples <= QUEUE_EXAMPLES
    }
}

/// The caller has gone.
struct Gone;

/// Asks the teacher about a batch and sends every answer, in the order of the examples.
async fn answer_batch(teacher: &Teacher, shape: &Shape, batch: Vec<Item>, answers: &Answers) -> Result<(), Gone> {
    let mut inputs = Vec::with_capacity(batch.len());
    let mut permits = Vec::with_capacity(batch.len());
    let mut order: Vec<(String, Option<Status>)> = Vec::with_capacity(batch.len());
    for item in batch {
        match item {
            Item::Input(input, permit) => {
                order.push((input.id.clone(), None));
                inputs.push(input);
                permits.push(permit);
            }
            Item::Refused(id, status) => order.push((id, Some(status))),
            Item::End(_) => {}
        }
    }
    let mut results = ask(teacher, shape, inputs).await.into_iter();
    drop(permits);
    for (id, refused) in order {
        let result = match refused {
            Some(status) => Err(status),
            None => results
                .next()
                .unwrap_or_else(|| Err(Status::internal("the teacher gave no answer"))),
        };
        match result {
            Ok(answer) => {
                for part in parts::of(id, answer, &shape.codec, shape.per_message) {
                    answers.send(Ok(part)).await.map_err(|_| Gone)?;
                }
            }
            Err(status) => {
                let status = v1::ExampleStatus {
                    code: status.code() as i32,
                    message: status.message().to_owned(),
                };
                let response = v1::ScoreResponse {
                    id,
                    outcome: Some(Outcome::Status(status)),
                };
                answers.send(Ok(response)).await.map_err(|_| Gone)?;
            }
        }
    }
    Ok(())
}

/// One answer for each input; what spoiled the whole batch is everyone's answer.
async fn ask(teacher: &Teacher, shape: &Shape, inputs: Vec<Input>) -> Vec<Result<Answer, Status>> {
    let count = inputs.len();
    if count == 0 {
        return Vec::new();
    }
    let work = Work {
        inputs,
        codec: shape.codec.clone(),
        chunk_rows: PlanRequest::CHUNK_ROWS as usize,
    };
    match teacher.ask(work).await {
        Ok(answers) => answers
            .into_iter()
            .map(|answer| answer.map_err(|error| status::of_teacher(&error)))
            .collect(),
        Err(error) => vec![Err(status::of_teacher(&error)); count],
    }
}
