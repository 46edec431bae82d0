//! Plain text: one document a file, or a line each.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::source::{LARGEST_DOCUMENT, open_file, reading, wrong};
use super::{Content, Examples, Place, RawExample, ReadOptions, TextUnit};
use crate::Result;

pub(super) fn open(path: &Path, name: Arc<str>, options: &ReadOptions) -> Result<Box<dyn Examples>> {
    Ok(match options.text_unit {
        TextUnit::File => Box::new(WholeFile {
            path: path.to_owned(),
            name: Some(name),
        }),
        TextUnit::Line => Box::new(TextLines(Lines::open(path, name)?)),
    })
}

fn example(text: String, place: Place) -> RawExample {
    RawExample {
        id: None,
        content: Content::Text(text),
        label: None,
        loss_mask: None,
        place,
    }
}

/// The file's one document; the name is taken once it is given.
struct WholeFile {
    path: PathBuf,
    name: Option<Arc<str>>,
}

impl Examples for WholeFile {
    fn next(&mut self) -> Option<Result<RawExample>> {
        let place = Place::file(&self.name.take()?);
        Some(self.document(place))
    }
}

impl WholeFile {
    fn document(&self, place: Place) -> Result<RawExample> {
        let mut bytes = Vec::new();
        let file = open_file(&self.path)?;
        file.take(LARGEST_DOCUMENT + 1)
            .read_to_end(&mut bytes)
            .map_err(|source| reading(&self.path, source))?;
        if bytes.len() as u64 > LARGEST_DOCUMENT {
            return Err(wrong(
                &place,
                format!(
                    "over {} MiB in one document; split it, or read it by lines",
                    LARGEST_DOCUMENT >> 20
                ),
            ));
        }
        let text = utf8(bytes, 0, &place)?;
        if text.trim().is_empty() {
            return Err(wrong(&place, "the document is empty; leave the file out"));
        }
        Ok(example(text, place))
    }
}

struct TextLines(Lines);

impl Examples for TextLines {
    fn next(&mut self) -> Option<Result<RawExample>> {
        self.0.next().map(|line| line.map(|(text, place)| example(text, place)))
    }

    fn blank(&self) -> u64 {
        self.0.blank
    }
}

/// The lines of a file that are not blank, without their line ends.
pub(super) struct Lines {
    file: BufReader<File>,
    path: PathBuf,
    name: Arc<str>,
    line: u64,
    offset: u64,
    /// Blank lines skipped so far.
    pub(super) blank: u64,
}

impl Lines {
    pub(super) fn open(path: &Path, name: Arc<str>) -> Result<Self> {
        let file = BufReader::new(open_file(path)?);
        Ok(Lines {
            file,
            path: path.to_owned(),
            name,
            line: 0,
            offset: 0,
            blank: 0,
        })
    }

    pub(super) fn next(&mut self) -> Option<Result<(String, Place)>> {
        loop {
            match self.read_line() {
                Ok(None) => return None,
                Ok(Some((text, _))) if text.trim().is_empty() => self.blank += 1,
                Ok(Some(line)) => return Some(Ok(line)),
                Err(error) => return Some(Err(error)),
            }
        }
    }

    fn read_line(&mut self) -> Result<Option<(String, Place)>> {
        let mut bytes = Vec::new();
        let mut limited = (&mut self.file).take(LARGEST_DOCUMENT + 1);
        let read = limited
            .read_until(b'\n', &mut bytes)
            .map_err(|source| reading(&self.path, source))?;
        if read == 0 {
            return Ok(None);
        }
        self.line += 1;
        let place = Place::line(&self.name, self.line);
        if read as u64 > LARGEST_DOCUMENT {
            return Err(wrong(
                &place,
                format!(
                    "a line of over {} MiB; is this a text of lines?",
                    LARGEST_DOCUMENT >> 20
                ),
            ));
        }
        let start = self.offset;
        self.offset += read as u64;
        let end = bytes.strip_suffix(b"\n").map_or(bytes.len(), <[u8]>::len);
        let end = bytes[..end].strip_suffix(b"\r").map_or(end, <[u8]>::len);
        bytes.truncate(end);
        utf8(bytes, start, &place).map(|text| Some((text, place)))
    }
}

/// Bytes that begin at `start` of their file, as text.
fn utf8(bytes: Vec<u8>, start: u64, place: &Place) -> Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let byte = error.as_bytes().get(valid).copied().unwrap_or_default();
        let offset = start + valid as u64;
        wrong(
            place,
            format!("not UTF-8: byte 0x{byte:02x} at byte offset {offset}; convert the file to UTF-8"),
        )
    })
}
