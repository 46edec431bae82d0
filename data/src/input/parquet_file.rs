//! Parquet: the image layout of Hugging Face `datasets`, texts, or token ids.

use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::source::{open_file, wrong};
use super::{Content, Examples, MASK, Place, RawExample, ReadOptions, TOKENS};
use crate::{Error, Result};

/// Rows decoded at a time: few, for the sake of images.
const ROWS: usize = 64;

#[derive(Clone, Copy)]
enum Holds {
    Text,
    Tokens,
    Image,
}

pub(super) struct ParquetExamples {
    batches: ParquetRecordBatchReader,
    batch: Option<RecordBatch>,
    in_batch: usize,
    row: u64,
    holds: Holds,
    name: Arc<str>,
    options: ReadOptions,
}

impl ParquetExamples {
    pub(super) fn open(path: &Path, name: Arc<str>, options: &ReadOptions) -> Result<Self> {
        // What the file says of itself, not what the Arrow schema inside it adds: fewer types for the same values.
        let plain = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let file = open_file(path)?;
        let builder = reading(&name, || {
            ParquetRecordBatchReaderBuilder::try_new_with_options(file, plain)
        })?;
        let schema = Arc::clone(builder.schema());
        let holds = content_kind(&schema, &name, options)?;
        check_types(&schema, &name, holds, options)?;
        let content = content_column(holds, options);
        let wanted = [content, MASK, &options.id_column, &options.label_column];
        let roots = schema.fields().iter().enumerate();
        let roots = roots
            .filter(|(_, field)| wanted.contains(&field.name().as_str()))
            .map(|(root, _)| root);
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
        let batches = reading(&name, || builder.with_projection(mask).with_batch_size(ROWS).build())?;
        Ok(ParquetExamples {
            batches,
            batch: None,
            in_batch: 0,
            row: 0,
            holds,
            name,
            options: options.clone(),
        })
    }

    fn advance(&mut self) -> Result<Option<RawExample>> {
        loop {
            if let Some(batch) = self.batch.as_ref().filter(|batch| self.in_batch < batch.num_rows()) {
                let row = self.in_batch;
                let place = Place::row(&self.name, self.row);
                self.in_batch += 1;
                self.row += 1;
                return example(batch, row, place, self.holds, &self.options).map(Some);
            }
            self.in_batch = 0;
            let batches = &mut self.batches;
            self.batch = reading(&self.name, || batches.next().transpose())?;
            if self.batch.is_none() {
                return Ok(None);
            }
        }
    }
}

impl Examples for ParquetExamples {
    fn next(&mut self) -> Option<Result<RawExample>> {
        self.advance().transpose()
    }
}

/// Runs a step of the Parquet library, which panics on some damaged files instead of refusing them.
fn reading<T, E: Display>(name: &str, step: impl FnOnce() -> Result<T, E>) -> Result<T> {
    let why = match catch_unwind(AssertUnwindSafe(step)) {
        Ok(Ok(done)) => return Ok(done),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it is damaged".to_owned(),
    };
    Err(Error::Input(format!(
        "{name}: not readable as Parquet: {why}; write it again with zstd or snappy, or fetch it whole"
    )))
}

fn content_column(holds: Holds, options: &ReadOptions) -> &str {
    match holds {
        Holds::Text => &options.text_column,
        Holds::Tokens => TOKENS,
        Holds::Image => &options.image_column,
    }
}

/// The one of the three content columns that the file has.
fn content_kind(schema: &Schema, name: &str, options: &ReadOptions) -> Result<Holds> {
    let kinds = [Holds::Text, Holds::Tokens, Holds::Image];
    let has = |holds: &Holds| schema.column_with_name(content_column(*holds, options)).is_some();
    let quoted = |kinds: &[Holds]| {
        let names: Vec<_> = kinds
            .iter()
            .map(|holds| format!("`{}`", content_column(*holds, options)))
            .collect();
        names.join(", ")
    };
    let found: Vec<Holds> = kinds.into_iter().filter(has).collect();
    match found.as_slice() {
        [one] => Ok(*one),
        [] => {
            let columns: Vec<_> = schema
                .fields()
                .iter()
                .map(|field| format!("`{}`", field.name()))
                .collect();
            Err(Error::Input(format!(
                "{name}: none of the columns {}; it has {}: name the one to read",
                quoted(&kinds),
                columns.join(", ")
            )))
        }
        several => Err(Error::Input(format!(
            "{name}: an example has one content, but there are columns {}; keep one of them",
            quoted(several)
        ))),
    }
}

fn is_integer(kind: &DataType) -> bool {
    kind.is_integer()
}

fn list_of(kind: &DataType, item: impl Fn(&DataType) -> bool) -> bool {
    matches!(kind, DataType::List(field) if item(field.data_type()))
}

/// Refuses a file whose columns have other types than they must, before its first row.
fn check_types(schema: &Schema, name: &str, holds: Holds, options: &ReadOptions) -> Result<()> {
    let check = |column: &str, fits: &dyn Fn(&DataType) -> bool, must: &str| match schema.field_with_name(column) {
        Ok(field) if !fits(field.data_type()) => Err(Error::Input(format!(
            "{name}: column `{column}` has type {}, but it must be {must}",
            field.data_type()
        ))),
        _ => Ok(()),
    };
    let content = content_column(holds, options);
    match holds {
        Holds::Text => check(content, &|kind| *kind == DataType::Utf8, "a string")?,
        Holds::Tokens => check(content, &|kind| list_of(kind, is_integer), "a list of integers")?,
        Holds::Image => check(content, &is_image, "struct<bytes: binary, path: string>, or binary")?,
    }
    let is_mask = |kind: &DataType| list_of(kind, |item| item.is_integer() || *item == DataType::Boolean);
    check(MASK, &is_mask, "a list of booleans")?;
    check(
        &options.id_column,
        &|kind| kind.is_integer() || *kind == DataType::Utf8,
        "a string or an integer",
    )?;
    let by_name = options.class_names.is_some();
    let is_label = |kind: &DataType| kind.is_integer() || *kind == DataType::Null || by_name && *kind == DataType::Utf8;
    let must = if by_name {
        "an integer or the name of a class"
    } else {
        "an integer (the class names are not known)"
    };
    check(&options.label_column, &is_label, must)
}

fn is_image(kind: &DataType) -> bool {
    match kind {
        DataType::Struct(fields) => fields
            .iter()
            .any(|f| f.name() == "bytes" && *f.data_type() == DataType::Binary),
        other => *other == DataType::Binary,
    }
}

fn example(batch: &RecordBatch, row: usize, place: Place, holds: Holds, options: &ReadOptions) -> Result<RawExample> {
    let column = |name: &str| batch.column_by_name(name).filter(|column| column.is_valid(row));
    let name = content_column(holds, options);
    let Some(values) = column(name) else {
        return Err(wrong(&place, format!("column `{name}` is null; leave the row out")));
    };
    let content = match holds {
        Holds::Text => text(values, row, name, &place)?,
        Holds::Tokens => tokens(values, row, &place)?,
        Holds::Image => image(values, row, name, &place)?,
    };
    let loss_mask = column(MASK)
        .map(|values| mask(values, row, &content, &place))
        .transpose()?;
    let id = column(&options.id_column).map(|values| match values.data_type() {
        DataType::Utf8 => values.as_string::<i32>().value(row).to_owned(),
        _ => integer(values, row).map(|id| id.to_string()).unwrap_or_default(),
    });
    let label = match column(&options.label_column) {
        None => None,
        Some(names) if *names.data_type() == DataType::Utf8 => {
            let what = format!("column `{}`", options.label_column);
            Some(options.class_of(names.as_string::<i32>().value(row), &what, &place)?)
        }
        Some(numbers) => match integer(numbers, row).map(i64::try_from) {
            Some(Err(_)) => {
                return Err(wrong(
                    &place,
                    format!("column `{}`: no class has so large a number", options.label_column),
                ));
            }
            Some(Ok(label)) => Some(label),
            None => None,
        },
    };
    Ok(RawExample {
        id,
        content,
        label,
        loss_mask,
        place,
    })
}

fn text(values: &ArrayRef, row: usize, name: &str, place: &Place) -> Result<Content> {
    let text = values.as_string::<i32>().value(row);
    if text.trim().is_empty() {
        return Err(wrong(
            place,
            format!("column `{name}`: the text is empty; leave the row out"),
        ));
    }
    Ok(Content::Text(text.to_owned()))
}

fn tokens(values: &ArrayRef, row: usize, place: &Place) -> Result<Content> {
    let list = values.as_list::<i32>().value(row);
    if list.is_empty() {
        return Err(wrong(place, format!("column `{TOKENS}`: no tokens; leave the row out")));
    }
    let token = |entry: usize| {
        let token = integer(&list, entry);
        token.and_then(|token| u32::try_from(token).ok()).ok_or_else(|| {
            let found = token.map_or("null".into(), |token| token.to_string());
            let must = "but it must be a token id, 0 or more";
            wrong(place, format!("column `{TOKENS}`: entry {entry} is {found}, {must}"))
        })
    };
    Ok(Content::Tokens((0..list.len()).map(token).collect::<Result<_>>()?))
}

fn image(values: &ArrayRef, row: usize, name: &str, place: &Place) -> Result<Content> {
    let bytes = match values.as_struct_opt() {
        Some(fields) => fields.column_by_name("bytes"),
        None => Some(values),
    };
    match bytes
        .filter(|bytes| bytes.is_valid(row))
        .map(|bytes| bytes.as_binary::<i32>().value(row))
    {
        Some(bytes) if !bytes.is_empty() => Ok(Content::Image(bytes.to_vec())),
        _ => Err(wrong(
            place,
            format!("column `{name}` has no bytes; write the images into the file, not their paths"),
        )),
    }
}

fn mask(values: &ArrayRef, row: usize, content: &Content, place: &Place) -> Result<Vec<bool>> {
    let Content::Tokens(tokens) = content else {
        return Err(wrong(
            place,
            format!("column `{MASK}` goes with `{TOKENS}` only: nothing else has tokens yet"),
        ));
    };
    let list = values.as_list::<i32>().value(row);
    if list.len() != tokens.len() {
        let (mask, tokens) = (list.len(), tokens.len());
        return Err(wrong(
            place,
            format!("column `{MASK}`: {mask} entries for {tokens} tokens; give one for each"),
        ));
    }
    let entry = |entry: usize| match list.as_boolean_opt() {
        Some(counts) if counts.is_valid(entry) => Ok(counts.value(entry)),
        None if matches!(integer(&list, entry), Some(0 | 1)) => Ok(integer(&list, entry) == Some(1)),
        _ => Err(wrong(
            place,
            format!("column `{MASK}`: entry {entry} is neither true (1) nor false (0)"),
        )),
    };
    (0..list.len()).map(entry).collect()
}

/// An integer of any width; `None` for null.
fn integer(values: &ArrayRef, row: usize) -> Option<i128> {
    if values.is_null(row) {
        return None;
    }
    Some(match values.data_type() {
        DataType::Int8 => values.as_primitive::<Int8Type>().value(row).into(),
        DataType::Int16 => values.as_primitive::<Int16Type>().value(row).into(),
        DataType::Int32 => values.as_primitive::<Int32Type>().value(row).into(),
        DataType::Int64 => values.as_primitive::<Int64Type>().value(row).into(),
        DataType::UInt8 => values.as_primitive::<UInt8Type>().value(row).into(),
        DataType::UInt16 => values.as_primitive::<UInt16Type>().value(row).into(),
        DataType::UInt32 => values.as_primitive::<UInt32Type>().value(row).into(),
        DataType::UInt64 => values.as_primitive::<UInt64Type>().value(row).into(),
        _ => return None,
    })
}
