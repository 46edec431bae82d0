//! JSON in one spelling: keys in order whatever the library's features, so that it can be hashed and compared.

use serde::Serialize;
use serde_json::Value;

/// One line without spaces.
pub(crate) fn compact<T: Serialize>(value: &T) -> String {
    sorted(value).to_string()
}

/// Indented for people, with a newline at the end.
pub(crate) fn pretty<T: Serialize>(value: &T) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(&sorted(value)).expect("a JSON value can be written");
    text.push(b'\n');
    text
}

/// The value with the keys of every object in order.
pub(crate) fn sorted<T: Serialize>(value: &T) -> Value {
    // Through text, not `to_value`: that would widen an f32 of 0.7 to 0.699999988079071.
    let text = serde_json::to_string(value).expect("the crate's records have string keys and finite numbers");
    sort(serde_json::from_str(&text).expect("JSON that was just written"))
}

fn sort(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut entries: Vec<_> = object.into_iter().collect();
            entries.sort_by(|left, right| left.0.cmp(&right.0));
            Value::Object(entries.into_iter().map(|(key, value)| (key, sort(value))).collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(sort).collect()),
        other => other,
    }
}
