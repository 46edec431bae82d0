//! Tiny models and data, made where a test needs them.

use decant_models::{Checkpoint, parse_device};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A part of the handwritten digits under `examples/digits`.
pub fn digits(part: &str) -> PathBuf {
    crate::repository()
        .join("examples/digits")
        .join(format!("{part}.parquet"))
}

/// Folder of a model of `examples/digits`: `teacher` or `student`, without weights.
pub fn digits_model(name: &str) -> PathBuf {
    crate::repository().join("examples/digits").join(name)
}

/// Gives the model that `described` describes new weights, which `seed` decides, and writes it to `folder`.
pub fn with_weights(described: &Path, seed: u64, folder: &Path) {
    let device = parse_device("cpu").expect("every build has a CPU");
    let checkpoint = Checkpoint::open(described).expect("the description is whole");
    let model = checkpoint
        .initialise(seed, &device)
        .expect("a tiny model fits in memory");
    checkpoint
        .save(model.as_ref(), folder)
        .expect("there is room for a tiny model");
}

/// Writes a causal language model of the Llama family without weights: 2 layers over the bytes of a text.
///
/// Its rows are padded to 264 outcomes, while its tokenizer has 257 ids: `<s>` is 0, byte b is 1 + b.
pub fn describe_decoder(folder: &Path) {
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 264, "hidden_size": 32,
        "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
        "tie_word_embeddings": true, "initializer_range": 0.3, "bos_token_id": 0, "eos_token_id": 0
    });
    std::fs::create_dir_all(folder).expect("there is room for a folder");
    write_json(&folder.join("config.json"), &config);
    write_json(&folder.join("tokenizer.json"), &byte_tokenizer());
}

/// A tiny decoder with weights.
pub fn decoder(seed: u64, folder: &Path) {
    let described = tempfile::tempdir().expect("there is room for a folder");
    describe_decoder(described.path());
    with_weights(described.path(), seed, folder);
}

/// Writes a JSON file.
pub fn write_json(path: &Path, value: &Value) {
    std::fs::write(path, format!("{value:#}\n")).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// Reads a JSON file.
pub fn read_json(path: &Path) -> Value {
    let text = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A `tokenizer.json` with one token a byte and no merges, after `<s>`.
pub fn byte_tokenizer() -> Value {
    let vocabulary: serde_json::Map<String, Value> = std::iter::once(("<s>".to_owned(), json!(0)))
        .chain((0..=255).map(|byte| (byte_character(byte).to_string(), json!(1 + u32::from(byte)))))
        .collect();
    json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
        "added_tokens": [{"id": 0, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true}],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
        "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": vocabulary, "merges": []}
    })
}

/// The printable character that byte-level tokenizers write for a byte: itself where it is printable, else the next
/// unused one from U+0100 on (Radford et al. 2019).
fn byte_character(byte: u8) -> char {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    match printable(byte) {
        true => char::from(byte),
        false => {
            let before = (0..byte).filter(|byte| !printable(*byte)).count() as u32;
            char::from_u32(0x100 + before).expect("256 code points from U+0100 on are characters")
        }
    }
}

/// Lines of JSON, each a text of printable ASCII with its number as id; the same for the same count.
pub fn texts(count: usize) -> String {
    let words = [
        "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa",
    ];
    (0..count)
        .map(|number| {
            let text: Vec<&str> = (0..4 + number % 9)
                .map(|at| words[(number * 7 + at * 3) % words.len()])
                .collect();
            format!(
                "{}\n",
                json!({"id": format!("text-{number:04}"), "text": text.join(" ")})
            )
        })
        .collect()
}

/// Writes a grey PNG of this size, all black, and gives its path.
pub fn grey_png(folder: &Path, width: u32, height: u32) -> PathBuf {
    let path = folder.join(format!("grey-{width}x{height}.png"));
    image::GrayImage::new(width, height)
        .save(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    path
}

/// The sums of a sealed dataset's tables, one line a file: equal sums are equal bytes. (Markers differ: they say which
/// attempt won.)
pub fn table_sums(dataset: &Path) -> Vec<String> {
    let path = dataset.join("SHA256SUMS");
    let sums = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let tables: Vec<String> = sums
        .lines()
        .filter(|line| line.ends_with(".parquet"))
        .map(str::to_owned)
        .collect();
    assert!(!tables.is_empty(), "{} names no table", path.display());
    tables
}
