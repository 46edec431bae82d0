//! Token ids as text, by the id-to-token map of the dataset's own `tokenizer.json`.
//!
//! Only the map is read: showing a token needs none of the rules that cut text into tokens.

use std::collections::HashMap;

use serde_json::Value;

/// The tokens of a dataset by id.
#[derive(Debug, Default)]
pub(crate) struct Tokens(HashMap<u32, String>);

impl Tokens {
    /// The map of a `tokenizer.json`: its model's vocabulary and its added tokens. What is not understood stays a number.
    pub(crate) fn of(tokenizer_json: &[u8]) -> Self {
        let tokenizer: Value = serde_json::from_slice(tokenizer_json).unwrap_or_default();
        let mut map = HashMap::new();
        match tokenizer.pointer("/model/vocab") {
            // BPE, WordPiece, WordLevel: token to id.
            Some(Value::Object(vocabulary)) => {
                let entries = vocabulary
                    .iter()
                    .filter_map(|(token, id)| Some((number(id)?, token.clone())));
                map.extend(entries);
            }
            // Unigram: [token, score] in the order of ids.
            Some(Value::Array(vocabulary)) => {
                let entries = (0..)
                    .zip(vocabulary)
                    .filter_map(|(id, entry)| Some((id, entry.get(0)?.as_str()?.to_owned())));
                map.extend(entries);
            }
            _ => {}
        }
        let added = tokenizer
            .get("added_tokens")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        map.extend(
            added.filter_map(|token| Some((number(token.get("id")?)?, token.get("content")?.as_str()?.to_owned()))),
        );
        Tokens(map)
    }

    /// The token in quotes, its marks for spaces and line ends resolved; `#id` for an id without a token.
    pub(crate) fn name(&self, id: u32) -> String {
        match self.0.get(&id) {
            Some(token) => format!("{:?}", readable(token)),
            None => format!("#{id}"),
        }
    }
}

fn number(id: &Value) -> Option<u32> {
    u32::try_from(id.as_u64()?).ok()
}

fn readable(token: &str) -> String {
    byte_level(token).unwrap_or_else(|| token.replace('\u{2581}', " "))
}

/// The text of a byte-level token, whose every character stands for a byte (Radford et al. 2019, `bytes_to_unicode` of
/// GPT-2); `None` for a token of another kind, or one that is a part of a character.
fn byte_level(token: &str) -> Option<String> {
    let bytes: Option<Vec<u8>> = token.chars().map(byte_of).collect();
    String::from_utf8(bytes?).ok()
}

fn byte_of(character: char) -> Option<u8> {
    let plain = |code: u32| matches!(code, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let code = u32::from(character);
    if plain(code) {
        return u8::try_from(code).ok();
    }
    // The other bytes, in order, are the characters from U+0100 on.
    let nth = code.checked_sub(0x100)? as usize;
    (0..=255u8).filter(|byte| !plain(u32::from(*byte))).nth(nth)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_kinds_of_vocabulary() {
        let bpe = Tokens::of(
            r#"{"model": {"vocab": {"ĠcafÃ©": 0, "Ċ": 3}}, "added_tokens": [{"id": 9, "content": "<|end|>"}]}"#
                .as_bytes(),
        );
        // tokenizers: ByteLevel().decode(["ĠcafÃ©"]) == " café"
        assert_eq!(
            [0, 3, 9, 7].map(|id| bpe.name(id)),
            ["\" café\"", "\"\\n\"", "\"<|end|>\"", "#7"]
        );
        let unigram = Tokens::of(r#"{"model": {"vocab": [["<unk>", 0.0], ["▁the", -3.5]]}}"#.as_bytes());
        assert_eq!([0, 1].map(|id| unigram.name(id)), ["\"<unk>\"", "\" the\""]);
        assert_eq!(Tokens::of(b"not json").name(1), "#1");
    }
}
