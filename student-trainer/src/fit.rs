//! Whether a student and its data belong together, and what the outcomes of its softmax are.

use std::collections::BTreeMap;

use decant_data::{Task, class_difference, map_difference};
use decant_models::TextTokenizer;

use crate::student::Student;
use crate::{Error, Result};

/// Which outputs of a head are outcomes: the first `width`, without the holes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcomes {
    /// Classes, or 1 + the largest id of the tokenizer's map.
    pub width: usize,
    /// Ids below it that the tokenizer's map lacks, ascending.
    pub holes: Vec<u32>,
}

impl Outcomes {
    /// Those of a classifier.
    pub fn classes(count: usize) -> Self {
        Self {
            width: count,
            holes: Vec::new(),
        }
    }

    /// Those of a tokenizer's id-to-token map.
    pub fn tokens(map: &BTreeMap<u32, String>) -> Self {
        let width = map.keys().last().map_or(0, |last| *last as usize + 1);
        let holes = (0..width as u32).filter(|id| !map.contains_key(id)).collect();
        Self { width, holes }
    }

    /// How many of a head's outputs are none of them.
    pub fn outside(&self, outputs: usize) -> usize {
        outputs.saturating_sub(self.width) + self.holes.len()
    }
}

/// The outcomes of a student that learns from raw inputs.
///
/// # Errors
/// A language model without a tokenizer, or with a smaller vocabulary than its tokenizer.
pub fn alone(student: &Student) -> Result<Outcomes> {
    match student.task()? {
        Task::ImageClassification => Ok(Outcomes::classes(student.config().outcomes())),
        Task::CausalLm => {
            let tokenizer = student.tokenizer().ok_or_else(|| {
                Error::Fit(format!(
                    "{} holds no tokenizer.json, and raw texts need one; copy the tokenizer there",
                    student.path().display()
                ))
            })?;
            covered(student, Outcomes::tokens(tokenizer.vocabulary()), "its tokenizer")
        }
        task => Err(unsupported(task)),
    }
}

/// What a dataset says of its soft targets, for [`with_dataset`].
pub struct DatasetSide<'a> {
    /// Where it lies.
    pub location: &'a str,
    /// What its teacher does.
    pub task: Task,
    /// The teacher's class names.
    pub classes: Option<&'a [String]>,
    /// The teacher's tokenizer.
    pub tokenizer: Option<&'a TextTokenizer>,
    /// The softmax of its rows.
    pub outcomes: Outcomes,
}

/// Compares a student with a dataset.
///
/// # Errors
/// Another task, other class names, another id-to-token map, or fewer outputs than ids; both sides are named.
pub fn with_dataset(student: &Student, dataset: &DatasetSide<'_>) -> Result<Outcomes> {
    let task = student.task()?;
    let (ours, theirs) = (
        format!("the student {}", student.path().display()),
        format!("the dataset {}", dataset.location),
    );
    if task != dataset.task {
        let (task, other) = (task.name(), dataset.task.name());
        return Err(Error::Fit(format!("{ours} is for {task}, {theirs} for {other}")));
    }
    match task {
        Task::ImageClassification => {
            let classes = dataset.classes.unwrap_or_default();
            let labels = student.config().labels.as_deref().unwrap_or_default();
            if let Some(difference) = class_difference(&ours, labels, &theirs, classes) {
                return Err(Error::Fit(format!(
                    "{difference}; correct id2label in the student's config.json"
                )));
            }
        }
        Task::CausalLm => {
            let (Some(own), Some(other)) = (student.tokenizer(), dataset.tokenizer) else {
                return Err(Error::Fit(format!("{theirs} holds no tokenizer.json")));
            };
            if let Some(difference) = map_difference(&ours, own.vocabulary(), &theirs, other.vocabulary()) {
                return Err(Error::Fit(format!(
                    "{difference}; use the dataset's tokenizer for the student"
                )));
            }
        }
        task => return Err(unsupported(task)),
    }
    covered(student, dataset.outcomes.clone(), &theirs)
}

/// Whether the head has an output for every outcome; says how many it has beyond them.
fn covered(student: &Student, outcomes: Outcomes, source: &str) -> Result<Outcomes> {
    let outputs = student.config().outcomes();
    if outputs < outcomes.width {
        return Err(Error::Fit(format!(
            "the student {} has {outputs} outputs, but {source} has {} ids; raise vocab_size in its config.json",
            student.path().display(),
            outcomes.width
        )));
    }
    let outside = outcomes.outside(outputs);
    if outside > 0 {
        tracing::info!(
            "{outside} of the student's {outputs} outputs have no token: they are outside the softmax on both sides"
        );
    }
    Ok(outcomes)
}

fn unsupported(task: Task) -> Error {
    Error::Unsupported(format!("students for {} cannot be trained yet", task.name()))
}
