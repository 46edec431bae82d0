//! What users have, read one example at a time: Parquet, JSON lines, plain text, IDX.
//!
//! [`open`] tells the kind of a file by its first bytes and its name, and gives a [`Reader`] that holds one example (for
//! Parquet: one small batch) in memory. Nothing is tokenised or decoded here; [`Ids`] gives each example its final id
//! and [`windows`] cuts long documents.

mod ids;
mod idx;
mod json_lines;
mod parquet_file;
mod place;
mod source;
mod text;
mod window;

use std::path::Path;

use serde::{Deserialize, Serialize};

pub use ids::Ids;
pub use place::Place;
pub use source::{Digest, files_of, sha256_of};
pub use window::{Window, windows, windows_with_mask};

use crate::Result;

/// Columns and keys whose names are fixed, as they are in datasets.
const TOKENS: &str = "input_ids";
const MASK: &str = "loss_mask";

/// What one document of a plain text file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TextUnit {
    /// The whole file.
    #[default]
    File,
    /// Each line that is not blank.
    Line,
}

/// How input files are read: the part of a plan that says what their columns mean.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReadOptions {
    /// What one document of a plain text file is.
    pub text_unit: TextUnit,
    /// Parquet column or JSON key of a text.
    pub text_column: String,
    /// Parquet column of an image: `struct<bytes, path>` or binary.
    pub image_column: String,
    /// Parquet column or JSON key of the label.
    pub label_column: String,
    /// Parquet column or JSON key of the id.
    pub id_column: String,
    /// The names of the classes in order; a label that is a name is looked up here. The plan records them elsewhere.
    #[serde(skip)]
    pub class_names: Option<Vec<String>>,
}

impl Default for ReadOptions {
    fn default() -> Self {
        ReadOptions {
            text_unit: TextUnit::File,
            text_column: "text".into(),
            image_column: "image".into(),
            label_column: "label".into(),
            id_column: "id".into(),
            class_names: None,
        }
    }
}

impl ReadOptions {
    /// The number of the class of this name.
    fn class_of(&self, name: &str, what: &str, place: &Place) -> Result<i64> {
        let Some(names) = &self.class_names else {
            return Err(source::wrong(
                place,
                format!("{what}: the label is a name ({name:?}) and the class names are not known; give numbers"),
            ));
        };
        match names.iter().position(|known| known == name) {
            Some(class) => Ok(class as i64),
            None => {
                let hint = decant_cli::nearest(name, names).map_or(String::new(), |near| format!("; is it {near:?}?"));
                Err(source::wrong(
                    place,
                    format!("{what}: no class is named {name:?}{hint}"),
                ))
            }
        }
    }
}

/// What the teacher is to read, as the user has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A text, not yet tokenised.
    Text(String),
    /// Token ids.
    Tokens(Vec<u32>),
    /// A PNG or JPEG file, byte for byte; pixels of an IDX file become a grayscale PNG.
    Image(Vec<u8>),
}

/// One example of an input file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawExample {
    /// The id that the user gave.
    pub id: Option<String>,
    /// What the teacher is to read.
    pub content: Content,
    /// The true class, where the file has one.
    pub label: Option<i64>,
    /// For token ids, one entry for each: whether its prediction counts in a loss.
    pub loss_mask: Option<Vec<bool>>,
    /// Where it stands, for messages: `file:line`, `file row n`.
    pub place: Place,
}

/// The examples of an input, in the order of its files and their rows.
pub struct Reader {
    files: source::Files,
    options: ReadOptions,
    current: Option<Box<dyn Examples>>,
    blank: u64,
    given: u64,
    failed: bool,
}

/// The examples of one file; the parsers of this module implement it.
trait Examples: Send {
    /// The next example, or `None` at the end.
    fn next(&mut self) -> Option<Result<RawExample>>;
    /// Blank lines skipped so far.
    fn blank(&self) -> u64 {
        0
    }
}

/// Opens an input: one file, or a folder whose files, all of one kind, are read in the order of their names.
///
/// # Errors
/// A path that is not there, a kind that is not known, a file whose head is broken.
pub fn open(path: &Path, options: &ReadOptions) -> Result<Reader> {
    let mut reader = Reader {
        files: source::Files::of(path)?,
        options: options.clone(),
        current: None,
        blank: 0,
        given: 0,
        failed: false,
    };
    reader.current = reader.files.open_next(&reader.options)?;
    Ok(reader)
}

impl Reader {
    /// Blank lines skipped so far.
    pub fn blank(&self) -> u64 {
        self.blank + self.current.as_ref().map_or(0, |file| file.blank())
    }

    fn advance(&mut self) -> Result<Option<RawExample>> {
        while let Some(file) = &mut self.current {
            if let Some(example) = file.next().transpose()? {
                self.given += 1;
                return Ok(Some(example));
            }
            self.blank += file.blank();
            self.current = self.files.open_next(&self.options)?;
        }
        match self.given {
            0 => Err(self.files.empty()),
            _ => Ok(None),
        }
    }
}

/// The first error is the last item: what follows a broken place is not read.
impl Iterator for Reader {
    type Item = Result<RawExample>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.advance().transpose();
        self.failed = matches!(next, Some(Err(_)));
        next
    }
}
