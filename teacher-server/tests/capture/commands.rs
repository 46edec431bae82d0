//! The built binary: one step or three, any number of threads, any interruption.

use crate::fixtures::{self, command, documents, fail, images, succeed, tables, teacher_server};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

struct Fixture {
    dir: tempfile::TempDir,
    model: String,
    input: String,
}

impl Fixture {
    fn new(count: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let model = fixtures::decoder(dir.path(), 1).to_str().unwrap().to_owned();
        let input = dir.path().join("in.jsonl");
        documents(&input, count);
        Self {
            model,
            input: input.to_str().unwrap().to_owned(),
            dir,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The command line of `precompute` or `plan` into a folder.
    fn flags<'a>(&'a self, subcommand: &'a str, output: &'a str) -> Vec<&'a str> {
        let shards = ["--examples-per-shard", "3", "--top-k", "4", "--temperatures", "1,2"];
        [
            &[
                subcommand,
                "--model",
                &self.model,
                "--input",
                &self.input,
                "--output",
                output,
            ][..],
            &shards,
        ]
        .concat()
    }

    fn precompute(&self, name: &str, variables: &[(&str, &str)]) -> PathBuf {
        let output = self.path(name);
        succeed(&teacher_server(
            &self.flags("precompute", output.to_str().unwrap()),
            variables,
        ));
        output
    }
}

/// Every marker of a dataset.
fn markers(dataset: &Path) -> Vec<PathBuf> {
    let mut markers: Vec<PathBuf> = match fs::read_dir(dataset.join("commits")) {
        Ok(entries) => entries.map(|entry| entry.unwrap().path()).collect(),
        Err(_) => Vec::new(),
    };
    markers.sort();
    markers
}

fn seal(dataset: &Path) {
    decant_data::seal(&decant_data::Store::open(dataset.to_str().unwrap()).unwrap(), &mut ()).unwrap();
}

#[test]
fn three_steps_give_the_bytes_of_one() {
    let fixture = Fixture::new(14);
    let one = fixture.precompute("one", &[]);
    let three = fixture.path("three");
    let output = three.to_str().unwrap();
    let said = succeed(&teacher_server(&fixture.flags("plan", output), &[]));
    assert!(
        said.starts_with("plan ") && said.contains("14 examples") && said.contains("5 shards"),
        "{said}"
    );
    let work = ["work", "--model", &fixture.model, "--output", output];
    succeed(&teacher_server(
        &work,
        &[("SLURM_ARRAY_TASK_ID", "1"), ("SLURM_ARRAY_TASK_COUNT", "2")],
    ));
    seal(&three);
    assert_eq!(tables(&one), tables(&three));
    assert_eq!(
        fs::read(one.join("plan.json")).unwrap(),
        fs::read(three.join("plan.json")).unwrap()
    );
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let fixture = Fixture::new(9);
    let one = fixture.precompute("one", &[("RAYON_NUM_THREADS", "1"), ("CANDLE_NUM_THREADS", "1")]);
    let many = fixture.precompute("many", &[("RAYON_NUM_THREADS", "5")]);
    assert_eq!(tables(&one), tables(&many));
}

#[test]
fn work_goes_on_where_half_of_the_shards_are_committed() {
    let fixture = Fixture::new(14);
    let whole = fixture.precompute("whole", &[]);
    let half = fixture.path("half");
    let output = half.to_str().unwrap();
    succeed(&teacher_server(&fixture.flags("plan", output), &[]));
    let work = ["work", "--model", &fixture.model, "--output", output];
    succeed(&teacher_server(&work, &[]));
    let before = markers(&half);
    assert_eq!(before.len(), 5);
    for marker in before.iter().step_by(2) {
        fs::remove_file(marker).unwrap();
    }
    let said = succeed(&teacher_server(&work, &[]));
    assert!(
        said.contains("committed 3 shards") && said.contains("2 were committed before"),
        "{said}"
    );
    assert_eq!(markers(&half), before);
    seal(&half);
    assert_eq!(tables(&whole), tables(&half));
}

#[test]
fn a_finished_dataset_says_so_and_is_left_alone() {
    let fixture = Fixture::new(4);
    let done = fixture.precompute("done", &[]);
    let output = done.to_str().unwrap();
    let before = tables(&done);
    let said = succeed(&teacher_server(&fixture.flags("precompute", output), &[]));
    assert!(said.contains("sealed already"), "{said}");
    let said = succeed(&teacher_server(
        &["work", "--model", &fixture.model, "--output", output],
        &[],
    ));
    assert!(said.contains("nothing to do"), "{said}");
    assert_eq!(tables(&done), before);

    let another = [fixture.flags("precompute", output), vec!["--values", "f32"]].concat();
    let error = fail(&teacher_server(&another, &[]), 1);
    assert!(error.starts_with("error: ") && error.contains("values"), "{error}");
    assert_eq!(tables(&done), before);
}

#[test]
fn a_signal_drops_the_attempt_and_the_rest_is_done_later() {
    let fixture = Fixture::new(600);
    let output = fixture.path("stopped");
    let precompute = ["precompute", "--model", &fixture.model, "--input", &fixture.input];
    let flags = [
        &precompute[..],
        &["--output", output.to_str().unwrap(), "--examples-per-shard", "1"],
    ]
    .concat();
    let mut child = command(&flags, &[])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let patience = Instant::now();
    while markers(&output).is_empty() {
        assert!(patience.elapsed() < Duration::from_secs(120), "no shard was committed");
        assert!(child.try_wait().unwrap().is_none(), "ended before it was stopped");
        std::thread::sleep(Duration::from_millis(2));
    }
    let killed = std::process::Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    let ended = child.wait_with_output().unwrap();
    let error = fail(&ended, 75);
    assert!(error.contains("cancelled"), "{error}");
    let committed = markers(&output).len();
    assert!(committed < 600, "stopped in the middle");
    let staged = fs::read_dir(output.join("staging")).unwrap().count();
    assert_eq!(staged, committed, "only what is committed is left");
    assert!(!output.join("manifest.json").exists());

    let said = succeed(&teacher_server(&flags, &[]));
    assert!(said.contains("sealed"), "{said}");
    assert_eq!(markers(&output).len(), 600);
}

#[test]
fn flags_win_over_variables_and_variables_over_the_file() {
    let fixture = Fixture::new(3);
    let config = fixture.path("decant.toml");
    fs::write(
        &config,
        format!(
            "model = {:?}\ninput = {:?}\ntop_k = 5\nseed = 1\n",
            fixture.model, fixture.input
        ),
    )
    .unwrap();
    let output = fixture.path("layers");
    let flags = [
        "plan",
        "--config",
        config.to_str().unwrap(),
        "--output",
        output.to_str().unwrap(),
        "--top-k",
        "7",
    ];
    succeed(&teacher_server(&flags, &[("DECANT_TOP_K", "6"), ("DECANT_SEED", "2")]));
    let plan = decant_data::Plan::read(&decant_data::Store::open(output.to_str().unwrap()).unwrap()).unwrap();
    let decant_data::Codec::TopK { k, .. } = plan.spec.codec else {
        panic!()
    };
    assert_eq!((k, plan.spec.seed), (7, 2));

    fs::write(&config, "top_kk = 5\n").unwrap();
    let error = fail(&teacher_server(&flags, &[]), 2);
    assert!(error.contains("top_kk") && error.contains("top_k"), "{error}");
}

#[test]
fn what_is_missing_or_broken_is_one_line_and_no_success() {
    let fixture = Fixture::new(3);
    let output = fixture.path("never");
    let output = output.to_str().unwrap();
    let with = |model: &str, input: &str| {
        fail(
            &teacher_server(
                &["precompute", "--model", model, "--input", input, "--output", output],
                &[],
            ),
            1,
        )
    };
    let nowhere = fixture.path("nowhere");
    let error = with(nowhere.to_str().unwrap(), &fixture.input);
    assert!(error.contains("nowhere"), "{error}");
    let error = with(&fixture.model, nowhere.to_str().unwrap());
    assert!(error.contains("nowhere"), "{error}");
    let pictures = images(fixture.dir.path(), "some", 4, &[0]);
    let error = with(&fixture.model, pictures.to_str().unwrap());
    assert!(
        error.contains("some-images-idx3-ubyte row 0") && error.contains("reads text"),
        "{error}"
    );
    let weights = Path::new(&fixture.model).join("model.safetensors");
    let bytes = fs::read(&weights).unwrap();
    fs::write(&weights, &bytes[..bytes.len() - 100]).unwrap();
    let error = with(&fixture.model, &fixture.input);
    assert!(error.contains("model.safetensors"), "{error}");
    fail(
        &teacher_server(
            &[
                "work",
                "--model",
                &fixture.model,
                "--output",
                output,
                "--shard-count",
                "0",
            ],
            &[],
        ),
        1,
    );
    fail(&teacher_server(&["precompute", "--no-such-flag"], &[]), 2);
}

#[test]
fn a_capture_goes_on_when_nobody_reads_what_it_says() {
    let fixture = Fixture::new(20);
    let output = fixture.path("unheard");
    let mut child = command(&fixture.flags("precompute", output.to_str().unwrap()), &[])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    assert!(child.wait().unwrap().success());
    assert_eq!(tables(&output), tables(&fixture.precompute("heard", &[])));
}
