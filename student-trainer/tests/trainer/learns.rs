//! What students learn.

use serde_json::Value;

use crate::support::{
    decoder, documents, folder, images, images_file, metrics, perceptron, program, report, residual, shown, succeed,
    text_dataset, top_k, write,
};

#[test]
fn a_perceptron_learns_separable_images_from_raw_inputs() {
    let dir = folder();
    let at = |name: &str| dir.path().join(name);
    images(&at("train"), 120, 1);
    images(&at("test"), 60, 2);
    perceptron(&at("student"), ["top", "middle", "bottom"]);
    let config = format!(
        r#"
        seed = 3
        [student]
        path = "{}"
        [data]
        evaluate = "test"
        [data.inputs]
        train = "{}"
        test = "{}"
        [loss]
        soft_weight = 0
        hard_weight = 1
        [optimizer]
        learning_rate = 1e-2
        warmup_steps = 5
        [training]
        epochs = 5
        batch_size = 16
        evaluate_every = 20
        "#,
        shown(&at("student")),
        shown(&images_file(&at("train"))),
        shown(&images_file(&at("test")))
    );
    write(&at("config.toml"), &config);
    let out = succeed(&[
        "train",
        shown(&at("config.toml")),
        "--output",
        shown(&at("run")),
        "--json",
    ]);
    let printed: Value = serde_json::from_str(&out).unwrap();
    let report = report(&at("run"));
    assert_eq!(printed, report);
    assert!(report["evaluation"]["accuracy"].as_f64().unwrap() > 0.95, "{report}");
    assert_eq!(
        (&report["steps"], &report["epochs"]),
        (&40.into(), &5.0.into()),
        "5 epochs of 7 whole batches and one of 8"
    );
    assert_eq!((&report["labels"], &report["examples"]), (&120.into(), &120.into()));
    assert_eq!(report["parameters"], 36 * 16 + 16 + 16 * 3 + 3);
    assert_eq!(report["provenance"]["data"]["inputs"].as_array().unwrap().len(), 2);

    let lines = metrics(&at("run"));
    assert_eq!(lines.iter().filter(|line| line.get("loss").is_some()).count(), 40);
    assert_eq!(lines.iter().filter(|line| line.get("evaluation").is_some()).count(), 2);
    for key in [
        "step",
        "loss",
        "soft_loss",
        "hard_loss",
        "learning_rate",
        "grad_norm",
        "examples_per_second",
        "seconds",
    ] {
        assert!(lines[0][key].is_number(), "{key}");
    }
    assert!(lines[0]["peak_rss_bytes"].is_number() || !cfg!(target_os = "linux"));
    // Every line of a step has every key.
    assert_eq!(lines[0].get("tokens_per_second"), Some(&Value::Null));
    assert_eq!(lines[0]["soft_loss"], 0.0);
    assert_eq!(lines[0]["learning_rate"], 1e-2 / 5.0);

    // The written model says the same of itself, as a run, as a folder and exported.
    succeed(&["export", shown(&at("run")), shown(&at("exported"))]);
    for model in ["run", "run/model", "exported"] {
        let said = succeed(&[
            "eval",
            shown(&at(model)),
            "--input",
            shown(&images_file(&at("test"))),
            "--json",
        ]);
        let said: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(said["accuracy"], report["evaluation"]["accuracy"], "{model}");
    }
    assert!(
        !program(&["export", shown(&at("run")), shown(&at("exported"))])
            .status
            .success(),
        "not over another model"
    );
}

#[test]
fn a_decoder_learns_a_cycle_from_raw_texts() {
    let dir = folder();
    let at = |name: &str| dir.path().join(name);
    decoder(&at("student"), true);
    write(&at("student/tokenizer.json"), &crate::support::tokenizer_json());
    let lines = |seed| {
        let documents = documents(80, seed);
        let words = |document: &Vec<u32>| {
            document
                .iter()
                .map(|word| format!("w{word}"))
                .collect::<Vec<_>>()
                .join(" ")
        };
        documents
            .iter()
            .map(|document| words(document) + "\n")
            .collect::<String>()
    };
    write(&at("train.txt"), &lines(1));
    write(&at("test.txt"), &lines(2));
    let config = format!(
        r#"
        [student]
        path = "{}"
        [data]
        evaluate = "test"
        [data.inputs]
        train = "{}"
        test = "{}"
        [data.reading]
        text_unit = "line"
        [loss]
        soft_weight = 0
        hard_weight = 1
        [optimizer]
        learning_rate = 2e-2
        [training]
        steps = 80
        batch_tokens = 200
        "#,
        shown(&at("student")),
        shown(&at("train.txt")),
        shown(&at("test.txt"))
    );
    write(&at("config.toml"), &config);
    succeed(&["train", shown(&at("config.toml")), "--output", shown(&at("run"))]);
    let evaluation = &report(&at("run"))["evaluation"];
    // The cycle itself has an entropy of 0.5 nats; a uniform guess over 22 words has 3.1.
    let cross_entropy = evaluation["cross_entropy"].as_f64().unwrap();
    assert!(cross_entropy < 0.75, "{evaluation}");
    assert!((evaluation["perplexity"].as_f64().unwrap() - cross_entropy.exp()).abs() < 1e-9);
    assert!(metrics(&at("run"))[0]["tokens_per_second"].is_number());
    let said = succeed(&[
        "eval",
        shown(&at("run")),
        "--input",
        shown(&at("test.txt")),
        "--text-unit",
        "line",
        "--json",
    ]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert!(
        (said["cross_entropy"].as_f64().unwrap() - cross_entropy).abs() < 1e-5,
        "other batches, the same student"
    );
}

#[test]
fn a_decoder_distilled_from_the_cache_beats_a_unigram_model() {
    let dir = folder();
    let at = |name: &str| dir.path().join(name);
    let location = at("cache");
    text_dataset(shown(&location), top_k());
    // No tokenizer of its own: it adopts the dataset's.
    decoder(&at("student"), false);
    let config = format!(
        r#"
        [student]
        path = "{}"
        [data]
        dataset = "{}"
        evaluate = "test"
        [loss]
        temperature = 2
        hard_weight = 0.1
        [optimizer]
        learning_rate = 2e-2
        [training]
        steps = 80
        batch_size = 16
        micro_batch_size = 8
        "#,
        shown(&at("student")),
        shown(&location)
    );
    write(&at("config.toml"), &config);
    let output = program(&["train", shown(&at("config.toml")), "--output", shown(&at("run"))]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{told}");
    assert!(told.contains("10 of the student's 32 outputs have no token"), "{told}");
    assert_eq!(report(&at("run"))["outputs_outside"], 10);
    let evaluation = &report(&at("run"))["evaluation"];
    let (kl, unigram) = (
        evaluation["kl"].as_f64().unwrap(),
        evaluation["unigram_kl"].as_f64().unwrap(),
    );
    assert!(kl < 0.1 * unigram && kl < 0.03, "{evaluation}");
    assert!(evaluation["agreement"].as_f64().unwrap() > 0.95, "{evaluation}");
    let adopted = std::fs::read_to_string(at("run/model/tokenizer.json")).unwrap();
    assert_eq!(adopted, crate::support::tokenizer_json());

    let run = at("run");
    let arguments = [
        "eval",
        shown(&run),
        "--data",
        shown(&location),
        "--temperature",
        "2",
        "--unigram-split",
        "train",
    ];
    let said: Value = serde_json::from_str(&succeed(&[&arguments[..], &["--json"]].concat())).unwrap();
    assert!(
        (said["kl"].as_f64().unwrap() - kl).abs() < 1e-6
            && (said["unigram_kl"].as_f64().unwrap() - unigram).abs() < 1e-6
    );
    assert!(succeed(&arguments).contains("KL to the teacher at T = 2"));
}

#[test]
fn a_gradient_beyond_the_limit_is_scaled_down_to_it() {
    let dir = folder();
    let at = |name: &str| dir.path().join(name);
    images(&at("train"), 12, 1);
    perceptron(&at("student"), ["top", "middle", "bottom"]);
    // With such an eps a first step of AdamW is the gradient itself.
    let run = |name: &str, clip_norm: f64| -> (f64, Vec<f32>) {
        let config = format!(
            "[student]\npath = \"{}\"\n[data.inputs]\ntrain = \"{}\"\n[loss]\nsoft_weight = 0\nhard_weight = 1\n\
             [optimizer]\nlearning_rate = 1e6\neps = 1e6\nschedule = \"constant\"\nweight_decay = 0\n\
             clip_norm = {clip_norm}\n[training]\nsteps = 1\nbatch_size = 12\n",
            shown(&at("student")),
            shown(&images_file(&at("train")))
        );
        write(&at("config.toml"), &config);
        succeed(&["train", shown(&at("config.toml")), "--output", shown(&at(name))]);
        let weights = at(name).join("model/model.safetensors");
        let weights = candle_core::safetensors::load(weights, &candle_core::Device::Cpu).unwrap();
        let head = weights["classifier.weight"].flatten_all().unwrap().to_vec1().unwrap();
        (metrics(&at(name))[0]["grad_norm"].as_f64().unwrap(), head)
    };
    let (norm, whole) = run("whole", 0.0);
    assert!(norm > 0.1, "{norm}");
    let (told, below) = run("below", 2.0 * norm);
    assert_eq!(
        (told, &below),
        (norm, &whole),
        "the norm is told as it was, and short gradients are left alone"
    );
    let (told, half) = run("half", norm / 2.0);
    assert_eq!(told, norm);
    let (_, quarter) = run("quarter", norm / 4.0);
    for ((whole, half), quarter) in whole.iter().zip(&half).zip(&quarter) {
        // start - gradient, start - gradient / 2, start - gradient / 4
        assert!(
            ((whole - half) - 2.0 * (half - quarter)).abs() < 1e-6,
            "{whole} {half} {quarter}"
        );
    }
    assert!(whole.iter().zip(&half).any(|(whole, half)| (whole - half).abs() > 1e-2));
}

#[test]
fn an_evaluation_judges_each_example_by_itself() {
    let dir = folder();
    let at = |name: &str| dir.path().join(name);
    images(&at("train"), 24, 1);
    residual(&at("student"));
    let config = format!(
        "[student]\npath = \"{}\"\n[data.inputs]\ntrain = \"{}\"\n[loss]\nsoft_weight = 0\nhard_weight = 1\n\
         [training]\nsteps = 3\nbatch_size = 8\n",
        shown(&at("student")),
        shown(&images_file(&at("train")))
    );
    write(&at("config.toml"), &config);
    succeed(&["train", shown(&at("config.toml")), "--output", shown(&at("run"))]);
    // Batch norm by the batch's own statistics would make them depend on their company.
    let judged = |batch_size: &str| -> f64 {
        let (run, images) = (at("run"), images_file(&at("train")));
        let said = succeed(&[
            "eval",
            shown(&run),
            "--input",
            shown(&images),
            "--batch-size",
            batch_size,
            "--json",
        ]);
        serde_json::from_str::<Value>(&said).unwrap()["cross_entropy"]
            .as_f64()
            .unwrap()
    };
    assert!((judged("24") - judged("1")).abs() < 1e-6);
}
