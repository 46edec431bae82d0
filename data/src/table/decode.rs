//! Columns turned into rows, with everything that a row promises looked at.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float16Type, Float32Type, Int32Type, Int64Type, UInt16Type};
use arrow_array::{Array, ArrayRef, ListArray, RecordBatch};

use crate::schema::{Layout, tail_column};
use crate::{Codec, Error, Example, ExampleContent, Result, Row, SoftTargets, Values};

/// Reads the rows of one batch, which stand in the file from row `first` on.
pub(crate) struct Decoder<'a> {
    pub(crate) place: &'a str,
    pub(crate) layout: &'a Layout,
    pub(crate) batch: &'a RecordBatch,
    pub(crate) first: u64,
}

impl Decoder<'_> {
    /// Every example with its soft targets, for a layout that has a codec.
    pub(crate) fn rows(&self) -> Result<Vec<Row>> {
        let codec = self
            .layout
            .codec
            .as_ref()
            .ok_or_else(|| Error::Bug("a table of inputs has no rows".into()))?;
        let lengths = self.column("length")?.as_primitive::<Int32Type>();
        let entropies = self.column("mean_entropy")?.as_primitive::<Float32Type>();
        (0..self.batch.num_rows())
            .map(|row| {
                let example = self.example(row)?;
                let positions = example.positions(self.layout.task);
                if usize::try_from(lengths.value(row)) != Ok(positions) {
                    let (length, task) = (lengths.value(row), self.layout.task.name());
                    return Err(self.wrong(
                        row,
                        format!("length is {length}, but under {task} it has {positions} positions"),
                    ));
                }
                let targets = self.targets(codec, row, positions)?;
                let checked = targets.check(codec, positions, self.layout.outcomes, &self.layout.holes);
                checked.map_err(|why| self.wrong(row, why))?;
                let mean_entropy = entropies.is_valid(row).then(|| entropies.value(row));
                if mean_entropy.is_some_and(|nats| !nats.is_finite()) || mean_entropy.is_some() != (positions > 0) {
                    return Err(self.wrong(
                        row,
                        format!("mean_entropy is {mean_entropy:?} for {positions} positions"),
                    ));
                }
                Ok(Row {
                    example,
                    targets,
                    mean_entropy,
                })
            })
            .collect()
    }

    /// Every example.
    pub(crate) fn examples(&self) -> Result<Vec<Example>> {
        (0..self.batch.num_rows()).map(|row| self.example(row)).collect()
    }

    fn example(&self, row: usize) -> Result<Example> {
        let id = self.column("id")?.as_string::<i32>().value(row).to_string();
        let view = self.unsigned(row, "view", self.column("view")?.as_primitive::<Int32Type>().value(row))?;
        let content = if self.layout.task.reads_images() {
            let bytes = self.column("image")?.as_struct().column(0);
            if bytes.is_null(row) {
                return Err(self.wrong(row, "image is null".into()));
            }
            ExampleContent::Image(bytes.as_binary::<i32>().value(row).to_vec())
        } else {
            ExampleContent::Tokens(self.ids("input_ids", row)?)
        };
        let labels = self.column("label")?.as_primitive::<Int64Type>();
        let label = labels.is_valid(row).then(|| labels.value(row));
        let label = label.map(|label| u32::try_from(label).map_err(|_| self.wrong(row, format!("label is {label}"))));
        let loss_mask = match self.layout.task.reads_images() {
            true => None,
            false => self.mask(row)?,
        };
        let example = Example {
            id,
            view,
            content,
            label: label.transpose()?,
            loss_mask,
        };
        example
            .check(self.layout.task, self.layout.outcomes)
            .map_err(|error| self.wrong(row, error.to_string()))?;
        Ok(example)
    }

    fn mask(&self, row: usize) -> Result<Option<Vec<bool>>> {
        let masks = self.column("loss_mask")?.as_list::<i32>();
        if masks.is_null(row) {
            return Ok(None);
        }
        let mask = masks.value(row);
        self.no_nulls(&mask, "loss_mask", row)?;
        Ok(Some(mask.as_boolean().values().iter().collect()))
    }

    fn targets(&self, codec: &Codec, row: usize, positions: usize) -> Result<SoftTargets> {
        let outcomes = self.layout.outcomes as usize;
        match codec {
            Codec::Dense { values } => Ok(SoftTargets::Dense {
                classes: outcomes,
                logits: self.numbers("logits", *values, row)?,
            }),
            Codec::TopK {
                values, temperatures, ..
            } => {
                let kept = codec.kept(self.layout.outcomes, self.layout.holes.len());
                let entries = u32::try_from(positions * kept);
                entries
                    .map_err(|_| self.wrong(row, format!("{positions} positions of {kept} entries are too many")))?;
                let tails = temperatures
                    .iter()
                    .map(|t| self.numbers(&tail_column(*t), Values::F32, row));
                Ok(SoftTargets::TopK {
                    offsets: (0..=positions).map(|position| (position * kept) as u32).collect(),
                    ids: self.ids("top_ids", row)?,
                    gaps: self.numbers("top_gaps", *values, row)?,
                    largest: self.numbers("largest", Values::F32, row)?,
                    log_tails: tails.collect::<Result<_>>()?,
                })
            }
        }
    }

    fn ids(&self, name: &str, row: usize) -> Result<Vec<u32>> {
        let list = self.list(name, row)?;
        list.as_primitive::<Int32Type>()
            .values()
            .iter()
            .map(|id| self.unsigned(row, name, *id))
            .collect()
    }

    fn numbers(&self, name: &str, values: Values, row: usize) -> Result<Vec<f32>> {
        let list = self.list(name, row)?;
        Ok(match values {
            Values::F32 => list.as_primitive::<Float32Type>().values().to_vec(),
            Values::F16 => list
                .as_primitive::<Float16Type>()
                .values()
                .iter()
                .map(|value| value.to_f32())
                .collect(),
            Values::Bf16 => {
                let bits = list.as_primitive::<UInt16Type>().values().iter();
                bits.map(|bits| half::bf16::from_bits(*bits).to_f32()).collect()
            }
        })
    }

    fn list(&self, name: &str, row: usize) -> Result<ArrayRef> {
        let lists: &ListArray = self.column(name)?.as_list::<i32>();
        let list = lists.value(row);
        self.no_nulls(&list, name, row)?;
        Ok(list)
    }

    /// A column of the layout: [`Table`](super::Table) has compared names and types. Only some may hold nulls.
    fn column(&self, name: &str) -> Result<&ArrayRef> {
        let missing = || Error::Bug(format!("{}: column {name:?} was not looked for", self.place));
        let column = self.batch.column_by_name(name).ok_or_else(missing)?;
        let may_be_null = matches!(name, "label" | "loss_mask" | "mean_entropy");
        if !may_be_null && column.null_count() > 0 {
            let row = (0..column.len()).find(|row| column.is_null(*row)).unwrap_or(0);
            return Err(self.wrong(row, format!("{name} is null")));
        }
        Ok(column)
    }

    fn no_nulls(&self, list: &ArrayRef, name: &str, row: usize) -> Result<()> {
        match list.null_count() {
            0 => Ok(()),
            _ => Err(self.wrong(row, format!("{name} has a null in it"))),
        }
    }

    fn unsigned(&self, row: usize, name: &str, value: i32) -> Result<u32> {
        u32::try_from(value).map_err(|_| self.wrong(row, format!("{name} has a {value}")))
    }

    fn wrong(&self, row: usize, why: String) -> Error {
        Error::Data(format!("{} row {}: {why}", self.place, self.first + row as u64))
    }
}
