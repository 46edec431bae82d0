//! A real language model, by the commands of `examples/smollm2`.

use decant_tests::{asset, examples, fixtures};

#[test]
fn a_small_student_of_smollm2_beats_a_unigram_model() {
    let (Some(_), Some(_)) = (asset("smollm2-135m-instruct"), asset("text/python3.11-docs.rst.txt")) else {
        return;
    };
    let assets = std::fs::canonicalize(std::env::var_os("DECANT_ASSETS").unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    examples::run("smollm2", folder.path(), &[("DECANT_ASSETS", assets.to_str().unwrap())]);

    let target = folder.path().join("target/smollm2");
    let report = fixtures::read_json(&target.join("run/report.json"));
    let parameters = report["parameters"].as_u64().unwrap();
    assert!((1_000_000..10_000_000).contains(&parameters), "{parameters}");
    let evaluation = fixtures::read_json(&target.join("evaluation.json"));
    eprintln!("{evaluation:#}");
    let (kl, unigram) = (
        evaluation["kl"].as_f64().unwrap(),
        evaluation["unigram_kl"].as_f64().unwrap(),
    );
    assert!(evaluation["positions"].as_u64().unwrap() > 5_000, "{evaluation}");
    assert!(kl < unigram, "KL to the teacher: {kl}, of a unigram model: {unigram}");
    // the tokenizer came with the dataset, and goes with the export
    let same = |file: &str| std::fs::read(target.join(file)).unwrap();
    assert_eq!(same("exported/tokenizer.json"), same("no-longer-here/tokenizer.json"));
}
