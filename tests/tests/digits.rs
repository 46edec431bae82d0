//! The main job on the handwritten digits, by the commands of `examples/digits`.

use decant_tests::{Program, examples, fixtures};
use serde_json::Value;
use std::path::Path;

fn students(folder: &Path, file: &str) -> [Value; 3] {
    ["hard_only", "argmax", "distilled"].map(|kind| {
        fixtures::read_json(
            &folder
                .join("target/quickstart/runs")
                .join(format!("{kind}-1"))
                .join(file),
        )
    })
}

#[test]
fn students_learn_from_the_dataset_alone() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // fewer steps than the configs say: this is about the way, not about the figures
    examples::run("digits", folder, &[("DECANT_STEPS", "150")]);

    let [hard, argmax, distilled] = students(folder, "report.json");
    assert_eq!(
        (&hard["labels"], &argmax["labels"], &distilled["labels"]),
        (&80.into(), &0.into(), &0.into())
    );
    assert_eq!(
        (&argmax["examples"], &distilled["examples"]),
        (&478.into(), &478.into())
    );
    // (64 + 1) x 32 + (32 + 1) x 10
    assert_eq!(distilled["parameters"], 2410);
    for student in students(folder, "test.json") {
        assert_eq!(student["examples"], 497);
        let accuracy = student["accuracy"].as_f64().unwrap();
        assert!(accuracy > 0.75, "a tenth would be chance: {student}");
    }

    // nothing of the test part is in the dataset
    let plan = fixtures::read_json(&folder.join("target/quickstart/cache/plan.json"));
    let sources = plan["spec"]["sources"].as_array().unwrap();
    let splits: Vec<&str> = sources.iter().map(|source| source["split"].as_str().unwrap()).collect();
    assert_eq!(splits, ["labelled", "unlabelled", "validation"]);

    a_student_of_other_classes_is_refused(folder);
}

fn a_student_of_other_classes_is_refused(folder: &Path) {
    let student = folder.join("student");
    std::fs::create_dir(&student).unwrap();
    let mut config = fixtures::read_json(&fixtures::digits_model("student").join("config.json"));
    config["id2label"]["7"] = "seven".into();
    fixtures::write_json(&student.join("config.json"), &config);
    Program::student_trainer()
        .current_dir(folder)
        .args("train examples/digits/distilled.toml --output refused --student student")
        .refuse(&["student", "\"seven\"", "target/quickstart/cache", "\"7\""]);
    assert!(!folder.join("refused").exists());
}
