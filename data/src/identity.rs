//! Who the teacher, its tokenizer and its inputs are, so that a student can tell whether they are its own.
//!
//! Equal vocabulary sizes say nothing: two tokenizers of one size may number their tokens differently, and checkpoints
//! pad their heads. So the whole id-to-token map is bound, and compared entry by entry where both maps are at hand.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::hash::{Hasher, sha256_hex};

/// The model whose soft targets are stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeacherIdentity {
    /// What people call it; bound to nothing.
    pub name: String,
    /// The architecture as its `config.json` names it.
    pub architecture: String,
    /// Over the names and hashes of its weight files.
    pub weights_sha256: String,
    /// Of its `config.json`.
    pub config_sha256: String,
    /// Of its `preprocessor_config.json`, for images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preprocessor_sha256: Option<String>,
    /// The type it computes in: `f32`, `f16` or `bf16`.
    pub dtype: String,
    /// The kind of device it runs on: `cpu` or `cuda`.
    pub device: String,
}

/// A tokenizer: its whole id-to-token map, its special tokens and its chat template, as hashes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenizerIdentity {
    /// Over every (id, token), ids ascending.
    pub map_sha256: String,
    /// How many ids have a token.
    pub size: u32,
    /// Over every special token's (id, token), ids ascending.
    pub special_sha256: String,
    /// Of the chat template's text, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_template_sha256: Option<String>,
}

impl TokenizerIdentity {
    /// The identity of a tokenizer with this id-to-token map (added tokens included), these special tokens and this
    /// chat template.
    pub fn of(map: &BTreeMap<u32, String>, special: &BTreeMap<u32, String>, chat_template: Option<&[u8]>) -> Self {
        Self {
            map_sha256: map_sha256(map),
            size: map.len() as u32,
            special_sha256: map_sha256(special),
            chat_template_sha256: chat_template.map(sha256_hex),
        }
    }
}

/// sha256 over (id, length of the token, token) of each entry, numbers as 32 and 64 bits little-endian.
fn map_sha256(map: &BTreeMap<u32, String>) -> String {
    let mut hasher = Hasher::new();
    for (id, token) in map {
        hasher.update(&id.to_le_bytes());
        hasher.update(&(token.len() as u64).to_le_bytes());
        hasher.update(token.as_bytes());
    }
    hasher.hex()
}

/// One file that a plan was made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceIdentity {
    /// The split that its examples go to.
    pub split: String,
    /// Its name without folders: a dataset does not depend on where its sources lay.
    pub name: String,
    /// Of its bytes.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
}

/// How many differing entries a message names.
const NAMED: usize = 3;

/// The first entries in which two id-to-token maps differ, in words that name both sides; `None`: the same map.
pub fn map_difference(
    left: &str,
    left_map: &BTreeMap<u32, String>,
    right: &str,
    right_map: &BTreeMap<u32, String>,
) -> Option<String> {
    let ids: std::collections::BTreeSet<u32> = left_map.keys().chain(right_map.keys()).copied().collect();
    let differing: Vec<u32> = ids
        .into_iter()
        .filter(|id| left_map.get(id) != right_map.get(id))
        .collect();
    let shown = |token: Option<&String>| token.map_or("nothing".to_string(), |token| format!("{token:?}"));
    let entries = differing.iter().take(NAMED).map(|id| {
        format!(
            "id {id} is {} in {left} and {} in {right}",
            shown(left_map.get(id)),
            shown(right_map.get(id))
        )
    });
    let entries = entries.collect::<Vec<_>>().join("; ");
    (!differing.is_empty()).then(|| format!("{} of the ids differ: {entries}", differing.len()))
}

/// The first classes in which two lists of class names differ, in words that name both sides; `None`: the same list.
pub fn class_difference(left: &str, left_names: &[String], right: &str, right_names: &[String]) -> Option<String> {
    let map = |names: &[String]| {
        names
            .iter()
            .enumerate()
            .map(|(id, name)| (id as u32, name.clone()))
            .collect()
    };
    map_difference(left, &map(left_names), right, &map(right_names)).map(|difference| {
        let (ours, theirs) = (left_names.len(), right_names.len());
        if ours == theirs {
            difference.replace("of the ids", "classes").replace("id ", "class ")
        } else {
            format!("{left} has {ours} classes, {right} has {theirs}")
        }
    })
}
