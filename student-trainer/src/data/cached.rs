//! Examples with soft targets, from a sealed dataset.

use decant_data::{Codec, ExampleContent, Reader, Role, Store};
use decant_models::TextTokenizer;
use serde_json::{Value, json};

use super::{check_length, unknown_split};
use crate::examples::{Content, Example};
use crate::fit::{self, DatasetSide, Outcomes};
use crate::student::Student;
use crate::{Error, Result};

/// A sealed dataset that the student fits.
pub struct Cached {
    reader: Reader,
    location: String,
    pub(super) outcomes: Outcomes,
}

impl Cached {
    /// Opens a dataset and compares it with the student.
    ///
    /// # Errors
    /// A dataset that is not sealed or damaged, or a student that does not fit it.
    pub fn open(location: &str, student: &mut Student) -> Result<Self> {
        let reader = Reader::open(&Store::open(location)?)?;
        let tokenizer = reader.tokenizer_json().map(|json| {
            student.adopt_tokenizer(json)?;
            Ok::<_, Error>(TextTokenizer::from_json(json)?)
        });
        let tokenizer = tokenizer.transpose()?;
        let spec = &reader.plan().spec;
        let outcomes = fit::with_dataset(
            student,
            &DatasetSide {
                location,
                task: spec.task,
                classes: spec.classes.as_deref(),
                tokenizer: tokenizer.as_ref(),
                outcomes: Outcomes {
                    width: spec.outcomes as usize,
                    holes: spec.holes.clone(),
                },
            },
        )?;
        Ok(Self {
            reader,
            location: location.to_owned(),
            outcomes,
        })
    }

    pub(super) fn codec(&self) -> &Codec {
        &self.reader.plan().spec.codec
    }

    pub(super) fn are_windows(&self) -> bool {
        self.reader.plan().spec.window.is_some()
    }

    pub(super) fn provenance(&self) -> Value {
        let plan = self.reader.plan();
        let tables = self
            .reader
            .manifest()
            .files
            .iter()
            .filter(|file| file.role == Role::Table);
        let sums: String = tables
            .map(|file| format!("{}  {}\n", file.object.sha256, file.object.path))
            .collect();
        json!({
            "dataset": {
                "plan": plan.id,
                // Another build captures the same plan with other last bits.
                "tables_sha256": decant_data::sha256_hex(sums.as_bytes()),
                "teacher": plan.spec.teacher,
                "codec": plan.spec.codec,
                "tokenizer": plan.spec.tokenizer,
                "sources": plan.spec.sources,
            }
        })
    }

    pub(super) fn load(&self, split: &str, student: &Student, items: &mut Vec<Example>) -> Result<()> {
        let known = self.reader.splits();
        if !known.contains(&split) {
            return Err(unknown_split(split, &format!("the dataset {}", self.location), &known));
        }
        for row in self.reader.rows(split)? {
            let row = row?;
            let example = row.example;
            let content = match (example.content, student.processor()) {
                (ExampleContent::Tokens(tokens), None) => {
                    check_length(&example.id, tokens.len(), student)?;
                    Content::Tokens(tokens)
                }
                (ExampleContent::Image(bytes), Some(processor)) => {
                    let pixels = processor.decode(&bytes);
                    Content::Pixels(pixels.map_err(|error| Error::Data(format!("example {:?}: {error}", example.id)))?)
                }
                _ => {
                    return Err(Error::Data(format!(
                        "example {:?} is not of the plan's task",
                        example.id
                    )));
                }
            };
            items.push(Example {
                id: example.id,
                view: example.view,
                content,
                label: example.label,
                loss_mask: example.loss_mask,
                targets: Some(row.targets),
            });
        }
        Ok(())
    }
}
