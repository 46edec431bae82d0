//! Keeps a sink's own error aside: the Parquet library turns some of them into text on the way.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use parquet::errors::ParquetError;

use crate::Error;

/// A sink whose first error can be asked for.
pub(super) struct Sink<W> {
    pub(super) inner: W,
    failure: Failure,
}

/// The first error of a [`Sink`], if there was one.
#[derive(Clone, Default)]
pub(super) struct Failure(Arc<Mutex<Option<io::Error>>>);

impl<W> Sink<W> {
    pub(super) fn new(inner: W) -> (Self, Failure) {
        let failure = Failure::default();
        (
            Self {
                inner,
                failure: failure.clone(),
            },
            failure,
        )
    }

    fn watch<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| {
            let kind = error.kind();
            self.failure
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get_or_insert(error);
            kind.into()
        })
    }
}

impl<W: Write> Write for Sink<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes);
        self.watch(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.inner.flush();
        self.watch(flushed)
    }
}

impl Failure {
    /// What went wrong with a table: the sink's own error where there is one, otherwise what the Parquet library says.
    pub(super) fn explain(&self, place: &str, error: ParquetError) -> Error {
        let own = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        match own.map(|own| own.downcast::<Error>()) {
            Some(Ok(own)) => own,
            Some(Err(source)) => Error::Io {
                action: "writing",
                path: place.into(),
                source,
            },
            None => Error::Parquet {
                place: place.into(),
                source: error,
            },
        }
    }
}
