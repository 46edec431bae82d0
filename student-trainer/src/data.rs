//! From a dataset's location or raw files to the splits of a run.

mod cached;
mod raw;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use decant_data::Codec;

use crate::config::{DataConfig, ReadingConfig};
use crate::examples::{Example, Examples};
use crate::fit::Outcomes;
use crate::student::Student;
use crate::{Error, Result};

pub use cached::Cached;
pub use raw::Raw;

/// Where examples come from.
pub enum Source {
    /// A sealed dataset.
    Cached(Box<Cached>),
    /// Raw inputs.
    Raw(Box<Raw>),
}

impl Source {
    /// Opens what the configuration names, and checks that the student fits it; the student adopts a dataset's
    /// tokenizer where it has none.
    ///
    /// # Errors
    /// A dataset that is not sealed or damaged, files that are not there, or a student that does not fit.
    pub fn open(config: &DataConfig, student: &mut Student) -> Result<Self> {
        match &config.dataset {
            Some(location) => Ok(Self::Cached(Box::new(Cached::open(location, student)?))),
            None => Ok(Self::Raw(Box::new(Raw::open(
                &config.inputs,
                &config.reading,
                student,
            )?))),
        }
    }

    /// The outcomes of a softmax.
    pub fn outcomes(&self) -> &Outcomes {
        match self {
            Self::Cached(cached) => &cached.outcomes,
            Self::Raw(raw) => &raw.outcomes,
        }
    }

    /// How soft targets are stored, where there are any.
    pub fn codec(&self) -> Option<&Codec> {
        match self {
            Self::Cached(cached) => Some(cached.codec()),
            Self::Raw(_) => None,
        }
    }

    /// Whether the examples are windows of longer documents.
    pub fn are_windows(&self) -> bool {
        match self {
            Self::Cached(cached) => cached.are_windows(),
            Self::Raw(raw) => raw.are_windows(),
        }
    }

    /// What the examples are, for reports: hashes and identities.
    ///
    /// # Errors
    /// Raw files that cannot be hashed.
    pub fn provenance(&self) -> Result<Value> {
        match self {
            Self::Cached(cached) => Ok(cached.provenance()),
            Self::Raw(raw) => raw.provenance(),
        }
    }

    /// Reads some splits as one.
    ///
    /// # Errors
    /// An unknown split, or an example that the student cannot read.
    pub fn load(&self, splits: &[String], student: &Student) -> Result<Examples> {
        let mut items: Vec<Example> = Vec::new();
        for split in splits {
            match self {
                Self::Cached(cached) => cached.load(split, student, &mut items)?,
                Self::Raw(raw) => raw.load(split, student, &mut items)?,
            }
        }
        Ok(Examples::new(items))
    }
}

/// The nearest split's name, for a message about one that is not there.
fn unknown_split(split: &str, place: &str, known: &[&str]) -> Error {
    let hint = decant_cli::nearest(split, known.iter().copied())
        .map_or(String::new(), |near| format!("; did you mean {near:?}?"));
    Error::Config(format!(
        "{place} has no split {split:?}, only {}{hint}",
        known.join(", ")
    ))
}

/// Refuses a document that the student cannot read in one go.
fn check_length(id: &str, tokens: usize, student: &Student) -> Result<()> {
    match student.config().max_positions() {
        Some(limit) if tokens > limit => Err(Error::Fit(format!(
            "example {id:?} has {tokens} tokens, and the student {} reads at most {limit}; raise \
             max_position_embeddings in its config.json, or capture shorter windows",
            student.path().display()
        ))),
        _ => Ok(()),
    }
}

/// The raw inputs of a configuration: split to path.
pub type Inputs = BTreeMap<String, PathBuf>;

/// How raw inputs are read.
pub type Reading = ReadingConfig;
