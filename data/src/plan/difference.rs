//! What two plans do not have in common, in words.

use serde_json::Value;

use crate::{Error, Plan, PlanSpec, Store, canonical};

/// How many keys a message names.
const NAMED: usize = 6;
/// How long a value may be in a message.
const SHOWN: usize = 60;

/// The refusal to put a plan where another one is.
pub(super) fn refusal(store: &Store, existing: &Plan, spec: &PlanSpec) -> Error {
    let place = store.place(super::PLAN_PATH);
    let differing = differences(&canonical::sorted(&existing.spec), &canonical::sorted(spec));
    let named = differing.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
    let more = match differing.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    Error::Input(format!(
        "{place} holds another plan: {named}{more}; use the same settings or another output folder"
    ))
}

/// One line for each key whose values differ, with both.
fn differences(there: &Value, here: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    collect("", Some(there), Some(here), &mut lines);
    lines
}

fn collect(key: &str, there: Option<&Value>, here: Option<&Value>, lines: &mut Vec<String>) {
    match (there, here) {
        (there, here) if there == here => {}
        (Some(Value::Object(left)), Some(Value::Object(right))) => {
            let keys: std::collections::BTreeSet<&String> = left.keys().chain(right.keys()).collect();
            for name in keys {
                let key = if key.is_empty() {
                    name.clone()
                } else {
                    format!("{key}.{name}")
                };
                collect(&key, left.get(name), right.get(name), lines);
            }
        }
        (Some(Value::Array(left)), Some(Value::Array(right))) if left.len() == right.len() => {
            for (index, (left, right)) in left.iter().zip(right).enumerate() {
                collect(&format!("{key}[{index}]"), Some(left), Some(right), lines);
            }
        }
        _ => lines.push(format!("{key} is {} there and {} here", shown(there), shown(here))),
    }
}

fn shown(value: Option<&Value>) -> String {
    let text = match value {
        None | Some(Value::Null) => return "absent".into(),
        Some(Value::Array(values)) if values.iter().any(Value::is_object) => format!("{} entries", values.len()),
        Some(value) => value.to_string(),
    };
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
