//! Killed runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::{
    command, decoder, fail, folder, images, images_file, metrics, report, residual, shown, succeed, text_dataset,
    top_k, write,
};

/// A run of 60 steps over 8 epochs, with a checkpoint after every 4.
fn prepare(dir: &Path) -> PathBuf {
    text_dataset(shown(&dir.join("cache")), top_k());
    decoder(&dir.join("student"), true);
    let config = format!(
        r#"
        seed = 5
        [student]
        path = "{}"
        [data]
        dataset = "{}"
        evaluate = "test"
        [loss]
        hard_weight = 0.5
        [optimizer]
        learning_rate = 1e-2
        warmup_steps = 10
        [training]
        steps = 60
        batch_size = 16
        micro_batch_size = 6
        evaluate_every = 10
        checkpoint_every = 4
        "#,
        shown(&dir.join("student")),
        shown(&dir.join("cache"))
    );
    write(&dir.join("config.toml"), &config);
    dir.join("config.toml")
}

fn weights(run: &Path) -> Vec<u8> {
    fs::read(run.join("model/model.safetensors")).unwrap()
}

/// The lines without what a clock and the kernel say.
fn numbers(run: &Path) -> Vec<serde_json::Value> {
    let mut lines = metrics(run);
    for line in &mut lines {
        let line = line.as_object_mut().unwrap();
        for key in ["seconds", "examples_per_second", "tokens_per_second", "peak_rss_bytes"] {
            line.remove(key);
        }
    }
    lines
}

#[test]
fn a_killed_run_ends_with_the_same_weights() {
    let dir = folder();
    let config = prepare(dir.path());
    let whole = dir.path().join("whole");
    succeed(&["train", shown(&config), "--output", shown(&whole)]);
    assert_eq!(report(&whole)["steps"], 60);

    let killed = dir.path().join("killed");
    // Three times: each process is killed at the first new checkpoint that is seen.
    for _ in 0..3 {
        let before = checkpoints(&killed);
        let mut process = command(&["train", shown(&config), "--output", shown(&killed)])
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while checkpoints(&killed) == before && process.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < Duration::from_secs(120), "no checkpoint came");
            sleep(Duration::from_millis(1));
        }
        process.kill().unwrap();
        process.wait().unwrap();
    }
    assert!(
        !killed.join("report.json").exists(),
        "the kills came too late to test anything"
    );
    succeed(&["train", shown(&config), "--output", shown(&killed)]);
    assert!(weights(&whole) == weights(&killed), "the weights differ");
    assert_eq!(numbers(&whole), numbers(&killed));
    let (mut a, mut b) = (report(&whole), report(&killed));
    for report in [&mut a, &mut b] {
        report["seconds"] = 0.into();
        report["peak_rss_bytes"] = 0.into();
    }
    assert_eq!(a, b);
    assert_eq!(checkpoints(&killed), ["step-00000056", "step-00000060"], "two are kept");

    // A finished run is finished: asked again, it says the same.
    succeed(&["train", shown(&config), "--output", shown(&killed)]);
    assert!(weights(&whole) == weights(&killed));
    assert_eq!(numbers(&whole), numbers(&killed));
}

fn checkpoints(run: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(run.join("checkpoints")) else {
        return Vec::new();
    };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.starts_with("step-")).collect();
    names.sort();
    names
}

#[test]
fn a_folder_that_another_process_trains_in_is_refused() {
    let dir = folder();
    let config = prepare(dir.path());
    let run = dir.path().join("run");
    fs::create_dir(&run).unwrap();
    let other = fs::File::create(run.join("run.lock")).unwrap();
    other.lock().unwrap();
    let start = ["train", shown(&config), "--output", shown(&run), "--steps", "4"];
    let (error, _) = fail(&start);
    assert!(error.contains("another process is training in"), "{error}");
    assert!(!run.join("run.json").exists());
    drop(other);
    let output = command(&start).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{told}");
    assert!(told.contains("warmup_steps is 10, and the run has 4 steps"), "{told}");
}

#[test]
fn another_run_in_the_folder_is_refused_by_its_keys() {
    let dir = folder();
    let config = prepare(dir.path());
    let run = dir.path().join("run");
    let start = ["train", shown(&config), "--output", shown(&run), "--steps", "4"];
    succeed(&start);
    let (error, code) = fail(&[&start[..], &["--seed", "6", "--learning-rate", "0.1"]].concat());
    assert!(
        error.contains("optimizer.learning_rate (0.01 there, 0.1 here)"),
        "{error}"
    );
    assert!(error.contains("seed (5 there, 6 here)") && code == 1, "{error}");

    // Another student at the same path is another run too.
    decoder(&dir.path().join("student"), false);
    let (error, _) = fail(&start);
    assert!(error.contains("student.config_sha256"), "{error}");

    // And so are other soft targets at the same place.
    decoder(&dir.path().join("student"), true);
    fs::remove_dir_all(dir.path().join("cache")).unwrap();
    let codec = decant_data::Codec::Dense {
        values: decant_data::Values::F32,
    };
    text_dataset(shown(&dir.path().join("cache")), codec);
    let (error, _) = fail(&start);
    assert!(
        error.contains("data.dataset.plan") && error.contains("data.dataset.tables_sha256"),
        "{error}"
    );

    let full = dir.path().join("full");
    write(&full.join("precious"), "");
    let (error, _) = fail(&["train", shown(&config), "--output", shown(&full)]);
    assert!(error.contains("is not empty and holds no run"), "{error}");
}

#[test]
fn a_run_that_diverges_names_the_step_and_keeps_its_checkpoints() {
    let dir = folder();
    let config = prepare(dir.path());
    let run = dir.path().join("run");
    let text = fs::read_to_string(&config)
        .unwrap()
        .replace("learning_rate = 1e-2", "learning_rate = 1e25\nclip_norm = 0");
    write(&config, &text.replace("checkpoint_every = 4", "checkpoint_every = 1"));
    let (error, code) = fail(&["train", shown(&config), "--output", shown(&run)]);
    assert!(
        error.contains("step 2: the ") && error.contains("lower the learning rate"),
        "{error}"
    );
    assert_eq!(code, 1);
    assert_eq!(checkpoints(&run), ["step-00000001"]);
    assert!(!run.join("report.json").exists());
}

#[test]
fn running_statistics_are_part_of_a_checkpoint() {
    let dir = folder();
    let at = |name: &str| dir.path().join(name);
    images(&at("train"), 24, 1);
    residual(&at("student"));
    let config = format!(
        r#"
        [student]
        path = "{}"
        [data]
        held_out = 0.3
        [data.inputs]
        train = "{}"
        [loss]
        soft_weight = 0
        hard_weight = 1
        [optimizer]
        [training]
        steps = 6
        batch_size = 8
        checkpoint_every = 3
        "#,
        shown(&at("student")),
        shown(&images_file(&at("train")))
    );
    write(&at("config.toml"), &config);
    succeed(&["train", shown(&at("config.toml")), "--output", shown(&at("whole"))]);
    // What a run leaves that stopped right after its first checkpoint.
    let copy = |name: &str| {
        let to = at("stopped").join(name);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(at("whole").join(name), to).unwrap();
    };
    let step = "checkpoints/step-00000003";
    for name in [
        "state.json",
        "optimizer.safetensors",
        "model/config.json",
        "model/model.safetensors",
    ] {
        copy(&format!("{step}/{name}"));
    }
    ["run.json", "metrics.jsonl"].iter().for_each(|name| copy(name));
    // Images that are prepared otherwise are other data.
    let preprocessor = at("student/preprocessor_config.json");
    write(&preprocessor, r#"{"image_mean": 0.5, "image_std": 0.5}"#);
    let (error, _) = fail(&["train", shown(&at("config.toml")), "--output", shown(&at("stopped"))]);
    assert!(error.contains("student.preprocessor_sha256 (not set there"), "{error}");
    fs::remove_file(preprocessor).unwrap();
    succeed(&["train", shown(&at("config.toml")), "--output", shown(&at("stopped"))]);
    assert!(weights(&at("whole")) == weights(&at("stopped")), "the weights differ");
    assert_eq!(numbers(&at("whole")), numbers(&at("stopped")));
}

#[test]
fn a_checkpoint_that_cannot_be_gone_on_from_is_named_with_the_mend() {
    let dir = folder();
    let config = prepare(dir.path());
    let run = dir.path().join("run");
    let start = ["train", shown(&config), "--output", shown(&run), "--steps", "8"];
    succeed(&start);
    let whole = weights(&run);
    let newest = run.join("checkpoints/step-00000008");
    let bytes = fs::read(newest.join("optimizer.safetensors")).unwrap();
    let mut integers = bytes.clone();
    let kind = bytes.windows(3).position(|three| three == b"F32").unwrap();
    integers[kind] = b'I';
    let damaged = [
        ("optimizer.safetensors", bytes[..200].to_vec()),
        ("optimizer.safetensors", integers),
        // Whole, but of another kind.
        (
            "optimizer.safetensors",
            fs::read(newest.join("model/model.safetensors")).unwrap(),
        ),
        ("state.json", b"{".to_vec()),
        ("model/model.safetensors", vec![0; 9]),
    ];
    for (name, damage) in damaged {
        let path = newest.join(name);
        let good = fs::read(&path).unwrap();
        fs::write(&path, damage).unwrap();
        let (error, code) = fail(&start);
        assert!(
            error.contains("the checkpoint of step 8 cannot be read") && error.contains(name),
            "{error}"
        );
        assert!(
            error.contains(&format!("remove {}", newest.display())) && code == 1,
            "{error}"
        );
        fs::write(&path, good).unwrap();
    }
    // One bit of a number, which no format notices.
    for name in ["optimizer.safetensors", "model/model.safetensors"] {
        let path = newest.join(name);
        let good = fs::read(&path).unwrap();
        let mut flipped = good.clone();
        *flipped.last_mut().unwrap() ^= 1;
        fs::write(&path, flipped).unwrap();
        let (error, _) = fail(&start);
        assert!(error.contains("was changed since it was written"), "{name}: {error}");
        fs::write(&path, good).unwrap();
    }
    fs::remove_dir_all(&newest).unwrap();
    succeed(&start);
    assert!(weights(&run) == whole, "gone on from step 4");
}

#[test]
fn what_a_write_left_is_removed_by_the_next_trainer_and_by_no_reader() {
    let dir = folder();
    let config = prepare(dir.path());
    let run = dir.path().join("run");
    // A process that was killed before it had its record in place.
    write(&run.join("run.json.writing"), "{");
    let start = ["train", shown(&config), "--output", shown(&run), "--steps", "4"];
    succeed(&start);
    let writing = run.join("checkpoints/.writing-8/model");
    fs::create_dir_all(&writing).unwrap();
    succeed(&["export", shown(&run), shown(&dir.path().join("exported"))]);
    assert!(writing.exists(), "another process may be writing it");
    succeed(&start);
    assert!(!writing.exists());
    assert_eq!(checkpoints(&run), ["step-00000004"]);
}
