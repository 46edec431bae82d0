//! The answering side of a stream: prepared items in, batches to the teacher, answers out.

use super::read::Item;
use super::{Answers, QUEUE_EXAMPLES, Shape};
use crate::grpc::{parts, status};
use crate::planning::PlanRequest;
use crate::teacher::{Answer, Content, Input, Teacher, Work};
use decant_proto::v1::{self, score_response::Outcome};
use tokio::sync::mpsc;
use tonic::Status;

/// Answers what waits, a batch at a time, until nothing comes any more or nobody listens.
pub(super) async fn run(teacher: &Teacher, shape: &Shape, mut waiting: mpsc::Receiver<Item>, answers: &Answers) {
    let mut next = None;
    loop {
        let (batch, end) = tokio::select! {
            gathered = gather(&mut waiting, &mut next, shape) => gathered,
            () = answers.closed() => return,
        };
        let nothing_left = batch.is_empty() && end.is_none();
        let sent = tokio::select! {
            sent = answer_batch(teacher, shape, batch, answers) => sent,
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
                let grown = size.with(&input.content, shape);
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
    fn with(self, content: &Content, shape: &Shape) -> Self {
        let (length, pixels) = match content {
            Content::Tokens(tokens) => (tokens.len(), 0),
            Content::Image(_) => (0, shape.pixels),
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

#[cfg(test)]
mod tests {
    use super::*;
    use decant_data::{Codec, Values};
    use std::sync::Arc;
    use tokio::sync::Semaphore;

    async fn input(id: &str, tokens: usize) -> Item {
        let permit = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
        Item::Input(
            Input {
                id: id.to_owned(),
                content: Content::Tokens(vec![0; tokens]),
            },
            permit,
        )
    }

    fn shape(per_batch: usize) -> Shape {
        Shape {
            codec: Codec::Dense { values: Values::F32 },
            per_message: 1,
            per_batch,
            pixels: 0,
        }
    }

    /// The ids of every batch, and whether the stream ends with a status.
    async fn batches(items: Vec<Item>, shape: &Shape) -> (Vec<Vec<String>>, bool) {
        let (queue, mut waiting) = mpsc::channel(64);
        for item in items {
            queue
                .send(item)
                .await
                .unwrap_or_else(|_| unreachable!("the queue is open"));
        }
        drop(queue);
        let id = |item: &Item| match item {
            Item::Input(input, _) => input.id.clone(),
            Item::Refused(id, _) => id.clone(),
            Item::End(_) => unreachable!("an end is in no batch"),
        };
        let (mut next, mut all) = (None, Vec::new());
        loop {
            let (batch, end) = gather(&mut waiting, &mut next, shape).await;
            if !batch.is_empty() {
                all.push(batch.iter().map(id).collect());
            } else if end.is_none() {
                return (all, false);
            }
            if end.is_some() {
                return (all, true);
            }
        }
    }

    #[tokio::test]
    async fn what_waits_together_is_asked_together_within_the_budget() {
        let budget = PlanRequest::BATCH_TOKENS as usize;
        let refused = Item::Refused("b".to_owned(), Status::invalid_argument("no"));
        let items = vec![
            input("a", 5).await,
            refused,
            input("c", budget / 3).await,
            input("d", budget).await,
        ];
        // a and c are padded to c's length; d fills a batch of its own
        let (all, ended) = batches(items, &shape(1 << 20)).await;
        assert_eq!(all, [vec!["a", "b", "c"], vec!["d"]]);
        assert!(!ended);
    }

    #[tokio::test]
    async fn answers_bound_a_batch_too_and_an_end_comes_last() {
        let stopping = Item::End(Status::unavailable("stopping"));
        // 4 positions each, 8 a batch
        let items = vec![input("a", 5).await, input("b", 5).await, input("c", 5).await, stopping];
        let (all, ended) = batches(items, &shape(8)).await;
        assert_eq!(all, [vec!["a", "b"], vec!["c"]]);
        assert!(ended);
    }
}
