//! Rows turned into columns.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Float16Array, Float32Array, Int32Array, Int64Array, ListArray,
    RecordBatch, StringArray, StructArray, UInt16Array,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};

use super::Entry;
use crate::schema::{Layout, element, image_fields};
use crate::{Codec, Error, Example, ExampleContent, Result, SoftTargets, Values};

/// Columns in the order of [`Layout::schema`].
pub(super) fn record_batch(layout: &Layout, entries: Vec<Entry>) -> Result<RecordBatch> {
    let examples = || entries.iter().map(|entry| &entry.example);
    let views = examples()
        .map(|example| signed(example.view))
        .collect::<Result<Vec<_>>>()?;
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(
            examples().map(|example| example.id.as_str()),
        )),
        Arc::new(Int32Array::from(views)),
    ];
    if layout.task.reads_images() {
        columns.push(images(examples()));
    } else {
        columns.push(lists(examples().map(Example::tokens), signed_array)?);
    }
    columns.push(Arc::new(Int64Array::from_iter(
        examples().map(|example| example.label.map(i64::from)),
    )));
    if !layout.task.reads_images() {
        columns.push(masks(examples())?);
    }
    if let Some(codec) = &layout.codec {
        target_columns(layout, codec, &entries, &mut columns)?;
    }
    RecordBatch::try_new(layout.schema(), columns)
        .map_err(|error| Error::Bug(format!("the columns of a table: {error}")))
}

fn target_columns(layout: &Layout, codec: &Codec, entries: &[Entry], columns: &mut Vec<ArrayRef>) -> Result<()> {
    let lengths = entries.iter().map(|entry| signed(entry.example.positions(layout.task)));
    columns.push(Arc::new(Int32Array::from(lengths.collect::<Result<Vec<_>>>()?)));
    let mean_entropy = entries
        .iter()
        .map(|entry| entry.targets.as_ref().and_then(|(_, entropy)| *entropy));
    columns.push(Arc::new(Float32Array::from_iter(mean_entropy)));
    let targets: Vec<&SoftTargets> = entries
        .iter()
        .filter_map(|entry| entry.targets.as_ref().map(|(targets, _)| targets))
        .collect();
    let other = || Error::Bug("a row of another codec than the table's".into());
    match codec {
        Codec::Dense { values } => {
            let rows = targets.iter().map(|targets| match targets {
                SoftTargets::Dense { logits, .. } => Ok(logits.as_slice()),
                SoftTargets::TopK { .. } => Err(other()),
            });
            columns.push(numbers(&rows.collect::<Result<Vec<_>>>()?, *values)?);
        }
        Codec::TopK {
            values, temperatures, ..
        } => {
            let mean_tails = targets.iter().map(|targets| targets.mean_tail());
            columns.push(Arc::new(Float32Array::from_iter(mean_tails)));
            let rows = targets.iter().map(|targets| match targets {
                SoftTargets::TopK {
                    ids,
                    gaps,
                    largest,
                    log_tails,
                    ..
                } => Ok((ids, gaps, largest, log_tails)),
                SoftTargets::Dense { .. } => Err(other()),
            });
            let rows = rows.collect::<Result<Vec<_>>>()?;
            columns.push(lists(rows.iter().map(|row| row.0.as_slice()), signed_array)?);
            columns.push(numbers(
                &rows.iter().map(|row| row.1.as_slice()).collect::<Vec<_>>(),
                *values,
            )?);
            columns.push(numbers(
                &rows.iter().map(|row| row.2.as_slice()).collect::<Vec<_>>(),
                Values::F32,
            )?);
            for temperature in 0..temperatures.len() {
                let tails = rows.iter().map(|row| row.3[temperature].as_slice()).collect::<Vec<_>>();
                columns.push(numbers(&tails, Values::F32)?);
            }
        }
    }
    Ok(())
}

fn images<'a>(examples: impl Iterator<Item = &'a Example>) -> ArrayRef {
    let bytes = examples.map(|example| match &example.content {
        ExampleContent::Image(bytes) => Some(bytes.as_slice()),
        ExampleContent::Tokens(_) => None,
    });
    let bytes = BinaryArray::from_iter(bytes);
    let paths = StringArray::new_null(bytes.len());
    Arc::new(StructArray::new(
        image_fields(),
        vec![Arc::new(bytes), Arc::new(paths)],
        None,
    ))
}

fn masks<'a>(examples: impl Iterator<Item = &'a Example> + Clone) -> Result<ArrayRef> {
    let mask = |example: &'a Example| example.loss_mask.as_deref();
    let present = NullBuffer::from_iter(examples.clone().map(|example| mask(example).is_some()));
    let offsets = offsets(examples.clone().map(|example| mask(example).map_or(0, <[bool]>::len)))?;
    let values = BooleanArray::from_iter(
        examples
            .flat_map(|example| mask(example).unwrap_or_default())
            .map(|bit| Some(*bit)),
    );
    // The schema's elements are never null; the builder of booleans needs to be told.
    let values = BooleanArray::new(values.values().clone(), None);
    Ok(Arc::new(ListArray::new(
        element(values.data_type().clone()),
        offsets,
        Arc::new(values),
        Some(present),
    )))
}

/// A list column of numbers in their stored type.
fn numbers(rows: &[&[f32]], values: Values) -> Result<ArrayRef> {
    lists(rows.iter().copied(), |numbers| {
        let numbers = numbers.iter().copied();
        Ok(match values {
            Values::F32 => Arc::new(Float32Array::from_iter_values(numbers)),
            Values::F16 => Arc::new(Float16Array::from_iter_values(numbers.map(half::f16::from_f32))),
            Values::Bf16 => Arc::new(UInt16Array::from_iter_values(
                numbers.map(|number| half::bf16::from_f32(number).to_bits()),
            )),
        })
    })
}

/// A list column from the rows' slices; `array` turns them, joined, into the array of the elements.
fn lists<'a, T: Copy + 'a>(
    rows: impl Iterator<Item = &'a [T]> + Clone,
    array: impl FnOnce(&[T]) -> Result<ArrayRef>,
) -> Result<ArrayRef> {
    let offsets = offsets(rows.clone().map(<[T]>::len))?;
    let joined: Vec<T> = rows.flat_map(|row| row.iter().copied()).collect();
    let values = array(&joined)?;
    Ok(Arc::new(ListArray::new(
        element(values.data_type().clone()),
        offsets,
        values,
        None,
    )))
}

fn offsets(lengths: impl Iterator<Item = usize>) -> Result<OffsetBuffer<i32>> {
    let mut offsets = vec![0_i32];
    let mut end = 0_usize;
    for length in lengths {
        end += length;
        offsets.push(i32::try_from(end).map_err(|_| {
            Error::Unsupported(format!(
                "an example with {end} stored numbers; a Parquet list of ours holds 2^31 - 1, so cut it shorter"
            ))
        })?);
    }
    Ok(OffsetBuffer::new(offsets.into()))
}

fn signed_array(numbers: &[u32]) -> Result<ArrayRef> {
    let numbers = numbers
        .iter()
        .map(|number| signed(*number))
        .collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(Int32Array::from(numbers)))
}

fn signed<N: TryInto<i32> + Copy + std::fmt::Display>(number: N) -> Result<i32> {
    number
        .try_into()
        .map_err(|_| Error::Unsupported(format!("{number} does not fit 31 bits")))
}
