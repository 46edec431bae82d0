//! JSON lines: an object a line with a text or token ids, and whatever else is known of it.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::source::wrong;
use super::text::Lines;
use super::{Content, Examples, MASK, Place, RawExample, ReadOptions, TOKENS};
use crate::Result;

pub(super) struct JsonLines {
    lines: Lines,
    options: ReadOptions,
}

impl JsonLines {
    pub(super) fn open(path: &Path, name: Arc<str>, options: &ReadOptions) -> Result<Self> {
        Ok(JsonLines {
            lines: Lines::open(path, name)?,
            options: options.clone(),
        })
    }
}

impl Examples for JsonLines {
    fn next(&mut self) -> Option<Result<RawExample>> {
        let line = self.lines.next()?;
        Some(line.and_then(|(text, place)| example(&text, place, &self.options)))
    }

    fn blank(&self) -> u64 {
        self.lines.blank
    }
}

fn example(line: &str, place: Place, options: &ReadOptions) -> Result<RawExample> {
    let object = match serde_json::from_str(line.trim_start_matches('\u{feff}')) {
        Ok(Value::Object(object)) => object,
        Ok(other) => {
            return Err(wrong(
                &place,
                format!("{}, but each line must be an object", named(&other)),
            ));
        }
        // serde_json counts lines inside this one: only the column says something.
        Err(error) => {
            let text = error.to_string();
            let text = text.split(" at line ").next().unwrap_or_default();
            let hint = if line.trim_start().starts_with('[') {
                "an array over lines? write one object a line"
            } else {
                "mend the line"
            };
            return Err(wrong(
                &place,
                format!("not JSON: {text}, column {}; {hint}", error.column()),
            ));
        }
    };
    let content = content(&object, &place, options)?;
    let loss_mask = mask(&object, &content, &place)?;
    let id = id(&object, &place, options)?;
    let label = label(&object, &place, options)?;
    Ok(RawExample {
        id,
        content,
        label,
        loss_mask,
        place,
    })
}

fn content(object: &Map<String, Value>, place: &Place, options: &ReadOptions) -> Result<Content> {
    let key = options.text_column.as_str();
    match (present(object, key), present(object, TOKENS)) {
        (Some(_), Some(_)) => Err(wrong(
            place,
            format!("both key `{key}` and key `{TOKENS}`; keep one of them"),
        )),
        (Some(Value::String(text)), None) if text.trim().is_empty() => Err(wrong(
            place,
            format!("key `{key}`: the text is empty; leave the line out"),
        )),
        (Some(Value::String(text)), None) => Ok(Content::Text(text.clone())),
        (Some(other), None) => Err(wrong(
            place,
            format!("key `{key}`: {}, but it must be a string", named(other)),
        )),
        (None, Some(Value::Array(items))) if items.is_empty() => {
            Err(wrong(place, format!("key `{TOKENS}`: no tokens; leave the line out")))
        }
        (None, Some(Value::Array(items))) => {
            let token = |item: &Value| item.as_u64().and_then(|token| u32::try_from(token).ok());
            let tokens = items.iter().enumerate().map(|(entry, item)| {
                token(item).ok_or_else(|| {
                    let what = format!("key `{TOKENS}`: entry {entry} is {item}, but it must be a token id, 0 or more");
                    wrong(place, what)
                })
            });
            Ok(Content::Tokens(tokens.collect::<Result<_>>()?))
        }
        (None, Some(other)) => Err(wrong(
            place,
            format!("key `{TOKENS}`: {}, but it must be an array of token ids", named(other)),
        )),
        (None, None) => {
            let hint = match decant_cli::nearest(key, object.keys().filter(|key| !key.is_empty())) {
                Some(near) => format!("is it `{near}`? then name that as the text column"),
                None => "add it, or name the text column".into(),
            };
            Err(wrong(place, format!("neither key `{key}` nor key `{TOKENS}`; {hint}")))
        }
    }
}

fn mask(object: &Map<String, Value>, content: &Content, place: &Place) -> Result<Option<Vec<bool>>> {
    let Some(value) = present(object, MASK) else {
        return Ok(None);
    };
    let Content::Tokens(tokens) = content else {
        return Err(wrong(
            place,
            format!("key `{MASK}` goes with `{TOKENS}` only: a text has no tokens yet"),
        ));
    };
    let Value::Array(items) = value else {
        return Err(wrong(
            place,
            format!("key `{MASK}`: {}, but it must be an array of booleans", named(value)),
        ));
    };
    if items.len() != tokens.len() {
        let (mask, tokens) = (items.len(), tokens.len());
        return Err(wrong(
            place,
            format!("key `{MASK}`: {mask} entries for {tokens} tokens; give one for each"),
        ));
    }
    let entry = |(entry, item): (usize, &Value)| match (item, item.as_u64()) {
        (Value::Bool(counts), _) => Ok(*counts),
        (_, Some(number @ 0..=1)) => Ok(number == 1),
        _ => Err(wrong(
            place,
            format!("key `{MASK}`: entry {entry} is {item}, but it must be true, false, 1 or 0"),
        )),
    };
    items.iter().enumerate().map(entry).collect::<Result<_>>().map(Some)
}

fn id(object: &Map<String, Value>, place: &Place, options: &ReadOptions) -> Result<Option<String>> {
    let key = options.id_column.as_str();
    match present(object, key) {
        None => Ok(None),
        Some(Value::String(id)) => Ok(Some(id.clone())),
        Some(Value::Number(id)) if id.is_i64() || id.is_u64() => Ok(Some(id.to_string())),
        Some(other) => Err(wrong(
            place,
            format!("key `{key}`: {}, but it must be a string or an integer", named(other)),
        )),
    }
}

fn label(object: &Map<String, Value>, place: &Place, options: &ReadOptions) -> Result<Option<i64>> {
    let key = options.label_column.as_str();
    match present(object, key) {
        None => Ok(None),
        Some(Value::String(name)) => options.class_of(name, &format!("key `{key}`"), place).map(Some),
        Some(value) => match value.as_i64() {
            Some(label) => Ok(Some(label)),
            None => Err(wrong(
                place,
                format!("key `{key}`: {}, but it must be the number of a class", named(value)),
            )),
        },
    }
}

fn present<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    object.get(key).filter(|value| !value.is_null())
}

/// A value as messages name it: `a number (3.5)`.
fn named(value: &Value) -> String {
    let kind = match value {
        Value::Null => return "null".into(),
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => return "an array".into(),
        Value::Object(_) => return "an object".into(),
    };
    let text: String = value.to_string().chars().take(40).collect();
    format!("{kind} ({text})")
}
