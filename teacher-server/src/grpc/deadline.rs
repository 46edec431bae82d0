//! The caller's deadline, for whole streams: tonic itself holds it only until the first byte of the answer.

use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::Stream;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

/// When the caller gives up, from its `grpc-timeout`; none if it waits for ever.
///
/// # Errors
/// A header that is not what the protocol says.
pub(super) fn of(metadata: &MetadataMap) -> Result<Option<Instant>, Status> {
    let Some(value) = metadata.get("grpc-timeout") else {
        return Ok(None);
    };
    let timeout = value.to_str().ok().and_then(parse);
    let timeout =
        timeout.ok_or_else(|| Status::invalid_argument(format!("grpc-timeout {value:?} is not a timeout")))?;
    Ok(Instant::now().checked_add(timeout))
}

/// At most 8 digits and a unit, as the protocol has it.
fn parse(value: &str) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// What comes through `answers`, until the deadline, which ends the stream with DEADLINE_EXCEEDED. Whoever fills the
/// channel sees it closed then, as when the caller goes away.
pub(super) fn stream<T: Send>(
    answers: mpsc::Receiver<Result<T, Status>>,
    deadline: Option<Instant>,
) -> impl Stream<Item = Result<T, Status>> + Send {
    futures_util::stream::unfold(Some(answers), move |answers| async move {
        let mut answers = answers?;
        let next = match deadline {
            None => answers.recv().await,
            Some(deadline) => match tokio::time::timeout_at(deadline, answers.recv()).await {
                Ok(next) => next,
                Err(_) => {
                    let exceeded = Status::new(Code::DeadlineExceeded, "the call's deadline has passed");
                    return Some((Err(exceeded), None));
                }
            },
        };
        next.map(|item| (item, Some(answers)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_stream::StreamExt;

    #[test]
    fn timeouts_are_as_the_protocol_has_them() {
        assert_eq!(parse("5S"), Some(Duration::from_secs(5)));
        assert_eq!(parse("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(parse("3M"), Some(Duration::from_secs(180)));
        assert_eq!(parse("250m"), Some(Duration::from_millis(250)));
        assert_eq!(parse("99999999u"), Some(Duration::from_micros(99_999_999)));
        assert_eq!(parse("1n"), Some(Duration::from_nanos(1)));
        for wrong in ["", "S", "5", "5s", "+5S", "123456789S", "5\u{fc}"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_stream_ends_at_its_deadline_and_closes_its_channel() {
        let (sender, receiver) = mpsc::channel(4);
        sender.send(Ok(1)).await.unwrap();
        let mut stream = Box::pin(stream(receiver, Some(Instant::now() + Duration::from_millis(20))));
        assert_eq!(stream.next().await.unwrap().unwrap(), 1);
        assert_eq!(stream.next().await.unwrap().unwrap_err().code(), Code::DeadlineExceeded);
        assert!(sender.is_closed());
        assert!(stream.next().await.is_none());
    }
}
