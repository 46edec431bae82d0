//! The format's version and feature flags, and what an unknown one means: stop.

use crate::{Error, Result};

/// The version of the format that this crate writes. It reads this one and all before it.
pub const FORMAT_VERSION: u32 = 1;

/// Features that a reader must know to read a dataset right. None exist yet.
pub const READER_FLAGS: &[&str] = &[];

/// Features that a writer must know before it adds to a dataset. None exist yet.
pub const WRITER_FLAGS: &[&str] = &[];

/// Refuses versions from the future.
pub(crate) fn check_version(place: &str, version: u32) -> Result<()> {
    if version == 0 || version > FORMAT_VERSION {
        return Err(Error::Unsupported(format!(
            "{place} has format version {version}, but this decant reads up to {FORMAT_VERSION}; use a newer decant"
        )));
    }
    Ok(())
}

/// Refuses flags that this version does not know.
pub(crate) fn check_flags<S: AsRef<str>>(place: &str, what: &str, found: &[S], known: &[&str]) -> Result<()> {
    match found.iter().find(|flag| !known.contains(&flag.as_ref())) {
        Some(flag) => Err(Error::Unsupported(format!(
            "{place} needs the {what} feature {:?}, which this decant does not have; use a newer decant",
            flag.as_ref()
        ))),
        None => Ok(()),
    }
}
