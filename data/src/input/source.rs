//! The files of an input: what kind they are, and their hash.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::{Examples, Place, ReadOptions, idx, json_lines, parquet_file, text};
use crate::{Error, Result};

/// The largest document, or line, that is read: what would hold more is most likely not what it was taken for.
pub(super) const LARGEST_DOCUMENT: u64 = 256 << 20;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Parquet,
    JsonLines,
    Text,
    Idx,
}

/// The files of an input that are still to be read.
pub(super) struct Files {
    input: PathBuf,
    left: VecDeque<(PathBuf, Kind)>,
}

impl Files {
    pub(super) fn of(input: &Path) -> Result<Self> {
        let mut left: VecDeque<(PathBuf, Kind)> = VecDeque::new();
        for file in list(input)? {
            let kind = kind_of(&file)?;
            match left.front() {
                Some((first, before)) if *before != kind => {
                    return Err(Error::Input(format!(
                        "{}: {} is {}, {} is {}; put files of one kind in a folder",
                        input.display(),
                        name(first),
                        before.words(),
                        name(&file),
                        kind.words()
                    )));
                }
                _ => left.push_back((file, kind)),
            }
        }
        match left.front() {
            Some((_, Kind::Idx)) if left.len() > 1 => Err(Error::Input(format!(
                "{}: name the images file of the IDX files in it",
                input.display()
            ))),
            Some(_) => Ok(Files {
                input: input.to_owned(),
                left,
            }),
            None => Err(Error::Input(format!("{}: the folder holds no files", input.display()))),
        }
    }

    pub(super) fn open_next(&mut self, options: &ReadOptions) -> Result<Option<Box<dyn Examples>>> {
        let Some((path, kind)) = self.left.pop_front() else {
            return Ok(None);
        };
        let name: Arc<str> = Arc::from(path.to_string_lossy());
        Ok(Some(match kind {
            Kind::Parquet => Box::new(parquet_file::ParquetExamples::open(&path, name, options)?),
            Kind::JsonLines => Box::new(json_lines::JsonLines::open(&path, name, options)?),
            Kind::Text => text::open(&path, name, options)?,
            Kind::Idx => Box::new(idx::IdxExamples::open(&path, name)?),
        }))
    }

    /// The error of an input without a single example.
    pub(super) fn empty(&self) -> Error {
        Error::Input(format!("{}: it holds no examples", self.input.display()))
    }
}

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Kind::Parquet => "Parquet",
            Kind::JsonLines => "JSON lines",
            Kind::Text => "text",
            Kind::Idx => "IDX",
        }
    }
}

/// The hash of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// sha256, hexadecimal.
    pub sha256: String,
    /// Bytes of all files together.
    pub bytes: u64,
}

/// The hash of all that [`open`](super::open) would read from a path.
///
/// A single file has its own sha256. A folder, or an IDX file with its labels beside it, has that of the listing that
/// `sha256sum` would print for its files, in the order of their names.
///
/// # Errors
/// A file that cannot be read.
pub fn sha256_of(path: &Path) -> Result<Digest> {
    let files = files_of(path)?;
    let (mut listing, mut bytes, mut last) = (String::new(), 0, String::new());
    for file in &files {
        let (hash, size) = sha256_of_file(file)?;
        listing.push_str(&format!("{hash}  {}\n", name(file)));
        (last, bytes) = (hash, bytes + size);
    }
    let single = files.len() == 1 && !path.is_dir();
    let sha256 = if single { last } else { hex(&Sha256::digest(listing)) };
    Ok(Digest { sha256, bytes })
}

/// Every file that [`open`](super::open) would read from a path: those of a folder, or the file and, for IDX, its
/// labels beside it.
///
/// # Errors
/// A path that cannot be read.
pub fn files_of(path: &Path) -> Result<Vec<PathBuf>> {
    let mut files = list(path)?;
    if let ([images], false) = (files.as_slice(), path.is_dir())
        && kind_of(images)? == Kind::Idx
    {
        files.extend(idx::labels_beside(path));
    }
    Ok(files)
}

fn sha256_of_file(path: &Path) -> Result<(String, u64)> {
    let mut file = open_file(path)?;
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).map_err(|source| reading(path, source))? {
            0 => return Ok((hex(&hash.finalize()), bytes)),
            read => {
                hash.update(&buffer[..read]);
                bytes += read as u64;
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The file itself, or those of a folder in the order of their names, hidden ones left out.
fn list(input: &Path) -> Result<Vec<PathBuf>> {
    if !input.is_dir() {
        open_file(input)?;
        return Ok(vec![input.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(input).map_err(|source| reading(input, source))? {
        let path = entry.map_err(|source| reading(input, source))?.path();
        if path.is_file() && !name(&path).starts_with('.') {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn kind_of(path: &Path) -> Result<Kind> {
    let mut head = Vec::new();
    open_file(path)?
        .take(4)
        .read_to_end(&mut head)
        .map_err(|source| reading(path, source))?;
    let shown = path.display();
    let lower = name(path).to_lowercase();
    let extension = lower.rsplit_once('.').map_or("", |(_, extension)| extension);
    let is_idx = idx::has_name(&lower);
    match (head.as_slice(), extension) {
        (b"PAR1", _) => Ok(Kind::Parquet),
        (_, "parquet") => Err(Error::Input(format!(
            "{shown}: not a Parquet file (it does not begin with PAR1); write it again, or fetch it whole"
        ))),
        ([0x1f, 0x8b, ..], _) => Err(Error::Input(format!("{shown}: compressed with gzip; gunzip it first"))),
        ([0x28, 0xb5, 0x2f, 0xfd], _) => Err(Error::Input(format!("{shown}: compressed with zstd; unzstd it first"))),
        _ if is_idx || idx::has_magic(&head) => Ok(Kind::Idx),
        (_, "jsonl" | "ndjson" | "json") => Ok(Kind::JsonLines),
        _ => Ok(Kind::Text),
    }
}

pub(super) fn open_file(path: &Path) -> Result<File> {
    File::open(path).map_err(|source| reading(path, source))
}

pub(super) fn reading(path: &Path, source: std::io::Error) -> Error {
    Error::Io {
        action: "reading",
        path: path.to_owned(),
        source,
    }
}

/// The error of one place: what is wrong there, and the mend.
pub(super) fn wrong(place: &Place, what: impl std::fmt::Display) -> Error {
    Error::Input(format!("{place}: {what}"))
}

fn name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}
