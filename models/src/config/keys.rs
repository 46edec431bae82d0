//! Typed reading of a JSON object, with errors that name the file and the key.

use std::path::Path;

use serde_json::{Map, Value};

use crate::{Error, Result};

/// A JSON object and the file that it came from.
pub(crate) struct Keys<'a> {
    object: Map<String, Value>,
    path: &'a Path,
    /// Name of the object inside the file, with a dot, for messages; empty for the file itself.
    prefix: String,
}

impl<'a> Keys<'a> {
    pub(crate) fn parse(json: &[u8], path: &'a Path) -> Result<Self> {
        match serde_json::from_slice(json) {
            Ok(Value::Object(object)) => Ok(Self {
                object,
                path,
                prefix: String::new(),
            }),
            Ok(_) => Err(Error::config(path, "is not a JSON object")),
            Err(error) => Err(Error::config(path, format!("is not JSON: {error}"))),
        }
    }

    pub(crate) fn error(&self, reason: impl Into<String>) -> Error {
        Error::config(self.path, reason)
    }

    pub(crate) fn unsupported(&self, key: &str, found: &str, known: &str) -> Error {
        Error::Unsupported {
            path: self.path.into(),
            key: format!("{}{key}", self.prefix),
            found: found.to_owned(),
            known: known.to_owned(),
        }
    }

    /// The value, unless it is missing or null, which count as the same.
    pub(crate) fn value(&self, key: &str) -> Option<&Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    /// Whether the key is there, be it null.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.object.contains_key(key)
    }

    /// A value read by `read`, which gives `None` when the type is not `wanted`.
    fn optional<'s, T>(
        &'s self,
        key: &str,
        wanted: &str,
        read: impl FnOnce(&'s Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.value(key) else { return Ok(None) };
        match read(value) {
            Some(read) => Ok(Some(read)),
            None => Err(self.error(format!("key `{}{key}` is {value}, it must be {wanted}", self.prefix))),
        }
    }

    fn required<T>(&self, key: &str, wanted: &str, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| self.error(format!("key `{}{key}` is missing; it must be {wanted}", self.prefix)))
    }

    pub(crate) fn optional_size(&self, key: &str) -> Result<Option<usize>> {
        self.optional(key, SIZE, size)
    }

    pub(crate) fn optional_size_or_zero(&self, key: &str) -> Result<Option<usize>> {
        self.optional(key, "a whole number", |value| {
            value.as_u64().and_then(|number| usize::try_from(number).ok())
        })
    }

    pub(crate) fn size(&self, key: &str) -> Result<usize> {
        self.required(key, SIZE, self.optional_size(key)?)
    }

    pub(crate) fn sizes(&self, key: &str) -> Result<Vec<usize>> {
        const WANTED: &str = "a list of whole numbers above 0";
        let sizes = self.optional(key, WANTED, |value| value.as_array()?.iter().map(size).collect())?;
        self.required(key, WANTED, sizes)
    }

    pub(crate) fn optional_number(&self, key: &str) -> Result<Option<f64>> {
        self.optional(key, NUMBER, |value| value.as_f64().filter(|number| *number > 0.0))
    }

    pub(crate) fn number(&self, key: &str) -> Result<f64> {
        self.required(key, NUMBER, self.optional_number(key)?)
    }

    /// One finite number or a list of them, as image processors have it.
    pub(crate) fn optional_numbers(&self, key: &str) -> Result<Option<Vec<f64>>> {
        self.optional(key, "a number or a list of numbers", |value| match value {
            Value::Array(values) => values.iter().map(Value::as_f64).collect(),
            single => single.as_f64().map(|number| vec![number]),
        })
    }

    pub(crate) fn flag(&self, key: &str, default: bool) -> Result<bool> {
        Ok(self.optional(key, "true or false", Value::as_bool)?.unwrap_or(default))
    }

    pub(crate) fn optional_string(&self, key: &str) -> Result<Option<&str>> {
        self.optional(key, "a string", Value::as_str)
    }

    /// The newer key's string, or the older one's, with the key that was found.
    pub(crate) fn either_string<'k>(&self, newer: &'k str, older: &'k str) -> Result<Option<(&'k str, &str)>> {
        for key in [newer, older] {
            if let Some(found) = self.optional_string(key)? {
                return Ok(Some((key, found)));
            }
        }
        Ok(None)
    }

    pub(crate) fn strings(&self, key: &str) -> Result<Option<Vec<&str>>> {
        self.optional(key, "a list of strings", |value| {
            value.as_array()?.iter().map(Value::as_str).collect()
        })
    }

    pub(crate) fn first_string(&self, key: &str) -> Result<Option<&str>> {
        Ok(self.strings(key)?.and_then(|strings| strings.first().copied()))
    }

    /// The object under `key`, as keys of its own.
    pub(crate) fn object(&self, key: &str) -> Result<Option<Keys<'a>>> {
        let object = self.optional(key, "an object", Value::as_object)?;
        Ok(object.map(|object| Keys {
            object: object.clone(),
            path: self.path,
            prefix: format!("{}{key}.", self.prefix),
        }))
    }

    /// The object's entries in file order of their names.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.object.iter()
    }
}

const SIZE: &str = "a whole number above 0";
const NUMBER: &str = "a number above 0";

fn size(value: &Value) -> Option<usize> {
    value
        .as_u64()
        .and_then(|number| usize::try_from(number).ok())
        .filter(|number| *number > 0)
}
