//! Examples without soft targets, from the files that a plan reads too.

use std::path::Path;

use decant_data::input::{self, Content as RawContent, Ids, RawExample, ReadOptions, Window, windows_with_mask};
use serde_json::{Value, json};

use super::{Inputs, Reading, unknown_split};
use crate::examples::{Content, Example};
use crate::fit::{self, Outcomes};
use crate::student::Student;
use crate::{Error, Result};

/// Raw files by split.
pub struct Raw {
    inputs: Inputs,
    options: ReadOptions,
    max_length: usize,
    truncate: bool,
    window: Option<Window>,
    pub(super) outcomes: Outcomes,
}

/// What was left out, for one line at the end.
#[derive(Default)]
struct LeftOut {
    too_long: u64,
    too_short: u64,
    truncated: u64,
}

impl Raw {
    /// Checks that the files are there and that the student can read them.
    ///
    /// # Errors
    /// A missing file, or windows that the student cannot read.
    pub fn open(inputs: &Inputs, reading: &Reading, student: &Student) -> Result<Self> {
        for (split, path) in inputs {
            if !path.exists() {
                return Err(Error::Config(format!(
                    "data.inputs.{split}: there is no {}",
                    path.display()
                )));
            }
        }
        let outcomes = fit::alone(student)?;
        let limit = student.config().max_positions().unwrap_or(usize::MAX);
        let max_length = reading.max_length.unwrap_or(limit);
        if max_length > limit {
            return Err(Error::Config(format!(
                "data.reading.max_length is {max_length}, and the student reads at most {limit} tokens"
            )));
        }
        Ok(Self {
            inputs: inputs.clone(),
            options: ReadOptions {
                text_unit: reading.text_unit,
                text_column: reading.text_column.clone(),
                image_column: reading.image_column.clone(),
                label_column: reading.label_column.clone(),
                id_column: reading.id_column.clone(),
                class_names: student.config().labels.clone(),
            },
            max_length,
            truncate: reading.truncate,
            window: window(reading, max_length, student)?,
            outcomes,
        })
    }

    pub(super) fn are_windows(&self) -> bool {
        self.window.is_some()
    }

    pub(super) fn provenance(&self) -> Result<Value> {
        let mut sources = Vec::new();
        for (split, path) in &self.inputs {
            let digest = input::sha256_of(path)?;
            let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
            sources.push(json!({ "split": split, "name": name, "sha256": digest.sha256, "bytes": digest.bytes }));
        }
        Ok(json!({ "inputs": sources }))
    }

    pub(super) fn load(&self, split: &str, student: &Student, items: &mut Vec<Example>) -> Result<()> {
        let Some(path) = self.inputs.get(split) else {
            let known: Vec<&str> = self.inputs.keys().map(String::as_str).collect();
            return Err(unknown_split(split, "[data.inputs]", &known));
        };
        let mut ids = Ids::default();
        let mut left_out = LeftOut::default();
        let mut reader = input::open(path, &self.options)?;
        for raw in reader.by_ref() {
            let raw = raw?;
            let id = ids.assign(&raw)?;
            self.prepare(id, raw, student, items, &mut left_out)?;
        }
        say(path, &left_out, reader.blank());
        Ok(())
    }

    fn prepare(
        &self,
        id: String,
        raw: RawExample,
        student: &Student,
        items: &mut Vec<Example>,
        left_out: &mut LeftOut,
    ) -> Result<()> {
        let place = raw.place.to_string();
        let refuse = |why: String| Error::Data(format!("{place}: {why}"));
        let example = |id, content, label, loss_mask| Example {
            id,
            view: 0,
            content,
            label,
            loss_mask,
            targets: None,
        };
        let tokens = match (raw.content, student.processor(), student.tokenizer()) {
            (RawContent::Image(bytes), Some(processor), _) => {
                let pixels = processor.decode(&bytes).map_err(|error| refuse(error.to_string()))?;
                let label = raw.label.map(|label| self.class(label)).transpose().map_err(refuse)?;
                items.push(example(id, Content::Pixels(pixels), label, None));
                return Ok(());
            }
            (RawContent::Text(text), None, Some(tokenizer)) => {
                if text.trim().is_empty() {
                    return Err(refuse("the text is empty; remove the example".into()));
                }
                tokenizer.encode(&text).map_err(|error| refuse(error.to_string()))?
            }
            (RawContent::Tokens(tokens), None, _) => tokens,
            (RawContent::Image(_), None, _) => return Err(refuse("an image, but the student reads text".into())),
            _ => return Err(refuse("a text, but the student reads images".into())),
        };
        if let Some(token) = tokens
            .iter()
            .find(|token| **token as usize >= self.outcomes.width || self.outcomes.holes.binary_search(token).is_ok())
        {
            return Err(refuse(format!("token id {token} is not in the student's tokenizer")));
        }
        if let Some(window) = &self.window {
            let before = items.len();
            for (number, (tokens, mask)) in windows_with_mask(&tokens, raw.loss_mask.as_deref(), window).enumerate() {
                items.push(example(Window::id(&id, number), Content::Tokens(tokens), None, mask));
            }
            left_out.too_short += u64::from(items.len() == before);
            return Ok(());
        }
        let (mut tokens, mut mask) = (tokens, raw.loss_mask);
        if tokens.len() > self.max_length {
            if !self.truncate {
                left_out.too_long += 1;
                return Ok(());
            }
            left_out.truncated += 1;
            tokens.truncate(self.max_length);
            if let Some(mask) = &mut mask {
                mask.truncate(self.max_length);
            }
        }
        match tokens.len() {
            0 | 1 => left_out.too_short += 1,
            _ => items.push(example(id, Content::Tokens(tokens), None, mask)),
        }
        Ok(())
    }

    fn class(&self, label: i64) -> Result<u32, String> {
        let classes = self.outcomes.width;
        u32::try_from(label).ok().filter(|label| (*label as usize) < classes).ok_or_else(|| {
            format!("label {label} is none of the student's {classes} classes; correct it, or leave it null where it is not known")
        })
    }
}

fn window(reading: &Reading, max_length: usize, student: &Student) -> Result<Option<Window>> {
    let Some(length) = reading.window else { return Ok(None) };
    let Some(tokenizer) = student.tokenizer() else {
        return Err(Error::Config(
            "data.reading.window is for text, and the student reads images".into(),
        ));
    };
    if length > max_length {
        return Err(Error::Config(format!(
            "data.reading.window is {length}, and an example may have at most {max_length} tokens"
        )));
    }
    let unknown = |token: &String| {
        Error::Config(format!(
            "data.reading.prefix {token:?} is not a token of the student's tokenizer"
        ))
    };
    let prefix = reading
        .prefix
        .as_ref()
        .map(|token| tokenizer.token_to_id(token).ok_or_else(|| unknown(token)));
    Ok(Some(Window::new(length, reading.stride, prefix.transpose()?)?))
}

fn say(path: &Path, left_out: &LeftOut, blank: u64) {
    let LeftOut {
        too_long,
        too_short,
        truncated,
    } = left_out;
    if too_long + too_short + truncated + blank > 0 {
        tracing::info!(
            "{}: left out {too_long} examples that are too long and {too_short} that predict nothing, cut {truncated}, \
             skipped {blank} blank lines",
            path.display()
        );
    }
}
