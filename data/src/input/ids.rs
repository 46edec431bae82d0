//! The final id of every example.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use sha2::{Digest as _, Sha256};

use super::{Content, Place, RawExample};
use crate::{Error, Result};

/// Gives examples their ids: the user's, or one made from the content.
///
/// A made id is the first 16 hexadecimal digits of the content's sha256 and an occurrence number, `<hash>-0` for the
/// first: it does not depend on where other examples stand. Label, mask and place have no part in it.
///
/// What is kept of an id is 16 bytes of its hash, so that millions fit in memory.
#[derive(Debug, Default)]
pub struct Ids {
    given: HashMap<[u8; 16], Place>,
    made: HashMap<u64, u32>,
}

impl Ids {
    /// The id of the next example.
    ///
    /// # Errors
    /// An id that the user gave twice, naming both places; one that is empty or holds control characters.
    pub fn assign(&mut self, example: &RawExample) -> Result<String> {
        let place = &example.place;
        let Some(id) = &example.id else {
            return Ok(self.make(&example.content));
        };
        if let Some(trouble) = trouble(id) {
            return Err(Error::Input(format!("{place}: id {id:?} {trouble}; give another")));
        }
        let hash = Sha256::digest(id.as_bytes());
        let key = hash.first_chunk().copied().expect("a sha256 has 32 bytes");
        match self.given.entry(key) {
            Entry::Occupied(first) => {
                let first = first.get();
                Err(Error::Input(format!(
                    "{place}: id {id:?} was given before, at {first}; ids must be unique"
                )))
            }
            Entry::Vacant(free) => {
                free.insert(place.clone());
                Ok(id.clone())
            }
        }
    }

    fn make(&mut self, content: &Content) -> String {
        let hash = content_hash(content);
        let key = u64::from_be_bytes(hash.first_chunk().copied().expect("a sha256 has 32 bytes"));
        let occurrence = self.made.entry(key).or_insert(0);
        let id = format!("{key:016x}-{occurrence}");
        *occurrence += 1;
        id
    }
}

fn trouble(id: &str) -> Option<&'static str> {
    if id.is_empty() {
        return Some("is empty");
    }
    id.chars().any(char::is_control).then_some("holds a control character")
}

/// sha256 over the kind of the content and its bytes: a text as UTF-8, token ids as little-endian u32, an image as it
/// is stored.
fn content_hash(content: &Content) -> [u8; 32] {
    let mut hash = Sha256::new();
    match content {
        Content::Text(text) => {
            hash.update(b"text\0");
            hash.update(text);
        }
        Content::Tokens(tokens) => {
            hash.update(b"tokens\0");
            for token in tokens {
                hash.update(token.to_le_bytes());
            }
        }
        Content::Image(bytes) => {
            hash.update(b"image\0");
            hash.update(bytes);
        }
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn example(id: Option<&str>, text: &str, line: u64) -> RawExample {
        RawExample {
            id: id.map(str::to_owned),
            content: Content::Text(text.into()),
            label: None,
            loss_mask: None,
            place: Place::line(&Arc::from("in.jsonl"), line),
        }
    }

    #[test]
    fn a_made_id_is_a_hash_and_an_occurrence() {
        // printf 'text\0cat' | sha256sum; printf 'text\0dog' | sha256sum
        let (cat, dog) = ("7033b80ff36af1d5", "fb082931b13d4e49");
        let ids = |texts: &[&str]| {
            let mut ids = Ids::default();
            texts
                .iter()
                .map(|text| ids.assign(&example(None, text, 1)).unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            ids(&["cat", "dog", "cat"]),
            [format!("{cat}-0"), format!("{dog}-0"), format!("{cat}-1")]
        );
        assert_eq!(
            ids(&["dog", "cat", "cat"]),
            [format!("{dog}-0"), format!("{cat}-0"), format!("{cat}-1")]
        );
    }

    #[test]
    fn the_kind_of_content_is_part_of_the_hash() {
        let bytes = 7u32.to_le_bytes();
        assert_ne!(
            content_hash(&Content::Tokens(vec![7])),
            content_hash(&Content::Image(bytes.to_vec()))
        );
        // printf 'tokens\0\x07\0\0\0' | sha256sum
        assert_eq!(
            content_hash(&Content::Tokens(vec![7]))[..8],
            0xf556abdbaf4e0519u64.to_be_bytes()
        );
    }

    #[test]
    fn an_id_given_twice_is_refused_with_both_places() {
        let mut ids = Ids::default();
        assert_eq!(ids.assign(&example(Some("a"), "x", 3)).unwrap(), "a");
        let error = ids.assign(&example(Some("a"), "y", 8)).unwrap_err().to_string();
        assert_eq!(
            error,
            "in.jsonl:8: id \"a\" was given before, at in.jsonl:3; ids must be unique"
        );
    }

    #[test]
    fn ids_that_cannot_be_seen_are_refused() {
        for id in ["", "a\nb"] {
            assert!(Ids::default().assign(&example(Some(id), "x", 1)).is_err(), "{id:?}");
        }
        for id in ["doc#", "#a", "doc#3", "naïve/…"] {
            assert_eq!(Ids::default().assign(&example(Some(id), "x", 1)).unwrap(), id);
        }
    }
}
