//! What a store's error means, and what mends it.

use std::error::Error as _;
use std::io;

use super::Store;
use crate::{Error, Kind};

impl Store {
    /// An error of the object store, with its place and in words.
    pub(super) fn trouble(&self, action: &'static str, path: &str, error: object_store::Error) -> Error {
        let (kind, reason) = judge(&error);
        let place = if path.is_empty() {
            self.url().to_string()
        } else {
            self.place(path)
        };
        Error::Store {
            action,
            place,
            reason,
            kind,
            source: Some(Box::new(error)),
        }
    }
}

/// The kind of an error and its words. The system's own error lies somewhere in the chain of sources.
fn judge(error: &object_store::Error) -> (Kind, String) {
    use object_store::Error as Store;
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(error) = inner.downcast_ref::<io::Error>()
            && let Some(judged) = judge_io(error)
        {
            return judged;
        }
        source = inner.source();
    }
    match error {
        Store::NotFound { .. } => (Kind::FixData, "it is not there".into()),
        Store::PermissionDenied { .. } => (Kind::FixInput, "permission denied".into()),
        Store::Unauthenticated { .. } => (Kind::FixInput, "the store does not accept the credentials".into()),
        Store::InvalidPath { .. } | Store::UnknownConfigurationKey { .. } => (Kind::FixInput, error.to_string()),
        Store::NotSupported { .. } | Store::NotImplemented { .. } => (Kind::Unsupported, error.to_string()),
        _ => (Kind::Retry, error.to_string()),
    }
}

fn judge_io(error: &io::Error) -> Option<(Kind, String)> {
    let reason = match error.kind() {
        io::ErrorKind::StorageFull => "no space left; free some or choose another place",
        io::ErrorKind::QuotaExceeded => "the quota is used up; free some space or choose another place",
        io::ErrorKind::ReadOnlyFilesystem => "the file system is read-only; choose another place",
        io::ErrorKind::PermissionDenied => "permission denied; give yourself the right or choose another place",
        io::ErrorKind::NotADirectory => "a part of the path is a file, not a folder",
        _ => return None,
    };
    Some((Kind::FixInput, reason.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(kind: io::ErrorKind) -> (Kind, String) {
        // As local folders report it: wrapped twice.
        let source = Box::new(object_store::Error::Generic {
            store: "inner",
            source: Box::new(io::Error::from(kind)),
        });
        judge(&object_store::Error::Generic {
            store: "LocalFileSystem",
            source,
        })
    }

    #[test]
    fn the_systems_own_error_is_found_and_said() {
        let (kind, reason) = judged(io::ErrorKind::StorageFull);
        assert_eq!(
            (kind, reason.as_str()),
            (Kind::FixInput, "no space left; free some or choose another place")
        );
        for fatal in [
            io::ErrorKind::ReadOnlyFilesystem,
            io::ErrorKind::PermissionDenied,
            io::ErrorKind::QuotaExceeded,
        ] {
            assert_eq!(judged(fatal).0, Kind::FixInput, "{fatal:?}");
        }
        assert_eq!(judged(io::ErrorKind::ConnectionReset).0, Kind::Retry);
    }
}
