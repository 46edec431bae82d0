//! The columns of a table: what the example is, what the teacher said, and a summary for those who read without us.
//!
//! Every list is flat (positions of an example one after the other), because nested lists cost bytes and time, and
//! neither lists nor their elements are null, for the same reason.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef};

use crate::{Codec, Result, Task, Values};

/// The columns of one kind of table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Layout {
    pub(crate) task: Task,
    /// `None`: a shard's inputs, without soft targets.
    pub(crate) codec: Option<Codec>,
    pub(crate) outcomes: u32,
    /// Ascending.
    pub(crate) holes: Vec<u32>,
}

impl Layout {
    /// The columns in order.
    pub(crate) fn schema(&self) -> SchemaRef {
        let mut fields = vec![
            Field::new("id", DataType::Utf8, false),
            Field::new("view", DataType::Int32, false),
        ];
        if self.task.reads_images() {
            // Nullable as in the Hugging Face layout, which `datasets` compares field by field; no image is null.
            fields.push(Field::new("image", DataType::Struct(image_fields()), true));
        } else {
            fields.push(list("input_ids", DataType::Int32));
        }
        fields.push(Field::new("label", DataType::Int64, true));
        if !self.task.reads_images() {
            fields.push(list("loss_mask", DataType::Boolean).with_nullable(true));
        }
        if let Some(codec) = &self.codec {
            fields.push(Field::new("length", DataType::Int32, false));
            fields.push(Field::new("mean_entropy", DataType::Float32, true));
            fields.extend(target_fields(codec));
        }
        Arc::new(Schema::new(fields))
    }
}

fn target_fields(codec: &Codec) -> Vec<Field> {
    match codec {
        Codec::Dense { values } => vec![number_list("logits", *values)],
        Codec::TopK {
            values, temperatures, ..
        } => {
            let mut fields = vec![
                Field::new("mean_tail", DataType::Float32, true),
                list("top_ids", DataType::Int32),
                number_list("top_gaps", *values),
                list("largest", DataType::Float32),
            ];
            fields.extend(temperatures.iter().map(|temperature| {
                list(&tail_column(*temperature), DataType::Float32)
                    .with_metadata(fact("softlabel.temperature", temperature.to_string()))
            }));
            fields
        }
    }
}

/// The column of a temperature's log tails: `log_tail_t1`, and `log_tail_t0_5`, for a dot in a column's name means a
/// nested column to many readers.
pub(crate) fn tail_column(temperature: f32) -> String {
    format!("log_tail_t{}", temperature.to_string().replace('.', "_"))
}

/// `bytes` and `path`, as Hugging Face stores images.
pub(crate) fn image_fields() -> Fields {
    vec![
        Field::new("bytes", DataType::Binary, true),
        Field::new("path", DataType::Utf8, true),
    ]
    .into()
}

/// The element of a list column, named as the Parquet specification has it.
pub(crate) fn element(values: DataType) -> Arc<Field> {
    Arc::new(Field::new("element", values, false))
}

fn list(name: &str, values: DataType) -> Field {
    Field::new(name, DataType::List(element(values)), false)
}

/// A list of stored numbers, with their type in words: bf16 has no Parquet type and travels as its 16 bits.
fn number_list(name: &str, values: Values) -> Field {
    list(name, number_type(values)).with_metadata(fact("softlabel.dtype", values.name().into()))
}

/// The metadata of a field.
fn fact(key: &str, value: String) -> HashMap<String, String> {
    HashMap::from([(key.to_string(), value)])
}

pub(crate) fn number_type(values: Values) -> DataType {
    match values {
        Values::F32 => DataType::Float32,
        Values::F16 => DataType::Float16,
        Values::Bf16 => DataType::UInt16,
    }
}

/// Whether a file has the columns that it should have; other than that, only names, order and types count.
///
/// # Errors
/// The first column that differs, in words without the place.
pub(crate) fn compare(found: &Schema, wanted: &Schema) -> Result<(), String> {
    for (index, want) in wanted.fields().iter().enumerate() {
        let Some(field) = found.fields().get(index) else {
            return Err(format!("column {:?} is missing", want.name()));
        };
        if field.name() != want.name() {
            return Err(format!("column {index} is {:?}, not {:?}", field.name(), want.name()));
        }
        if !same_type(field.data_type(), want.data_type()) {
            let (found, want_type) = (field.data_type(), want.data_type());
            return Err(format!("column {:?} is {found}, not {want_type}", want.name()));
        }
    }
    match found.fields().get(wanted.fields().len()) {
        Some(field) => Err(format!("there is a column {:?} too many", field.name())),
        None => Ok(()),
    }
}

/// Types without the names and nullability of what is inside; nulls are looked for in the values.
fn same_type(left: &DataType, right: &DataType) -> bool {
    match (left, right) {
        (DataType::List(left), DataType::List(right)) => same_type(left.data_type(), right.data_type()),
        (DataType::Struct(left), DataType::Struct(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .zip(right)
                    .all(|(left, right)| left.name() == right.name() && same_type(left.data_type(), right.data_type()))
        }
        _ => left == right,
    }
}
