//! In which keys two configurations differ.

use serde_json::Value;

/// The keys in which two JSON documents differ, with both values: `loss.temperature (1.0 there, 2.0 here)`.
pub fn differences(there: &Value, here: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare("", there, here, &mut found);
    found
}

fn compare(key: &str, there: &Value, here: &Value, found: &mut Vec<String>) {
    if let (Value::Object(a), Value::Object(b)) = (there, here) {
        let names: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
        for name in names {
            let key = if key.is_empty() {
                name.clone()
            } else {
                format!("{key}.{name}")
            };
            compare(
                &key,
                a.get(name).unwrap_or(&Value::Null),
                b.get(name).unwrap_or(&Value::Null),
                found,
            );
        }
    } else if there != here {
        let shown = |value: &Value| {
            if value.is_null() {
                "not set".into()
            } else {
                value.to_string()
            }
        };
        found.push(format!("{key} ({} there, {} here)", shown(there), shown(here)));
    }
}
