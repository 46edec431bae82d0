//! What users get wrong: one clear line that names the place and the mend, an exit code that a shell sees, and nothing
//! lost of what was there before.

use decant_tests::{Program, fixtures};
use std::path::{Path, PathBuf};

/// A tiny teacher, its texts and a dataset that was made of them.
struct Workshop {
    folder: tempfile::TempDir,
}

impl Workshop {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fixtures::decoder(7, &folder.path().join("teacher"));
        std::fs::write(folder.path().join("texts.jsonl"), fixtures::texts(20)).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    fn precompute(&self, words: &str) -> Program {
        Program::teacher_server()
            .current_dir(self.folder.path())
            .args("precompute --top-k 4")
            .args(words)
    }

    /// A second teacher, for a test to break.
    fn another_teacher(&self) -> PathBuf {
        let teacher = self.path("broken");
        fixtures::decoder(8, &teacher);
        teacher
    }
}

#[test]
fn a_teacher_that_cannot_be_loaded() {
    let workshop = Workshop::new();
    let run = || workshop.precompute("--model broken --input texts.jsonl --output out");
    let nothing_is_left = || {
        assert!(
            !workshop.path("out").exists(),
            "a refused teacher left something behind"
        )
    };

    std::fs::create_dir(workshop.path("broken")).unwrap();
    run().refuse(&["broken", "config.json"]);

    let teacher = workshop.another_teacher();
    let weights = std::fs::read(teacher.join("model.safetensors")).unwrap();
    std::fs::write(teacher.join("model.safetensors"), &weights[..weights.len() / 2]).unwrap();
    run().refuse(&["model.safetensors"]);
    std::fs::remove_file(teacher.join("model.safetensors")).unwrap();
    run().refuse(&["broken", "safetensors"]);
    std::fs::write(teacher.join("model.safetensors"), &weights).unwrap();
    nothing_is_left();

    let mut config = fixtures::read_json(&teacher.join("config.json"));
    config["hidden_size"] = 64.into();
    fixtures::write_json(&teacher.join("config.json"), &config);
    run().refuse(&["model.safetensors", "264, 64", "264, 32"]);
    std::fs::remove_dir_all(workshop.path("out")).unwrap(); // its plan was good

    config["architectures"] = serde_json::json!(["T5ForConditionalGeneration"]);
    fixtures::write_json(&teacher.join("config.json"), &config);
    run().refuse(&["config.json", "T5ForConditionalGeneration", "LlamaForCausalLM"]);

    assert!(
        !workshop.path("out").exists(),
        "a refused teacher left something behind"
    );
}

#[test]
fn inputs_that_cannot_be_read() {
    let workshop = Workshop::new();
    let long = "word ".repeat(60);
    let cases: [(&str, String, &[&str]); 8] = [
        (
            "broken line",
            "{\"text\": \"good\"}\n{\"text\": \"bad\n".into(),
            &["input.jsonl:2"],
        ),
        (
            "a number for a text",
            "{\"text\": \"good\"}\n\n{\"text\": 5}\n".into(),
            &["input.jsonl:3", "text"],
        ),
        (
            "no text at all",
            "{\"txt\": \"good\"}\n".into(),
            &["input.jsonl:1", "text"],
        ),
        (
            "empty text",
            "{\"text\": \"good\"}\n{\"text\": \"\"}\n".into(),
            &["input.jsonl:2", "empty"],
        ),
        (
            "ids that are no ids",
            "{\"input_ids\": [1, -2]}\n".into(),
            &["input.jsonl:1", "input_ids"],
        ),
        (
            "ids that the teacher lacks",
            "{\"input_ids\": [1, 4000]}\n".into(),
            &["input.jsonl:1", "4000"],
        ),
        (
            "twice one id",
            "{\"id\": \"a\", \"text\": \"x y\"}\n".repeat(2),
            &["input.jsonl:1", "input.jsonl:2", "\"a\""],
        ),
        (
            "too long",
            format!("{{\"text\": \"{long}\"}}\n"),
            &["input.jsonl:1", "300", "256", "--truncate"],
        ),
    ];
    for (what, input, says) in cases {
        workshop.write("input.jsonl", input);
        eprintln!("{what}");
        workshop
            .precompute("--model teacher --input input.jsonl --output out")
            .refuse(says);
        assert!(
            !workshop.path("out/plan.json").exists(),
            "{what}: a plan was left behind"
        );
    }
    workshop
        .precompute("--model teacher --input nothing.jsonl --output out")
        .refuse(&["nothing.jsonl"]);
    workshop.write("input.parquet", b"PAR1 and then nothing that Parquet would have");
    workshop
        .precompute("--model teacher --input input.parquet --output out")
        .refuse(&["input.parquet"]);
}

#[test]
fn a_text_that_is_too_long_is_cut_only_when_asked() {
    let workshop = Workshop::new();
    let long = "word ".repeat(60);
    workshop.write(
        "input.jsonl",
        format!("{{\"text\": \"{long}\"}}\n{{\"text\": \"short\"}}\n"),
    );
    let cut = workshop
        .precompute("--model teacher --input input.jsonl --output out --truncate")
        .succeed();
    assert!(
        cut.stdout.contains("1 examples truncated") || cut.stdout.contains("1 example truncated"),
        "{cut}"
    );
    let plan = fixtures::read_json(&workshop.path("out/plan.json"));
    assert_eq!(plan["counts"]["truncated"], 1, "{plan}");
}

#[test]
fn an_image_of_another_size() {
    let workshop = Workshop::new();
    fixtures::with_weights(&fixtures::digits_model("student"), 3, &workshop.path("images"));
    let pixels = [&[0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 8][..], &[7; 72]].concat();
    workshop.write("train-images-idx3-ubyte", pixels);
    workshop.write("train-labels-idx1-ubyte", [0, 0, 8, 1, 0, 0, 0, 1, 4]);
    Program::teacher_server()
        .current_dir(workshop.folder.path())
        .args("precompute --model images --input train-images-idx3-ubyte --output out")
        .refuse(&["train-images-idx3-ubyte", "9 pixels high and 8 wide", "8 and 8"]);
}

#[test]
fn an_output_that_holds_another_plan_stays_as_it_is() {
    let workshop = Workshop::new();
    workshop
        .precompute("--model teacher --input texts.jsonl --output out")
        .succeed();
    let before = fixtures::table_sums(&workshop.path("out"));

    let other = workshop.precompute("--model teacher --input texts.jsonl --output out --temperatures 1,3");
    other.refuse(&["out", "temperatures", "[1.0]", "[1.0,3.0]"]);
    workshop.write("texts.jsonl", fixtures::texts(21));
    workshop
        .precompute("--model teacher --input texts.jsonl --output out")
        .refuse(&["out", "sources", "sha256"]);

    assert_eq!(fixtures::table_sums(&workshop.path("out")), before);
    Program::soft_labels()
        .current_dir(workshop.folder.path())
        .args("verify out")
        .succeed();
    // the same plan again is no mistake: there is nothing to do
    workshop.write("texts.jsonl", fixtures::texts(20));
    workshop
        .precompute("--model teacher --input texts.jsonl --output out")
        .succeed();
}

#[test]
fn one_flipped_bit_is_found() {
    let workshop = Workshop::new();
    workshop
        .precompute("--model teacher --input texts.jsonl --output out")
        .succeed();
    let table = workshop.path("out/data/train-00000-of-00001.parquet");
    let mut bytes = std::fs::read(&table).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&table, bytes).unwrap();
    let soft_labels = |words: &str| Program::soft_labels().current_dir(workshop.folder.path()).args(words);
    soft_labels("verify out").refuse(&["train-00000-of-00001.parquet", "sha256"]);
    soft_labels("export out table.parquet --temperature 1").refuse(&["train-00000-of-00001.parquet"]);
    assert!(!workshop.path("table.parquet").exists());
}

#[test]
fn a_port_in_use() {
    let workshop = Workshop::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    Program::teacher_server()
        .current_dir(workshop.folder.path())
        .args("serve --model teacher --root . --listen")
        .arg(&address)
        .refuse(&[&address, "in use"]);
}

#[test]
fn a_server_that_others_could_reach_unprotected() {
    let workshop = Workshop::new();
    Program::teacher_server()
        .current_dir(workshop.folder.path())
        .args("serve --model teacher --root . --listen 0.0.0.0:0")
        .refuse(&["0.0.0.0", "--tls-cert", "--token-file", "--insecure"]);
}

#[test]
fn unknown_keys_in_configuration_files() {
    let workshop = Workshop::new();
    workshop.write("decant.toml", "[precompute]\nmodel = \"teacher\"\nbatch_tokns = 100\n");
    workshop
        .precompute("--config decant.toml --input texts.jsonl --output out")
        .refuse(&["decant.toml:3", "batch_tokns", "batch_tokens"]);

    let config = std::fs::read_to_string(decant_tests::repository().join("examples/digits/distilled.toml")).unwrap();
    workshop.write("student.toml", config.replace("temperature =", "temprature ="));
    Program::student_trainer()
        .args("train")
        .arg(workshop.path("student.toml"))
        .arg("--output")
        .arg(workshop.path("run"))
        .refuse(&["student.toml:", "temprature", "temperature"]);
    assert!(!workshop.path("run").exists());
}

#[test]
fn a_temperature_that_was_not_declared() {
    let workshop = Workshop::new();
    workshop
        .precompute("--model teacher --input texts.jsonl --output out --temperatures 1,2")
        .succeed();
    Program::soft_labels()
        .current_dir(workshop.folder.path())
        .args("export out table.parquet --temperature 1.5")
        .refuse(&["1.5", "1, 2"]);
}

/// A small file system of its own, unmounted when dropped. `None`, and a line that says so, where that is not allowed.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, bytes: u64) -> Option<Self> {
        std::fs::create_dir(at).unwrap();
        let size = format!("size={bytes}");
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(at)
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(at.to_owned())),
            _ => {
                eprintln!("SKIPPED: a small file system cannot be mounted here (that takes root)");
                None
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn no_space_costs_nothing_of_what_is_committed() {
    let workshop = Workshop::new();
    workshop.write("texts.jsonl", fixtures::texts(3000));
    let Some(disk) = SmallDisk::mount(&workshop.path("small"), 1 << 20) else {
        return;
    };
    let flags = "--model teacher --input texts.jsonl --top-k 32 --examples-per-shard 100";
    let precompute = |output: &str| {
        Program::teacher_server()
            .current_dir(workshop.folder.path())
            .args(&format!("precompute {flags} --output {output}"))
    };
    let refused = precompute("small/out").run();
    assert!(
        !refused.status.success() && refused.stderr.contains("No space left on device"),
        "{refused}"
    );
    assert!(refused.stderr.contains("small/out"), "{refused}");

    // room again: the shards that were committed count, and the rest follows
    let committed = std::fs::read_dir(disk.0.join("out/commits")).map_or(0, Iterator::count);
    assert!(
        committed > 0,
        "the disk was full before the first commit; make it larger"
    );
    let remount = ["-o", "remount,size=64m"];
    assert!(
        std::process::Command::new("mount")
            .args(remount)
            .arg(&disk.0)
            .status()
            .unwrap()
            .success()
    );
    let done = precompute("small/out").succeed();
    assert!(
        done.stdout.contains(&format!("{committed} were committed before")),
        "{done}"
    );
    precompute("elsewhere").succeed();
    assert_eq!(
        fixtures::table_sums(&disk.0.join("out")),
        fixtures::table_sums(&workshop.path("elsewhere"))
    );
}
