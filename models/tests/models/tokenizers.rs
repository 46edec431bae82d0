//! Token ids as `transformers` gives them by default.

use std::fs;

use decant_models::{Checkpoint, TextTokenizer};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{assets, fixture};

fn reference() -> Value {
    serde_json::from_slice(&fs::read(fixture("tokenizers.json")).unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<u32> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|id| id.as_u64().unwrap() as u32)
        .collect()
}

/// A checkpoint's folder around a tokenizer.
fn folder(tokenizer_json: &[u8], settings: Option<&Value>) -> TempDir {
    let dir = TempDir::new().unwrap();
    fs::copy(fixture("llama/config.json"), dir.path().join("config.json")).unwrap();
    fs::write(dir.path().join("tokenizer.json"), tokenizer_json).unwrap();
    if let Some(settings) = settings {
        fs::write(dir.path().join("tokenizer_config.json"), settings.to_string()).unwrap();
    }
    dir
}

#[test]
fn settings_count_as_in_transformers() {
    let reference = reference();
    for case in reference["words"].as_array().unwrap() {
        let json = fs::read(fixture("words").join(case["file"].as_str().unwrap())).unwrap();
        let dir = folder(&json, Some(&case["settings"]).filter(|settings| !settings.is_null()));
        let tokenizer = Checkpoint::open(dir.path()).unwrap().tokenizer().unwrap().unwrap();
        for (text, ids) in ["a b c", "", "a [EOS] d"]
            .into_iter()
            .zip(case["ids"].as_array().unwrap())
        {
            assert_eq!(tokenizer.encode(text).unwrap(), numbers(ids), "{text:?} with {case}");
        }
    }
}

#[test]
fn the_vocabulary_has_its_holes_and_its_marks() {
    let json = fs::read(fixture("words/plain.json")).unwrap();
    let tokenizer = TextTokenizer::from_json(&json).unwrap();
    assert_eq!(
        tokenizer.vocabulary().keys().copied().collect::<Vec<_>>(),
        [0, 1, 2, 3, 4, 9]
    );
    assert_eq!(tokenizer.vocabulary()[&9], "[UNK]");
    assert_eq!(
        tokenizer.special_tokens().into_iter().collect::<Vec<_>>(),
        [(3, "[BOS]"), (4, "[EOS]")]
    );
    assert_eq!(tokenizer.token_to_id("c"), Some(2));
    assert_eq!(tokenizer.token_to_id("d"), None);
    assert_eq!(tokenizer.decode(&[3, 0, 2]).unwrap(), "a c");
    let settings = serde_json::json!({"chat_template": "{{ messages }}"});
    let dir = folder(&json, Some(&settings));
    let template = |dir: &TempDir| {
        let tokenizer = Checkpoint::open(dir.path()).unwrap().tokenizer().unwrap().unwrap();
        tokenizer.chat_template().map(<[u8]>::to_vec)
    };
    assert_eq!(template(&dir).unwrap(), b"{{ messages }}");
    fs::write(dir.path().join("chat_template.jinja"), "{{ newer }}").unwrap();
    assert_eq!(template(&dir).unwrap(), b"{{ newer }}");
    assert_eq!(template(&folder(&json, None)), None);
}

#[test]
fn an_id_with_two_tokens_always_has_the_same_name() {
    let json = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": null, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": {"z": 0, "a": 0, "m": 0, "u": 1}, "unk_token": "u"},
    })
    .to_string();
    // The tokenizer's own map is in another order each time.
    for _ in 0..20 {
        let tokenizer = TextTokenizer::from_json(json.as_bytes()).unwrap();
        assert_eq!(tokenizer.vocabulary()[&0], "a");
    }
}

#[test]
fn faults_name_the_file() {
    let message = |dir: &TempDir| match Checkpoint::open(dir.path()).unwrap().tokenizer() {
        Err(error) => error.to_string(),
        Ok(_) => panic!("read"),
    };
    let dir = folder(b"{}", None);
    assert!(
        message(&dir).contains("tokenizer.json: is no tokenizer"),
        "{}",
        message(&dir)
    );
    let dir = folder(&fs::read(fixture("words/plain.json")).unwrap(), None);
    fs::write(dir.path().join("tokenizer_config.json"), "{").unwrap();
    assert!(
        message(&dir).contains("tokenizer_config.json: is not JSON"),
        "{}",
        message(&dir)
    );
}

#[test]
fn real_tokenizers_agree_with_transformers() {
    let Some(assets) = assets("the comparison of real tokenizers") else {
        return;
    };
    let reference = reference();
    let texts = reference["texts"].as_array().unwrap();
    for (name, answers) in reference["real"].as_object().unwrap() {
        let from = assets.join("tokenizers").join(name);
        if !from.exists() {
            eprintln!(
                "skipped: {} is not there; `assets/fetch OUT tokenizers` brings it",
                from.display()
            );
            continue;
        }
        let settings = serde_json::from_slice(&fs::read(from.join("tokenizer_config.json")).unwrap()).unwrap();
        let dir = folder(&fs::read(from.join("tokenizer.json")).unwrap(), Some(&settings));
        let tokenizer = Checkpoint::open(dir.path()).unwrap().tokenizer().unwrap().unwrap();
        for (text, ids) in texts.iter().zip(answers.as_array().unwrap()) {
            assert_eq!(
                tokenizer.encode(text.as_str().unwrap()).unwrap(),
                numbers(ids),
                "{name}: {text}"
            );
        }
    }
}
