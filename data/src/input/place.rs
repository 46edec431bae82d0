//! Where an example stands in what the user gave.

use std::fmt;
use std::sync::Arc;

/// A place in an input file, printed as messages name it: `file`, `file:line` or `file row n`.
///
/// Lines count from 1, as editors do; rows from 0, as pyarrow and `datasets` do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    file: Arc<str>,
    at: At,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    File,
    Line(u64),
    Row(u64),
}

impl Place {
    /// A whole file.
    pub fn file(file: &Arc<str>) -> Self {
        Place {
            file: Arc::clone(file),
            at: At::File,
        }
    }

    /// A line of a file, from 1.
    pub fn line(file: &Arc<str>, line: u64) -> Self {
        Place {
            file: Arc::clone(file),
            at: At::Line(line),
        }
    }

    /// A row of a file, from 0.
    pub fn row(file: &Arc<str>, row: u64) -> Self {
        Place {
            file: Arc::clone(file),
            at: At::Row(row),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            At::File => write!(out, "{}", self.file),
            At::Line(line) => write!(out, "{}:{line}", self.file),
            At::Row(row) => write!(out, "{} row {row}", self.file),
        }
    }
}
