//! Text to token ids and back, as `transformers` does it by default.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use tokenizers::Tokenizer;

use crate::{Error, Result};

/// A tokenizer from `tokenizer.json`.
///
/// Which marks stand around a text is for its post-processor alone to say: `add_bos_token` and `add_eos_token` of
/// `tokenizer_config.json` do not count where there is a `tokenizer.json`, as in `transformers` 5.
pub struct TextTokenizer {
    tokenizer: Tokenizer,
    vocabulary: BTreeMap<u32, String>,
    added: BTreeMap<u32, AddedToken>,
    chat_template: Option<Vec<u8>>,
}

/// A token that was added to the vocabulary, and is found in a text before the tokenizer's model sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddedToken {
    /// Its text.
    pub content: String,
    /// Whether it is left out of decoded text: a mark, not text.
    pub special: bool,
    /// Whether it is found only as a whole word.
    pub single_word: bool,
    /// Whether white space to its left belongs to it.
    pub lstrip: bool,
    /// Whether white space to its right belongs to it.
    pub rstrip: bool,
    /// Whether it is looked for in the normalised text.
    pub normalized: bool,
}

impl TextTokenizer {
    /// A tokenizer from the bytes of `tokenizer.json` alone.
    ///
    /// # Errors
    /// When they are no tokenizer.
    pub fn from_json(tokenizer_json: &[u8]) -> Result<Self> {
        Self::parse(tokenizer_json, None, None, Path::new(""))
    }

    /// A tokenizer from the bytes of its files; `dir` is for messages.
    pub(crate) fn parse(json: &[u8], settings: Option<&[u8]>, template: Option<Vec<u8>>, dir: &Path) -> Result<Self> {
        let path = dir.join("tokenizer.json");
        let fault = |reason: String| Error::Tokenizer {
            place: path.display().to_string(),
            reason,
        };
        let mut tokenizer = Tokenizer::from_bytes(json).map_err(|error| fault(format!("is no tokenizer: {error}")))?;
        // Settings of the run that saved it; `transformers` does not truncate or pad unless it is asked to.
        tokenizer
            .with_truncation(None)
            .map_err(|error| fault(error.to_string()))?;
        tokenizer.with_padding(None);
        let template = match (template, settings) {
            (None, Some(json)) => chat_template(json, &dir.join("tokenizer_config.json"))?,
            (template, _) => template,
        };
        // In the order of tokens, so that where two have one id it is always the same that stands for it.
        let ids: BTreeMap<String, u32> = tokenizer.get_vocab(true).into_iter().collect();
        let mut vocabulary = BTreeMap::new();
        for (token, id) in ids {
            vocabulary.entry(id).or_insert(token);
        }
        let added = tokenizer
            .get_added_tokens_decoder()
            .into_iter()
            .map(|(id, token)| {
                let tokenizers::AddedToken {
                    content,
                    single_word,
                    lstrip,
                    rstrip,
                    normalized,
                    special,
                } = token;
                (
                    id,
                    AddedToken {
                        content,
                        special,
                        single_word,
                        lstrip,
                        rstrip,
                        normalized,
                    },
                )
            })
            .collect();
        Ok(Self {
            tokenizer,
            vocabulary,
            added,
            chat_template: template,
        })
    }

    /// The ids of a text, with the marks that the tokenizer puts around a text; marks written in the text count as
    /// marks.
    ///
    /// # Errors
    /// When the tokenizer's model cannot encode it.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        match self.tokenizer.encode_fast(text, true) {
            Ok(encoding) => Ok(encoding.get_ids().to_vec()),
            Err(error) => Err(Error::Tokenizer {
                place: "text".into(),
                reason: error.to_string(),
            }),
        }
    }

    /// The text of some ids; marks are left out.
    ///
    /// # Errors
    /// When the tokenizer's decoder fails.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        self.tokenizer.decode(ids, true).map_err(|error| Error::Tokenizer {
            place: "token ids".into(),
            reason: error.to_string(),
        })
    }

    /// Every id with its token, added ones included. Not every number below the largest id need be there.
    pub fn vocabulary(&self) -> &BTreeMap<u32, String> {
        &self.vocabulary
    }

    /// The tokens that were added to the model's vocabulary, special ones among them.
    pub fn added_tokens(&self) -> &BTreeMap<u32, AddedToken> {
        &self.added
    }

    /// The special tokens: marks that are no text.
    pub fn special_tokens(&self) -> BTreeMap<u32, &str> {
        self.added
            .iter()
            .filter(|(_, token)| token.special)
            .map(|(id, token)| (*id, token.content.as_str()))
            .collect()
    }

    /// The id of a token by its exact name.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.tokenizer.token_to_id(token)
    }

    /// The chat template, from `chat_template.jinja` or `tokenizer_config.json`.
    pub fn chat_template(&self) -> Option<&[u8]> {
        self.chat_template.as_deref()
    }
}

/// The chat template that `tokenizer_config.json` holds.
fn chat_template(json: &[u8], path: &Path) -> Result<Option<Vec<u8>>> {
    let settings: Value =
        serde_json::from_slice(json).map_err(|error| Error::config(path, format!("is not JSON: {error}")))?;
    Ok(match &settings["chat_template"] {
        Value::Null => None,
        Value::String(template) => Some(template.clone().into_bytes()),
        // Several templates, each with its name.
        several => Some(several.to_string().into_bytes()),
    })
}
