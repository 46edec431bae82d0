//! The explicit table of probabilities, one row for each class of each position: for tools that know nothing of codecs.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{Float64Builder, Int32Builder, StringBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use tempfile::NamedTempFile;

use crate::{Codec, Error, Plan, Progress, Reader, Result, Row, Task, canonical};

mod distribution;

pub use distribution::{Distribution, distribution};

/// Rows handed to the Parquet writer at a time, and rows of one of its row groups.
const BATCH_ROWS: usize = 1 << 16;
const GROUP_ROWS: usize = 1 << 20;

/// What an export wrote.
#[derive(Debug, Clone, PartialEq)]
pub struct Exported {
    /// Examples of the dataset.
    pub examples: u64,
    /// Soft targets, each of which has rows for its classes and, for `top_k`, one for the tail.
    pub positions: u64,
    /// Rows of the table.
    pub rows: u64,
    /// No probability is further from the teacher's own than this, by the rounding of the stored values; 0 for `dense`
    /// with `f32`.
    pub error: f64,
}

/// Writes the probabilities of every soft target of a sealed dataset at one temperature to a new Parquet file.
///
/// Columns: `id`; `position`, null for classification; `class`, the class or token id; `probability`, f64. For `top_k`
/// the probability of everything that was not kept is one more row with a null `class`, so that each position adds up
/// to 1. Splits follow each other in the plan's order. The file's metadata (`softlabel.*`) says which plan, codec and
/// temperature it comes from, and the error bound of [`Exported`].
///
/// The file appears whole or not at all.
///
/// # Errors
/// A temperature that the dataset cannot give, before anything is written; a destination that exists or cannot be
/// written; a dataset whose bytes are not what its manifest says.
pub fn export(source: &Reader, temperature: f32, destination: &Path, progress: &mut dyn Progress) -> Result<Exported> {
    let plan = source.plan();
    plan.spec.codec.temperature_index(temperature)?;
    let writing = |source| Error::Io {
        action: "writing",
        path: destination.to_owned(),
        source,
    };
    if destination.symlink_metadata().is_ok() {
        return Err(exists(destination));
    }
    let folder = match destination.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let file = partial_file(folder).map_err(writing)?;
    progress.begin("exporting", "soft targets", plan.positions());
    let (file, exported) = write(source, temperature, file, destination, progress)?;
    file.as_file().sync_all().map_err(writing)?;
    match file.persist_noclobber(destination) {
        Ok(_) => Ok(exported),
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => Err(exists(destination)),
        Err(error) => Err(writing(error.error)),
    }
}

fn exists(destination: &Path) -> Error {
    Error::Input(format!(
        "{} exists already; give another name, or remove it",
        destination.display()
    ))
}

/// A file that removes itself unless it is given its final name, with the permissions of an ordinary new file.
fn partial_file(folder: &Path) -> std::io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".export-").suffix(".partial");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

fn write(
    source: &Reader,
    temperature: f32,
    file: NamedTempFile,
    destination: &Path,
    progress: &mut dyn Progress,
) -> Result<(NamedTempFile, Exported)> {
    let broken = || Error::parquet(destination.display().to_string());
    let plan = source.plan();
    let mut table = Table::new(plan, temperature);
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .build();
    let mut writer = ArrowWriter::try_new(file, Arc::clone(&table.schema), Some(properties)).map_err(broken())?;
    for split in source.splits() {
        for row in source.rows(split)? {
            let row = row?;
            let positions = row.targets.positions();
            for position in 0..positions {
                table.push(&row, position)?;
                if table.pending >= BATCH_ROWS {
                    writer.write(&table.take()?).map_err(broken())?;
                }
            }
            table.written.examples += 1;
            progress.advance(positions as u64);
        }
    }
    writer.write(&table.take()?).map_err(broken())?;
    for (key, value) in metadata(plan, temperature, &table.written) {
        writer.append_key_value_metadata(KeyValue::new(key.to_owned(), value));
    }
    let mut file = writer.into_inner().map_err(broken())?;
    file.flush().map_err(|source| Error::Io {
        action: "writing",
        path: destination.to_owned(),
        source,
    })?;
    Ok((file, table.written))
}

/// What the table was made from, under the keys of the dataset's own tables.
fn metadata(plan: &Plan, temperature: f32, written: &Exported) -> [(&'static str, String); 6] {
    [
        ("softlabel.kind", "probabilities".into()),
        ("softlabel.plan", plan.id.clone()),
        ("softlabel.codec", canonical::compact(&plan.spec.codec)),
        ("softlabel.teacher", canonical::compact(&plan.spec.teacher)),
        ("softlabel.temperature", temperature.to_string()),
        ("softlabel.probability_error", written.error.to_string()),
    ]
}

/// Rows on their way into the file.
struct Table {
    schema: Arc<Schema>,
    codec: Codec,
    temperature: f32,
    has_positions: bool,
    ids: StringBuilder,
    positions: Int32Builder,
    classes: Int32Builder,
    probabilities: Float64Builder,
    pending: usize,
    written: Exported,
}

impl Table {
    fn new(plan: &Plan, temperature: f32) -> Self {
        Table {
            schema: Arc::new(Schema::new(vec![
                Field::new("id", DataType::Utf8, false),
                Field::new("position", DataType::Int32, true),
                Field::new("class", DataType::Int32, true),
                Field::new("probability", DataType::Float64, false),
            ])),
            codec: plan.spec.codec.clone(),
            temperature,
            has_positions: plan.spec.task == Task::CausalLm,
            ids: StringBuilder::new(),
            positions: Int32Builder::new(),
            classes: Int32Builder::new(),
            probabilities: Float64Builder::new(),
            pending: 0,
            written: Exported {
                examples: 0,
                positions: 0,
                rows: 0,
                error: 0.0,
            },
        }
    }

    fn push(&mut self, row: &Row, position: usize) -> Result<()> {
        let example = &row.example;
        if example.view != 0 {
            let what = format!(
                "example {:?} has view {}; the long table has no column for views",
                example.id, example.view
            );
            return Err(Error::Unsupported(what));
        }
        let too_large = |what: &str| Error::Data(format!("example {:?}: {what} does not fit 31 bits", example.id));
        let at = i32::try_from(position).map_err(|_| too_large("a position"))?;
        let at = self.has_positions.then_some(at);
        let distribution = distribution(&row.targets, &self.codec, position, self.temperature)?;
        let classes = distribution
            .probabilities
            .iter()
            .map(|(class, probability)| (Some(*class), *probability));
        for (class, probability) in classes.chain(distribution.tail.map(|tail| (None, tail))) {
            let class = class.map(i32::try_from).transpose().map_err(|_| too_large("a class"))?;
            self.ids.append_value(&example.id);
            self.positions.append_option(at);
            self.classes.append_option(class);
            self.probabilities.append_value(probability);
            self.pending += 1;
        }
        self.written.positions += 1;
        self.written.error = self.written.error.max(distribution.error);
        Ok(())
    }

    fn take(&mut self) -> Result<RecordBatch> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.ids.finish()),
            Arc::new(self.positions.finish()),
            Arc::new(self.classes.finish()),
            Arc::new(self.probabilities.finish()),
        ];
        self.written.rows += std::mem::take(&mut self.pending) as u64;
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map_err(|error| Error::Bug(format!("rows of the export do not fit its columns: {error}")))
    }
}
