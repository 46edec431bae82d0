//! From one example of an input file to the examples that the teacher is asked about.

use crate::teacher::{Profile, Reads};
use crate::{Error, Result};
use decant_data::input::{Content, RawExample, Window, windows_with_mask};
use decant_data::{Example, ExampleContent, PlanSpec, Task};
use decant_models::TextTokenizer;

/// What became of one example of an input file.
pub(super) enum Prepared {
    /// It is asked about, as one example or as the windows of a document.
    Kept {
        /// In order.
        examples: Vec<Example>,
        /// Whether it was cut to the longest length.
        truncated: bool,
    },
    /// It is longer than allowed.
    TooLong {
        /// Where it stands.
        place: String,
        /// Its tokens.
        tokens: usize,
    },
    /// It predicts nothing.
    TooShort,
}

/// Tokenises, cuts and checks examples; shared by the threads that do so.
pub(super) struct Preparer<'a> {
    pub(super) profile: &'a Profile,
    pub(super) spec: &'a PlanSpec,
}

impl Preparer<'_> {
    /// Prepares one example, which `id` names from here on.
    ///
    /// # Errors
    /// An example that the teacher cannot read, or a label that is none of its classes.
    pub(super) fn prepare(&self, id: String, raw: RawExample) -> Result<Prepared> {
        let place = raw.place.to_string();
        let refuse = |reason: String| Error::Example {
            place: place.clone(),
            reason,
        };
        let label = self.label(raw.label).map_err(refuse)?;
        match (self.profile.reads(), raw.content) {
            (Reads::Images(processor), Content::Image(bytes)) => {
                processor.decode(&bytes).map_err(|error| refuse(error.to_string()))?;
                let content = ExampleContent::Image(bytes);
                let example = Example {
                    id,
                    view: 0,
                    content,
                    label,
                    loss_mask: None,
                };
                Ok(Prepared::Kept {
                    examples: vec![example],
                    truncated: false,
                })
            }
            (Reads::Tokens(tokenizer), content) => {
                let tokens = match content {
                    Content::Tokens(tokens) => tokens,
                    Content::Text(text) => encode(tokenizer, &text).map_err(refuse)?,
                    Content::Image(_) => return Err(refuse("an image, but the teacher reads text".to_owned())),
                };
                self.profile.check_tokens(&tokens).map_err(refuse)?;
                Ok(self.cut(id, tokens, raw.loss_mask, label, place))
            }
            (Reads::Images(_), _) => Err(refuse("a text, but the teacher reads images".to_owned())),
        }
    }

    /// The label, where it is one of the teacher's classes. A language model has none.
    fn label(&self, label: Option<i64>) -> Result<Option<u32>, String> {
        let Some(label) = label.filter(|_| self.spec.task != Task::CausalLm) else {
            return Ok(None);
        };
        match u32::try_from(label) {
            Ok(label) if label < self.spec.outcomes => Ok(Some(label)),
            _ => Err(format!(
                "label {label} is none of the teacher's {} classes; correct it, or leave it null where it is not known",
                self.spec.outcomes
            )),
        }
    }

    fn cut(
        &self,
        id: String,
        mut tokens: Vec<u32>,
        mut mask: Option<Vec<bool>>,
        label: Option<u32>,
        place: String,
    ) -> Prepared {
        if let Some(window) = &self.spec.window {
            return cut_windows(&id, &tokens, mask.as_deref(), window, label);
        }
        let limit = self.spec.max_length.map_or(usize::MAX, |limit| limit as usize);
        let truncated = tokens.len() > limit;
        if truncated && !self.spec.truncate {
            return Prepared::TooLong {
                place,
                tokens: tokens.len(),
            };
        }
        tokens.truncate(limit);
        if let Some(mask) = &mut mask {
            mask.truncate(limit);
        }
        if tokens.len() < 2 {
            return Prepared::TooShort;
        }
        let content = ExampleContent::Tokens(tokens);
        Prepared::Kept {
            examples: vec![Example {
                id,
                view: 0,
                content,
                label,
                loss_mask: mask,
            }],
            truncated,
        }
    }
}

fn cut_windows(id: &str, tokens: &[u32], mask: Option<&[bool]>, window: &Window, label: Option<u32>) -> Prepared {
    let examples: Vec<Example> = windows_with_mask(tokens, mask, window)
        .enumerate()
        .map(|(number, (tokens, loss_mask))| Example {
            id: Window::id(id, number),
            view: 0,
            content: ExampleContent::Tokens(tokens),
            label,
            loss_mask,
        })
        .collect();
    match examples.is_empty() {
        true => Prepared::TooShort,
        false => Prepared::Kept {
            examples,
            truncated: false,
        },
    }
}

fn encode(tokenizer: &TextTokenizer, text: &str) -> Result<Vec<u32>, String> {
    match text.trim().is_empty() {
        true => Err("the text is empty; remove the example".to_owned()),
        false => tokenizer.encode(text).map_err(|error| error.to_string()),
    }
}
