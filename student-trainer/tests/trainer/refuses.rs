//! What is refused, and in which words.

use decant_data::{Codec, ExampleContent, SoftTargets, Values};
use student_trainer::Config;

use crate::support::{
    decoder, fail, folder, image_plan, images, images_file, perceptron, seal, shown, text_dataset, tokenizer_json,
    top_k, write,
};

fn config(student: &str, dataset: &str, rest: &str) -> String {
    format!(
        "[student]\npath = \"{student}\"\n[data]\ndataset = \"{dataset}\"\n{rest}\n[optimizer]\n[training]\nsteps = 1\nbatch_size = 4\n"
    )
}

#[test]
fn unknown_keys_are_named_with_line_and_nearest() {
    let parse = |text: &str| Config::parse(text, "run.toml").unwrap_err().to_string();
    let error = parse("seed = 1\n[student]\npath = \"x\"\n[data]\n[loss]\ntemprature = 2\n[optimizer]\n[training]\n");
    assert_eq!(
        error,
        "run.toml:6: unknown key `temprature`; did you mean `temperature`?"
    );
    let error = parse("[student]\npath = \"x\"\n[data]\n[loss]\n[optimizer]\nschedule = \"cosinus\"\n[training]\n");
    assert_eq!(error, "run.toml:6: unknown value `cosinus`; did you mean `cosine`?");
    let error = parse("[student]\npath = \"x\"\n[data]\n[loss]\nsoft_weight = \"much\"\n");
    assert!(error.starts_with("run.toml:5: invalid type"), "{error}");
    assert!(parse("[student]\npath =\n").starts_with("run.toml:2: "));
}

#[test]
fn values_that_do_not_go_together_are_named() {
    let check = |text: &str| {
        Config::parse(text, "run.toml")
            .unwrap()
            .check()
            .unwrap_err()
            .to_string()
    };
    let with = |data: &str, loss: &str, optimizer: &str, training: &str| {
        check(&format!(
            "[student]\npath = \"x\"\n[data]\n{data}\n[loss]\n{loss}\n[optimizer]\n{optimizer}\n[training]\n{training}"
        ))
    };
    let fine = "steps = 1\nbatch_size = 1";
    assert!(with("", "", "", fine).contains("data.dataset"));
    assert!(with("dataset = \"d\"\ninputs = {train = \"x\"}", "", "", fine).contains("not both"));
    assert!(with("inputs = {train = \"x\"}", "", "", fine).contains("raw inputs have no soft targets"));
    assert!(with("dataset = \"d\"", "soft_weight = 0", "", fine).contains("nothing to learn"));
    assert!(with("dataset = \"d\"", "temperature = 0", "", fine).contains("loss.temperature is 0"));
    assert!(with("dataset = \"d\"", "", "betas = [0.9, 1.0]", fine).contains("betas holds 1"));
    assert!(with("dataset = \"d\"", "temperature = 1e-50", "", fine).contains("loss.temperature"));
    assert!(with("dataset = \"d\"", "", "eps = 0", fine).contains("optimizer.eps is 0; give a positive"));
    assert!(with("dataset = \"d\"", "", "learning_rate = nan", fine).contains("learning_rate is NaN"));
    assert!(with("dataset = \"d\"\nreading = {truncate = true}", "", "", fine).contains("[data.reading] is for"));
    let stride = "inputs = {train = \"x\"}\nreading = {stride = 5}";
    assert!(with(stride, "soft_weight = 0\nhard_weight = 1", "", fine).contains("data.reading.window is not set"));
    assert!(with("dataset = \"d\"\ntrain = [\"a\", \"b\", \"a\"]", "", "", fine).contains("names \"a\" twice"));
    assert!(with("dataset = \"d\"\nevaluate = \"train\"", "", "", fine).contains("trained on"));
    assert!(with("dataset = \"d\"\nheld_out = 1.5", "", "", fine).contains("held_out is 1.5"));
    assert!(with("dataset = \"d\"", "", "", "batch_size = 1").contains("training.steps or training.epochs"));
    assert!(with("dataset = \"d\"", "", "", "steps = 1").contains("training.batch_size"));
    assert!(with("dataset = \"d\"", "", "", "steps = 1\nbatch_size = 0").contains("training.batch_size is 0"));
}

#[test]
fn a_temperature_that_was_not_declared_and_a_split_that_is_not_there() {
    let dir = folder();
    let at = |name: &str| dir.path().join(name);
    text_dataset(shown(&at("cache")), top_k());
    decoder(&at("student"), true);
    let run = |rest: &str| {
        write(
            &at("config.toml"),
            &config(shown(&at("student")), shown(&at("cache")), rest),
        );
        fail(&["train", shown(&at("config.toml")), "--output", shown(&at("run"))])
    };
    let (error, code) = run("[loss]\ntemperature = 3");
    assert!(
        error.contains("temperature 3 was not declared") && error.contains("declared: 1, 2"),
        "{error}"
    );
    assert_eq!(code, 1);
    let (error, code) = run("evaluate = \"tests\"\n[loss]");
    assert!(
        error.contains("no split \"tests\", only train, test; did you mean \"test\"?"),
        "{error}"
    );
    assert_eq!(code, 2, "a mistake in the configuration");
    let (error, _) = run("[loss]\nunknown = 1");
    assert!(error.contains("config.toml:6: unknown key `unknown`"), "{error}");
    let (error, code) = fail(&["train", shown(&at("none.toml")), "--output", shown(&at("run"))]);
    assert!(error.contains("none.toml") && code == 1, "{error}");
}

#[test]
fn a_student_with_another_tokenizer_is_refused_by_id() {
    let dir = folder();
    let at = |name: &str| dir.path().join(name);
    text_dataset(shown(&at("cache")), top_k());
    decoder(&at("student"), true);
    write(
        &at("student/tokenizer.json"),
        &tokenizer_json().replace("\"w9\"", "\"nine\""),
    );
    write(
        &at("config.toml"),
        &config(shown(&at("student")), shown(&at("cache")), "[loss]"),
    );
    let (error, _) = fail(&["train", shown(&at("config.toml")), "--output", shown(&at("run"))]);
    assert!(
        error.contains("does not fit") && error.contains("id 9 is \"nine\""),
        "{error}"
    );
    assert!(
        error.contains("\"w9\"") && error.contains(shown(&at("cache"))),
        "both sides are named: {error}"
    );
}

#[test]
fn a_student_with_other_classes_or_another_task_is_refused() {
    let dir = folder();
    let at = |name: &str| dir.path().join(name);
    images(&at("train"), 12, 1);
    let classes = ["top", "middle", "bottom"];
    let options = decant_data::input::ReadOptions::default();
    let examples = decant_data::input::open(&images_file(&at("train")), &options)
        .unwrap()
        .enumerate()
        .map(|(index, raw)| {
            let decant_data::input::Content::Image(bytes) = raw.unwrap().content else {
                panic!("an image")
            };
            let content = ExampleContent::Image(bytes);
            decant_data::Example {
                id: format!("i{index}"),
                view: 0,
                content,
                label: None,
                loss_mask: None,
            }
        });
    let plan = image_plan(Codec::Dense { values: Values::F32 }, classes);
    let targets = |_: &decant_data::Example| SoftTargets::Dense {
        classes: 3,
        logits: vec![1.0, 2.0, 3.0],
    };
    seal(shown(&at("cache")), plan, &[("train", examples.collect())], targets);
    let run = |student: &str| {
        write(&at("config.toml"), &config(student, shown(&at("cache")), "[loss]"));
        fail(&["train", shown(&at("config.toml")), "--output", shown(&at("run"))]).0
    };
    perceptron(&at("student"), ["top", "bottom", "middle"]);
    let error = run(shown(&at("student")));
    assert!(
        error.contains("class 1 is \"bottom\"") && error.contains("\"middle\""),
        "{error}"
    );
    decoder(&at("decoder"), true);
    let error = run(shown(&at("decoder")));
    assert!(
        error.contains("is for causal-lm") && error.contains("for image-classification"),
        "{error}"
    );
    let error = run("nowhere");
    assert!(error.contains("nowhere"), "{error}");
    assert!(!at("run").exists(), "nothing was begun");
}

#[test]
fn limits_in_tokens_that_no_example_fits_are_refused_before_the_first_step() {
    let dir = folder();
    let at = |name: &str| dir.path().join(name);
    images(&at("train"), 12, 1);
    perceptron(&at("student"), ["top", "middle", "bottom"]);
    let raw = format!(
        "[student]\npath = \"{}\"\n[data.inputs]\ntrain = \"{}\"\n[loss]\nsoft_weight = 0\nhard_weight = 1\n",
        shown(&at("student")),
        shown(&images_file(&at("train")))
    );
    write(
        &at("config.toml"),
        &format!("{raw}[training]\nsteps = 1\nbatch_tokens = 64\n"),
    );
    let (error, code) = fail(&["train", shown(&at("config.toml")), "--output", shown(&at("run"))]);
    assert!(
        error.contains("training.batch_tokens counts tokens") && error.contains("give batch_size"),
        "{error}"
    );
    assert_eq!(code, 2);

    text_dataset(shown(&at("cache")), top_k());
    decoder(&at("decoder"), true);
    let rows = config(shown(&at("decoder")), shown(&at("cache")), "");
    write(&at("config.toml"), &format!("{rows}row_tokens = 9\n"));
    let (error, code) = fail(&["train", shown(&at("config.toml")), "--output", shown(&at("run"))]);
    assert!(
        error.contains("training.row_tokens is 9, but example \"doc") && error.contains("has 15 tokens"),
        "{error}"
    );
    assert_eq!(code, 2);
}

#[test]
fn an_evaluation_refuses_what_it_cannot_judge() {
    let dir = folder();
    let at = |name: &str| dir.path().join(name);
    write(&at("run/run.json"), "{}");
    let run = at("run");
    let (error, _) = fail(&["eval", shown(&run), "--input", "x"]);
    assert!(error.contains("has not ended") && error.contains("export"), "{error}");
    for temperature in ["nan", "0", "-1"] {
        let flag = format!("--temperature={temperature}");
        let (error, code) = fail(&["eval", shown(&run), "--input", "x", &flag]);
        assert!(error.contains("--temperature is") && code == 2, "{error}");
    }
}
