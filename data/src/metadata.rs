//! The facts that each Parquet file carries in its key-value metadata, and their comparison with the plan.

use serde_json::json;

use crate::table::Table;
use crate::{Error, FORMAT_VERSION, Plan, PlanSpec, READER_FLAGS, Result, ShardPlan, WRITER_FLAGS, canonical, format};

const VERSION: &str = "softlabel.format_version";
const READER: &str = "softlabel.reader_flags";

fn head() -> Vec<(String, String)> {
    vec![
        (VERSION.into(), FORMAT_VERSION.to_string()),
        (READER.into(), canonical::compact(&READER_FLAGS)),
        ("softlabel.writer_flags".into(), canonical::compact(&WRITER_FLAGS)),
    ]
}

/// The metadata of a shard's inputs. They are named by their hash, so nothing of the plan but the task is in them.
pub(crate) fn of_inputs(spec: &PlanSpec) -> Vec<(String, String)> {
    let mut entries = head();
    entries.push(("softlabel.kind".into(), "inputs".into()));
    entries.push(("softlabel.task".into(), spec.task.name().into()));
    entries
}

/// The metadata of a shard's table.
pub(crate) fn of_table(plan: &Plan, shard: &ShardPlan) -> Vec<(String, String)> {
    let spec = &plan.spec;
    let mut entries = head();
    let mut add = |key: &str, value: String| entries.push((format!("softlabel.{key}"), value));
    add("kind", "table".into());
    add("task", spec.task.name().into());
    add("plan", plan.id.clone());
    add("plan_spec_sha256", spec.sha256());
    add("codec", canonical::compact(&spec.codec));
    add("teacher", canonical::compact(&spec.teacher));
    if let Some(tokenizer) = &spec.tokenizer {
        add("tokenizer", canonical::compact(tokenizer));
    }
    if let Some(classes) = &spec.classes {
        add("classes", canonical::compact(classes));
    }
    add("outcomes", spec.outcomes.to_string());
    add("holes", canonical::compact(&spec.holes));
    add("split", shard.split.clone());
    add("shard", shard.index.to_string());
    entries.extend(hugging_face(spec));
    entries
}

/// What `datasets` should make of a column that Parquet has no type for.
fn hugging_face(spec: &PlanSpec) -> Option<(String, String)> {
    let mut features = serde_json::Map::new();
    if spec.task.reads_images() {
        features.insert("image".into(), json!({"_type": "Image"}));
    }
    if let Some(classes) = &spec.classes {
        features.insert("label".into(), json!({"_type": "ClassLabel", "names": classes}));
    }
    let known = !features.is_empty();
    known.then(|| {
        (
            "huggingface".into(),
            canonical::compact(&json!({"info": {"features": features}})),
        )
    })
}

/// Whether a table says what the plan says of it.
///
/// # Errors
/// A newer version or an unknown flag ([`Error::Unsupported`]); a fact that differs, with both sides.
pub(crate) fn check(table: &Table, wanted: &[(String, String)]) -> Result<()> {
    let place = table.place();
    let version = table.metadata(VERSION).and_then(|version| version.parse().ok());
    let Some(version) = version else {
        return Err(Error::Data(format!(
            "{place} has no {VERSION} in its metadata; not a table of this format"
        )));
    };
    format::check_version(place, version)?;
    let flags = table
        .metadata(READER)
        .and_then(|flags| serde_json::from_str::<Vec<String>>(flags).ok());
    let Some(flags) = flags else {
        return Err(Error::Data(format!("{place} has no list of names in {READER}")));
    };
    format::check_flags(place, "reader", &flags, READER_FLAGS)?;
    let facts = wanted
        .iter()
        .filter(|(key, _)| key.starts_with("softlabel.") && !key.ends_with("_flags") && key != VERSION);
    for (key, want) in facts {
        match table.metadata(key) {
            Some(found) if found == want => {}
            Some(found) => {
                return Err(Error::Data(format!(
                    "{place}: {key} is {found}, but the plan says {want}"
                )));
            }
            None => return Err(Error::Data(format!("{place}: {key} is missing; the plan says {want}"))),
        }
    }
    Ok(())
}
