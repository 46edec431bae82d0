//! Which of file, environment and flag has the say.

use crate::support::{command, folder, images, images_file, perceptron, report, shown, write};

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let dir = folder();
    let at = |name: &str| dir.path().join(name);
    images(&at("train"), 12, 1);
    perceptron(&at("student"), ["top", "middle", "bottom"]);
    let config = format!(
        "seed = 1\n[student]\npath = \"nowhere\"\n[data.inputs]\ntrain = \"{}\"\n[loss]\nsoft_weight = 0\nhard_weight = 1\n\
         [optimizer]\nlearning_rate = 0.5\n[training]\nepochs = 9\nbatch_size = 12\n",
        shown(&images_file(&at("train")))
    );
    write(&at("config.toml"), &config);
    let output = command(&[
        "train",
        shown(&at("config.toml")),
        "--output",
        shown(&at("run")),
        "--seed",
        "3",
    ])
    .env("DECANT_SEED", "2")
    .env("DECANT_STEPS", "2")
    .env("DECANT_STUDENT", at("student"))
    .output()
    .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = report(&at("run"));
    assert_eq!((&report["steps"], &report["config"]["seed"]), (&2.into(), &3.into()));
    assert_eq!(report["config"]["optimizer"]["learning_rate"], 0.5);
    assert_eq!(
        report["evaluation"],
        serde_json::Value::Null,
        "there is nothing to evaluate on"
    );
}
