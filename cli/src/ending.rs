//! How a command ends: one line on stderr, and an exit code that says whether trying again can help.

use std::error::Error;
use std::process::ExitCode;

use crate::config::ConfigError;

/// What an exit code tells the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The same command will fail again until something is mended: 1.
    Permanent,
    /// The command line or its configuration is wrong: 2, as clap has it.
    Usage,
    /// The same command may succeed later: 75, `EX_TEMPFAIL` of sysexits.h.
    Retryable,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        ExitCode::from(match code {
            Code::Permanent => 1,
            Code::Usage => 2,
            Code::Retryable => 75,
        })
    }
}

/// A mistake in the command line that only shows after it was parsed; [`exit`] gives it the code of [`Code::Usage`].
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Ends a command: success, or one line `error: a: b: c` on stderr and a code.
///
/// [`Usage`] and [`ConfigError`], anywhere in the chain of causes, are mistakes of usage; all else is permanent.
/// [`exit_by`] lets the caller say more.
pub fn exit<E>(result: Result<(), E>) -> ExitCode
where
    E: AsRef<dyn Error + Send + Sync + 'static>,
{
    exit_by(result, |_| None)
}

/// [`exit`] where `classify` is asked about each error of the chain, outermost first; the first answer counts.
pub fn exit_by<E>(result: Result<(), E>, classify: impl Fn(&(dyn Error + 'static)) -> Option<Code>) -> ExitCode
where
    E: AsRef<dyn Error + Send + Sync + 'static>,
{
    let Err(error) = result else { return ExitCode::SUCCESS };
    let error: &(dyn Error + 'static) = error.as_ref();
    crate::tell(error_line(error));
    code_of(error, classify).into()
}

fn code_of(error: &(dyn Error + 'static), classify: impl Fn(&(dyn Error + 'static)) -> Option<Code>) -> Code {
    let ours =
        |cause: &(dyn Error + 'static)| (cause.is::<Usage>() || cause.is::<ConfigError>()).then_some(Code::Usage);
    chain(error)
        .find_map(|cause| classify(cause).or_else(|| ours(cause)))
        .unwrap_or(Code::Permanent)
}

/// `error: a: b: c`, one line, outermost cause first.
///
/// A cause that the error above it has already quoted at its end is not said twice.
pub fn error_line(error: &(dyn Error + 'static)) -> String {
    let mut line = String::from("error");
    for cause in chain(error) {
        let text = cause.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
    }
    line
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        #[source]
        below: Option<Box<dyn Error + Send + Sync>>,
    }

    fn layers(texts: &[&'static str]) -> Option<Box<dyn Error + Send + Sync>> {
        let (text, rest) = texts.split_first()?;
        Some(Box::new(Layer {
            text,
            below: layers(rest),
        }))
    }

    #[test]
    fn the_line_holds_each_cause_once() {
        let error = layers(&[
            "shard 3",
            "cannot write x.parquet: disk full\n  (at 4 KiB)",
            "disk full (at 4 KiB)",
        ])
        .unwrap();
        assert_eq!(
            error_line(error.as_ref()),
            "error: shard 3: cannot write x.parquet: disk full (at 4 KiB)"
        );
    }

    #[test]
    fn codes_come_from_anywhere_in_the_chain() {
        let usage = Layer {
            text: "outer",
            below: Some(Box::new(Usage("two inputs".into()))),
        };
        assert_eq!(code_of(&usage, |_| None), Code::Usage);
        let deep = layers(&["outer", "inner"]).unwrap();
        assert_eq!(code_of(deep.as_ref(), |_| None), Code::Permanent);
        let retry = |cause: &(dyn Error + 'static)| (cause.to_string() == "inner").then_some(Code::Retryable);
        assert_eq!(code_of(deep.as_ref(), retry), Code::Retryable);
    }
}
