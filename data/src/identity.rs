//! Who the teacher, its tokenizer and its inputs are, so that a student can tell whether they are its own.
//!
//! Equal vocabulary sizes say nothing: two tokenizers of one size may number their tokens differently, and checkpoints
//! pad their heads. So the whole id-to-token map is bound, and compared entry by entry where both maps are at hand.

use std::collections::{BTreeMap, BTreeSet};

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
    let ids: BTreeSet<u32> = left_map.keys().chain(right_map.keys()).copied().collect();
    let ids: Vec<u32> = ids
        .into_iter()
        .filter(|id| left_map.get(id) != right_map.get(id))
        .collect();
    let entry = |id: &u32| {
        let (left_token, right_token) = (shown(left_map.get(id)), shown(right_map.get(id)));
        format!("id {id} is {left_token} in {left} and {right_token} in {right}")
    };
    let entries = ids.iter().take(NAMED).map(entry).collect::<Vec<_>>().join("; ");
    (!ids.is_empty()).then(|| format!("{} ids differ: {entries}", ids.len()))
}

/// The first classes in which two lists of class names differ, in words that name both sides; `None`: the same list.
pub fn class_difference(left: &str, left_names: &[String], right: &str, right_names: &[String]) -> Option<String> {
    let (ours, theirs) = (left_names.len(), right_names.len());
    if ours != theirs {
        return Some(format!("{left} has {ours} classes, {right} has {theirs}"));
    }
    let classes: Vec<usize> = (0..ours)
        .filter(|class| left_names[*class] != right_names[*class])
        .collect();
    let entry = |class: &usize| {
        let (left_name, right_name) = (&left_names[*class], &right_names[*class]);
        format!("class {class} is {left_name:?} in {left} and {right_name:?} in {right}")
    };
    let entries = classes.iter().take(NAMED).map(entry).collect::<Vec<_>>().join("; ");
    (!classes.is_empty()).then(|| format!("{} classes differ: {entries}", classes.len()))
}

fn shown(token: Option<&String>) -> String {
    token.map_or("nothing".to_string(), |token| format!("{token:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(tokens: &[(u32, &str)]) -> BTreeMap<u32, String> {
        tokens.iter().map(|(id, token)| (*id, token.to_string())).collect()
    }

    #[test]
    fn a_map_is_identified_by_ids_and_tokens_together() {
        let identity = |tokens: &[(u32, &str)]| TokenizerIdentity::of(&map(tokens), &map(&[]), None).map_sha256;
        // The shared characters must not be able to move between neighbours, or between an id and its token.
        assert_ne!(identity(&[(0, "ab"), (1, "c")]), identity(&[(0, "a"), (1, "bc")]));
        assert_ne!(identity(&[(0, "a"), (1, "b")]), identity(&[(0, "b"), (1, "a")]));
        assert_ne!(identity(&[(0, "a")]), identity(&[(1, "a")]));
        // printf '\0\0\0\0\1\0\0\0\0\0\0\0a' | sha256sum
        assert_eq!(
            identity(&[(0, "a")]),
            "9756fba9cda0936a42be3d25dfd05938eadaeb9f8b3fecc05f9a0c4d59919214"
        );
    }

    #[test]
    fn differences_name_the_first_entries_and_both_sides() {
        let (left, right) = (
            map(&[(0, "a"), (1, "b"), (2, "c")]),
            map(&[(0, "a"), (1, "x"), (3, "d")]),
        );
        assert_eq!(
            map_difference("the dataset", &left, "the student", &right).unwrap(),
            "3 ids differ: id 1 is \"b\" in the dataset and \"x\" in the student; id 2 is \"c\" in the dataset and \
             nothing in the student; id 3 is nothing in the dataset and \"d\" in the student"
        );
        assert_eq!(map_difference("the dataset", &left, "the student", &left), None);
    }

    #[test]
    fn classes_are_compared_by_name_and_place() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let difference = |right: &[&str]| class_difference("a", &names(&["cat", "dog"]), "b", &names(right));
        assert_eq!(difference(&["cat", "dog"]), None);
        assert_eq!(difference(&["cat"]).unwrap(), "a has 2 classes, b has 1");
        assert_eq!(
            difference(&["cat", "cow"]).unwrap(),
            "1 classes differ: class 1 is \"dog\" in a and \"cow\" in b"
        );
    }
}
