//! No value depends on the number of threads: each count runs in a process of its own, since pools start once.

use std::process::Command;

use candle_core::{DType, Device};
use decant_models::{Checkpoint, Mode, Model, TokenBatch};

use crate::support::{load, logits, values};

/// Says to print a hash of the values instead of comparing it.
const PRINT: &str = "DECANT_TEST_PRINT_HASH";

/// One layer as wide as SmolLM2's: its products are cut into blocks in every dimension.
fn wide() -> Box<dyn Model> {
    let config = serde_json::json!({
        "architectures": ["LlamaForCausalLM"], "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 1,
        "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 61, "max_position_embeddings": 64,
    });
    let dir = tempfile::TempDir::new().unwrap();
    std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    Checkpoint::open(dir.path())
        .unwrap()
        .initialise(5, &Device::Cpu)
        .unwrap()
}

/// Forward passes over enough tokens that products are shared out among threads.
fn bits() -> String {
    let (model, wide) = (load("llama", DType::F32), wide());
    let documents: Vec<Vec<u32>> = (0..24u32)
        .map(|row| (0..64 - row).map(|i| (i * 7 + row * 13) % 61).collect())
        .collect();
    let padded = TokenBatch::padded(&documents);
    let found = [
        logits(&*model, &padded, Mode::Eval),
        logits(&*model, &TokenBatch::packed(&documents, 64).unwrap(), Mode::Train),
        logits(&*wide, &padded, Mode::Eval),
    ];
    // FNV-1a over the bit patterns.
    let hash = found
        .iter()
        .flat_map(values)
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, value| {
            (hash ^ value.to_bits()).wrapping_mul(0x0100_0000_01b3)
        });
    format!("hash {hash:016x}")
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    if std::env::var_os(PRINT).is_some() {
        println!("{}", bits());
        return;
    }
    let with_threads = |threads: &str| {
        let output = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "threads::the_number_of_threads_changes_no_bit",
                "--nocapture",
            ])
            .env(PRINT, "1")
            .env("RAYON_NUM_THREADS", threads)
            .env("CANDLE_NUM_THREADS", threads)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .find_map(|line| line.split_once("hash ").map(|(_, hash)| hash.trim().to_owned()))
            .expect("a hash")
    };
    let one = with_threads("1");
    for threads in ["2", "3", "8"] {
        assert_eq!(with_threads(threads), one, "{threads} threads");
    }
}
