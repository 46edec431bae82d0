//! From the kinds of our errors to gRPC codes: the one place where that is decided.

use crate::{jobs, teacher};
use decant_data::Kind;
use std::io;
use tonic::{Code, Status};

/// The code of a kind of error.
fn code(kind: Kind) -> Code {
    match kind {
        Kind::Retry => Code::Unavailable,
        Kind::FixInput => Code::InvalidArgument,
        Kind::FixData => Code::DataLoss,
        Kind::Unsupported => Code::Unimplemented,
        Kind::Fenced => Code::Aborted,
        Kind::Bug => Code::Internal,
    }
}

/// What a caller hears of a job's error.
pub(super) fn of_job(error: &jobs::Error) -> Status {
    use jobs::Error;
    let code = match error {
        Error::Unknown(_) => Code::NotFound,
        Error::Outside { .. } => Code::PermissionDenied,
        Error::Elsewhere { .. } => Code::AlreadyExists,
        Error::Occupied { .. } | Error::NoRoot => Code::FailedPrecondition,
        _ => of_the_system(error).unwrap_or_else(|| code(error.kind())),
    };
    Status::new(code, line(error))
}

/// The code of what the server's own system refuses, wherever it stands among the causes: none of the caller's mistakes.
fn of_the_system(error: &(dyn std::error::Error + 'static)) -> Option<Code> {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes.find_map(|cause| match cause.downcast_ref::<io::Error>()?.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(Code::ResourceExhausted),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Some(Code::FailedPrecondition),
        _ => None,
    })
}

/// What a caller hears of a teacher's error.
pub(super) fn of_teacher(error: &teacher::Error) -> Status {
    let code = match error {
        // this server is about to end; the next one, or another, may answer
        teacher::Error::Stopped => Code::Unavailable,
        _ => code(error.kind()),
    };
    Status::new(code, line(error))
}

/// The teacher is not there yet.
pub(super) fn loading() -> Status {
    Status::unavailable("the teacher is still loading; try again later")
}

/// The server will not be there any more.
pub(super) fn stopping() -> Status {
    Status::unavailable("the server is stopping; try again later")
}

/// The error and its causes in one line.
fn line(error: &(dyn std::error::Error + 'static)) -> String {
    decant_cli::error_line(error).trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callers_mistake_is_not_the_servers() {
        let outside = jobs::Error::Outside {
            path: "/etc/passwd".to_owned(),
            roots: "/data".to_owned(),
        };
        let status = of_job(&outside);
        assert_eq!(status.code(), Code::PermissionDenied);
        assert!(status.message().contains("/etc/passwd") && status.message().contains("/data"));
        assert_eq!(of_job(&jobs::Error::Unknown("x".to_owned())).code(), Code::NotFound);
        for (kind, code) in [
            (io::ErrorKind::StorageFull, Code::ResourceExhausted),
            (io::ErrorKind::ReadOnlyFilesystem, Code::FailedPrecondition),
            (io::ErrorKind::NotFound, Code::InvalidArgument),
        ] {
            let system = decant_data::Error::Io {
                action: "writing",
                path: "/data/x".into(),
                source: kind.into(),
            };
            assert_eq!(of_job(&system.into()).code(), code, "{kind}");
        }
        assert_eq!(of_job(&jobs::Error::Stopping).code(), Code::Unavailable);
        assert_eq!(
            of_job(&decant_data::Error::Input("bad".to_owned()).into()).code(),
            Code::InvalidArgument
        );
        assert_eq!(
            of_job(&decant_data::Error::Data("bad".to_owned()).into()).code(),
            Code::DataLoss
        );
        // another server may answer; this process must not try again for ever
        let stopped = teacher::Error::Stopped;
        assert_eq!(
            (of_teacher(&stopped).code(), stopped.kind()),
            (Code::Unavailable, Kind::Bug)
        );
    }
}
