//! A tiny language model, from its texts to a student and to a table of probabilities.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type};
use arrow_array::{Array, RecordBatch};
use decant_tests::{Program, Server, fixtures};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const FLAGS: &str = "--split train=train.jsonl --split validation=validation.jsonl --codec top_k --top-k 6 \
                     --temperatures 1,2 --values f16 --examples-per-shard 16";

fn prepare(folder: &Path) {
    fixtures::decoder(7, &folder.join("teacher"));
    let texts = fixtures::texts(120);
    let (train, validation): (Vec<&str>, Vec<&str>) = texts.lines().partition(|line| !line.contains("0\","));
    std::fs::write(folder.join("train.jsonl"), train.join("\n")).unwrap();
    std::fs::write(folder.join("validation.jsonl"), validation.join("\n")).unwrap();
}

fn teacher_server(folder: &Path, words: &str) -> Program {
    Program::teacher_server().current_dir(folder).args(words)
}

fn soft_labels(folder: &Path, words: &str) -> Program {
    Program::soft_labels().current_dir(folder).args(words)
}

#[test]
fn one_step_three_steps_and_a_job_make_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    prepare(folder);

    teacher_server(folder, &format!("precompute --model teacher --output one {FLAGS}")).succeed();
    teacher_server(folder, &format!("plan --model teacher --output three {FLAGS}")).succeed();
    soft_labels(folder, "seal three").refuse(&["three"]);
    // two workers from different shards, the second of them with other threads
    let work = |index: u32| {
        teacher_server(
            folder,
            &format!("work --model teacher --output three --shard-index {index}"),
        )
    };
    let (first, second) = (
        work(0).into_command().spawn(),
        work(4).env("RAYON_NUM_THREADS", "1").into_command().spawn(),
    );
    for worker in [first, second] {
        assert!(worker.unwrap().wait().unwrap().success());
    }
    soft_labels(folder, "seal three").succeed();
    let server = Server::start(&folder.join("teacher"), folder);
    let submit = || teacher_server(folder, &format!("submit --watch --output job {FLAGS} --server")).arg(&server.url);
    while submit().run().status.code() == Some(75) {} // the teacher is still loading
    submit().succeed();

    let one = fixtures::table_sums(&folder.join("one"));
    assert!(one.len() > 2, "{one:?}");
    assert_eq!(fixtures::table_sums(&folder.join("three")), one);
    assert_eq!(fixtures::table_sums(&folder.join("job")), one);
}

#[test]
fn a_student_comes_nearer_to_its_teacher() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    prepare(folder);
    teacher_server(folder, &format!("precompute --model teacher --output cache {FLAGS}")).succeed();
    std::fs::rename(folder.join("teacher"), folder.join("away")).unwrap();
    fixtures::describe_decoder(&folder.join("student"));
    let config = "
        student.path = \"student\"
        data = { dataset = \"cache\", evaluate = \"validation\" }
        loss = { temperature = 2 }
        optimizer = { learning_rate = 1e-2 }
        training = { steps = 60, batch_size = 8 }";
    std::fs::write(folder.join("student.toml"), config).unwrap();
    let train = |steps: u32, output: &str| {
        Program::student_trainer()
            .current_dir(folder)
            .args(&format!("train student.toml --json --steps {steps} --output {output}"))
            .succeed()
            .json()
    };
    let (begun, trained) = (train(1, "begun"), train(60, "trained"));
    let kl = |report: &serde_json::Value| report["evaluation"]["kl"].as_f64().unwrap();
    assert!(kl(&trained) < 0.7 * kl(&begun), "{} {}", kl(&begun), kl(&trained));

    // another tokenizer with as many ids is another tokenizer
    let mut tokenizer = fixtures::byte_tokenizer();
    let vocabulary = tokenizer["model"]["vocab"].as_object_mut().unwrap();
    let (a, b) = (vocabulary["a"].clone(), vocabulary["b"].clone());
    vocabulary.extend([("a".to_owned(), b), ("b".to_owned(), a)]);
    fixtures::write_json(&folder.join("student/tokenizer.json"), &tokenizer);
    Program::student_trainer()
        .current_dir(folder)
        .args("train student.toml --output refused")
        .refuse(&["student", "cache", "\"a\"", "\"b\""]);
}

#[test]
fn probabilities_can_be_read_as_a_plain_table() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    prepare(folder);
    teacher_server(folder, &format!("precompute --model teacher --output cache {FLAGS}")).succeed();
    soft_labels(folder, "export cache table.parquet --temperature 2").succeed();

    let table = std::fs::File::open(folder.join("table.parquet")).unwrap();
    let batches: Vec<RecordBatch> = ParquetRecordBatchReaderBuilder::try_new(table)
        .unwrap()
        .build()
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let (mut sums, mut rows, mut ids) = (BTreeMap::<(String, i32), (f64, usize)>::new(), 0, BTreeSet::new());
    for batch in &batches {
        let column = |name: &str| batch.column_by_name(name).unwrap();
        let (id, position) = (
            column("id").as_string::<i32>(),
            column("position").as_primitive::<Int32Type>(),
        );
        let (class, probability) = (
            column("class").as_primitive::<Int32Type>(),
            column("probability").as_primitive::<Float64Type>(),
        );
        for row in 0..batch.num_rows() {
            let sum = sums.entry((id.value(row).to_owned(), position.value(row))).or_default();
            sum.0 += probability.value(row);
            sum.1 += usize::from(class.is_null(row));
            rows += 1;
            ids.insert(id.value(row).to_owned());
        }
    }
    assert_eq!(ids.len(), 120);
    // six tokens and the tail, at each position
    assert_eq!(rows, 7 * sums.len());
    for (place, (sum, tails)) in sums {
        assert!(
            (sum - 1.0).abs() < 1e-3 && tails == 1,
            "{place:?}: {sum}, {tails} tails"
        );
    }
}
