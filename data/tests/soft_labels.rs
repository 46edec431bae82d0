//! The `soft-labels` program: what it prints where, and how it ends.

#[path = "fixtures/small.rs"]
mod small;

use std::process::{Command, Output};

use decant_data::Values;
use serde_json::Value;

fn run(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_soft-labels"));
    command.args(words).env_clear().output().unwrap()
}

fn succeeded(words: &[&str]) -> String {
    let output = run(words);
    assert!(
        output.status.success(),
        "{words:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The exit code and the one line that a failure prints.
fn failed(words: &[&str]) -> (i32, String) {
    let output = run(words);
    assert!(output.stdout.is_empty(), "{words:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    (
        output.status.code().unwrap(),
        text.lines().last().unwrap_or_default().to_owned(),
    )
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Place(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }
}

#[test]
fn inspect_names_classes() {
    let place = Place::new();
    let dir = place.path("cache");
    small::images(dir.as_ref(), Values::F32, 0);
    let text = succeeded(&["inspect", &dir, "--temperature", "2"]);
    for line in [
        "  task          image-classification",
        "  teacher       teacher (SmallForTests), f32 on cpu",
        "  classes       3: cat, dog, fox",
        "  codec         dense: every logit as f32, any temperature",
        "train image-0: an image of 1 bytes, label cat, mean entropy 0.500 nats",
        // numpy: softmax([2, -1, .5] / 2)
        "  T = 2: cat 0.5898  fox 0.2786  dog 0.1316",
        "train image-1: an image of 1 bytes, no label, mean entropy 0.500 nats",
    ] {
        assert!(text.lines().any(|found| found == line), "{line:?} is not in\n{text}");
    }
    let report: Value = serde_json::from_str(&succeeded(&["inspect", &dir, "--json", "--rows", "2"])).unwrap();
    assert_eq!(report["rows"].as_array().unwrap().len(), 2);
    assert_eq!(report["status"]["sealed"], true);
    assert_eq!(report["rows"][0]["positions"][0]["top"][0]["name"], "cat");
    assert_eq!(report["plan"]["spec"]["classes"][2], "fox");
}

#[test]
fn inspect_names_tokens() {
    let place = Place::new();
    let dir = place.path("cache");
    small::tokens(dir.as_ref());
    let text = succeeded(&["inspect", &dir]);
    // numpy: q = exp(-[0, 1.5]); q / q.sum() * (1 - exp(-2)), exp(-2); the first declared temperature is 1
    let line = "  after \"The\", before \" cat\": \" cat\" 0.7069  \"\\n\" 0.1577  not kept 0.1353";
    assert!(text.lines().any(|found| found == line), "{line:?} is not in\n{text}");
    let (code, message) = failed(&["inspect", &dir, "--temperature", "4"]);
    assert_eq!(code, 1);
    assert!(message.contains("declared: 1, 2"), "{message}");
}

#[test]
fn status_then_seal_then_verify() {
    let place = Place::new();
    let dir = place.path("cache");
    small::images(dir.as_ref(), Values::F16, 1);
    let text = succeeded(&["status", &dir]);
    assert!(
        text.contains("shards are missing") && text.contains("1 of 2 committed"),
        "{text}"
    );
    let report: Value = serde_json::from_str(&succeeded(&["status", &dir, "--json"])).unwrap();
    assert_eq!(
        (&report["missing"], &report["sealed"]),
        (&serde_json::json!([1]), &Value::Bool(false))
    );
    assert!(
        succeeded(&["inspect", &dir]).contains("shards are missing"),
        "what there is can be inspected"
    );
    assert_eq!(failed(&["seal", &dir]).0, 1);
    assert_eq!(failed(&["verify", &dir]).0, 1);
    assert_eq!(
        failed(&["export", &dir, &place.path("x.parquet"), "--temperature", "1"]).0,
        1
    );

    let whole = place.path("whole");
    small::images(whole.as_ref(), Values::F16, 0);
    assert!(
        succeeded(&["seal", &whole]).contains("train: 3 examples, 3 soft targets"),
        "sealing again changes nothing"
    );
    assert!(succeeded(&["verify", &whole]).contains("all as the manifest says"));
    assert!(succeeded(&["status", &whole]).contains(": sealed\n"));

    let table = std::fs::read_dir(format!("{whole}/data"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let mut bytes = std::fs::read(&table).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&table, bytes).unwrap();
    let (code, message) = failed(&["verify", &whole]);
    assert_eq!(code, 1);
    assert!(
        message.starts_with("error: ") && message.contains(table.file_name().unwrap().to_str().unwrap()),
        "{message}"
    );
}

#[test]
fn export_states_its_bound() {
    let place = Place::new();
    let (dir, to) = (place.path("cache"), place.path("table.parquet"));
    small::images(dir.as_ref(), Values::Bf16, 0);
    let text = succeeded(&["export", &dir, &to, "--temperature", "2"]);
    assert!(
        text.starts_with(&format!(
            "exported 9 rows to {to}: 3 examples, 3 soft targets, temperature 2\n"
        )),
        "{text}"
    );
    assert!(text.contains("no probability is further than "), "{text}");
    let (code, message) = failed(&["export", &dir, &to, "--temperature", "2"]);
    assert_eq!(
        (code, message),
        (
            1,
            format!("error: {to} exists already; give another name, or remove it")
        )
    );

    let config = place.path("config.toml");
    std::fs::write(&config, "temperature = 4\n").unwrap();
    let from_file = succeeded(&["export", &dir, &place.path("four.parquet"), "--config", &config]);
    assert!(from_file.contains("temperature 4\n"), "{from_file}");
    std::fs::write(&config, "temprature = 4\n").unwrap();
    let (code, message) = failed(&["export", &dir, &place.path("five.parquet"), "--config", &config]);
    assert_eq!(code, 2);
    assert!(
        message.ends_with("config.toml:1: unknown key `temprature`; did you mean `temperature`?"),
        "{message}"
    );
}

#[test]
fn mistakes_of_usage_and_places_without_a_dataset() {
    let place = Place::new();
    assert_eq!(run(&["inspect"]).status.code(), Some(2));
    assert_eq!(
        run(&["export", "a", "b"]).status.code(),
        Some(2),
        "a temperature must be given"
    );
    let (code, message) = failed(&["status", &place.path("nothing")]);
    assert_eq!(code, 1);
    assert!(message.contains("holds no plan.json"), "{message}");
    assert_eq!(failed(&["status", "ftp://somewhere"]).0, 1);
}
