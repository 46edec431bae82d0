//! Tiny teachers with random weights, and inputs for them.

use candle_core::{DType, Device, Tensor};
use decant_data::{Dataset, Reader, Row, Store};
use decant_models::{Batch, Checkpoint, Mode, Model, Taps, TokenBatch};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use teacher_server::capture::CancelFlag;
use teacher_server::planning::{self, PlanRequest, Source};
use teacher_server::teacher::Profile;

/// Ids of the tiny tokenizer's map: 0 to 42 without [`HOLE`].
pub(crate) const IDS: u32 = 43;

/// An id below the largest that the tokenizer's map lacks.
pub(crate) const HOLE: u32 = 17;

/// Rows of the tiny decoder's head: padded.
pub(crate) const PADDED_VOCABULARY: usize = 64;

/// Positions of the tiny decoder.
pub(crate) const MAX_POSITIONS: usize = 48;

/// A decoder with padded vocabulary and a hole in the tokenizer's map, in a new folder under `dir`.
pub(crate) fn decoder(dir: &Path, seed: u64) -> PathBuf {
    let config = format!(
        r#"{{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 32, "intermediate_size": 48,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_act": "silu",
            "vocab_size": {PADDED_VOCABULARY}, "max_position_embeddings": {MAX_POSITIONS}, "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0, "tie_word_embeddings": false, "bos_token_id": 0, "eos_token_id": 0}}"#
    );
    let words = (1..IDS)
        .filter(|id| *id != HOLE)
        .map(|id| format!(r#""w{id}": {id}"#))
        .collect::<Vec<_>>()
        .join(", ");
    let tokenizer = format!(
        r#"{{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
            "pre_tokenizer": {{"type": "Whitespace"}}, "post_processor": null, "decoder": null,
            "model": {{"type": "WordLevel", "vocab": {{"unk": 0, {words}}}, "unk_token": "unk"}}}}"#
    );
    let described = dir.join(format!("decoder-{seed}-described"));
    fs::create_dir_all(&described).unwrap();
    fs::write(described.join("config.json"), config).unwrap();
    fs::write(described.join("tokenizer.json"), tokenizer).unwrap();
    initialise(&described, &dir.join(format!("decoder-{seed}")), seed)
}

/// A perceptron over grey images of 4 x 4 with 3 classes.
pub(crate) fn mlp(dir: &Path) -> PathBuf {
    let described = dir.join("mlp-described");
    fs::create_dir_all(&described).unwrap();
    let config = r#"{"architectures": ["MlpForImageClassification"], "model_type": "decant-mlp", "image_size": 4,
        "num_channels": 1, "hidden_sizes": [8], "id2label": {"0": "circle", "1": "square", "2": "star"}}"#;
    fs::write(described.join("config.json"), config).unwrap();
    let processor = r#"{"do_resize": false, "size": {"height": 4, "width": 4}, "do_rescale": true,
        "rescale_factor": 0.00392156862745098, "do_normalize": true, "image_mean": [0.5], "image_std": [0.25]}"#;
    fs::write(described.join("preprocessor_config.json"), processor).unwrap();
    initialise(&described, &dir.join("mlp"), 7)
}

fn initialise(described: &Path, dir: &Path, seed: u64) -> PathBuf {
    let checkpoint = Checkpoint::open(described).unwrap();
    let model = checkpoint.initialise(seed, &Device::Cpu).unwrap();
    checkpoint.save(model.as_ref(), dir).unwrap();
    dir.to_owned()
}

/// Documents of 2 to 40 words as JSON lines, each with its id.
pub(crate) fn documents(path: &Path, count: usize) {
    let mut lines = String::new();
    for document in 0..count {
        let length = 2 + (document * 7 + 3) % 39;
        let words: Vec<String> = (0..length)
            .map(|word| format!("w{}", word_id(document, word)))
            .collect();
        lines.push_str(&format!(
            "{{\"id\": \"doc-{document:03}\", \"text\": \"{}\"}}\n",
            words.join(" ")
        ));
    }
    fs::write(path, lines).unwrap();
}

fn word_id(document: usize, word: usize) -> u32 {
    let id = 1 + ((document * 31 + word * word * 5 + word) as u32) % (IDS - 1);
    if id == HOLE { id + 1 } else { id }
}

/// Grey images of `side` x `side` and their labels as a pair of IDX files; returns the path of the images.
pub(crate) fn images(dir: &Path, name: &str, side: u32, labels: &[u8]) -> PathBuf {
    let mut pixels = vec![0, 0, 8, 3];
    for size in [labels.len() as u32, side, side] {
        pixels.extend(size.to_be_bytes());
    }
    pixels.extend((0..labels.len() as u32 * side * side).map(|pixel| (pixel * 37 % 251) as u8));
    let mut answers = vec![0, 0, 8, 1];
    answers.extend((labels.len() as u32).to_be_bytes());
    answers.extend(labels);
    let path = dir.join(format!("{name}-images-idx3-ubyte"));
    fs::write(&path, pixels).unwrap();
    fs::write(dir.join(format!("{name}-labels-idx1-ubyte")), answers).unwrap();
    path
}

/// One source of the split "train".
pub(crate) fn train(path: &Path) -> Vec<Source> {
    vec![Source {
        split: "train".to_owned(),
        path: path.to_owned(),
    }]
}

/// Plans, and panics where it cannot.
pub(crate) fn plan(request: &PlanRequest, profile: &Profile, store: &Store) -> Dataset {
    planning::plan(request, profile, store, &CancelFlag::new(), &mut |_| {}).unwrap()
}

/// Every row of a split of a sealed dataset.
pub(crate) fn rows(store: &Store, split: &str) -> Vec<Row> {
    Reader::open(store)
        .unwrap()
        .rows(split)
        .unwrap()
        .map(|row| row.unwrap())
        .collect()
}

/// Logits of every predicting position of one document, asked alone: `[positions][vocabulary]`, padding included.
pub(crate) fn full_logits(model: &dyn Model, tokens: &[u32]) -> Vec<Vec<f32>> {
    let batch = Batch::Tokens(TokenBatch::padded(&[tokens]));
    let features = model.features(&batch, Mode::Eval, &mut Taps::none()).unwrap();
    let logits: Tensor = model.head().forward(&features).unwrap();
    let mut rows: Vec<Vec<f32>> = logits.to_dtype(DType::F32).unwrap().to_vec2().unwrap();
    rows.pop(); // nothing follows the last token
    rows
}

/// Runs the built binary without the caller's `DECANT_*` or scheduler variables.
pub(crate) fn teacher_server(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    command(arguments, variables).output().unwrap()
}

/// The built binary, ready to run.
pub(crate) fn command(arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_teacher-server"));
    command.args(arguments);
    for (name, _) in std::env::vars() {
        if name.starts_with("DECANT_") || name.starts_with("SLURM_") || name == "JOB_COMPLETION_INDEX" {
            command.env_remove(name);
        }
    }
    command.envs(variables.iter().copied());
    command
}

/// The run's stdout; panics with its stderr where it failed.
pub(crate) fn succeed(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {stderr}", output.status);
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The last line of stderr of a run that failed with this code.
pub(crate) fn fail(output: &Output, code: i32) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    stderr.lines().last().unwrap_or_default().to_owned()
}

/// The sealed tables: name and bytes, in name order.
pub(crate) fn tables(dataset: &Path) -> Vec<(String, Vec<u8>)> {
    let mut tables: Vec<(String, Vec<u8>)> = fs::read_dir(dataset.join("data"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            (
                path.file_name().unwrap().to_string_lossy().into_owned(),
                fs::read(&path).unwrap(),
            )
        })
        .collect();
    tables.sort();
    assert!(!tables.is_empty());
    tables
}
