//! Reading and writing directories, and what each fault is answered with.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use decant_models::{Batch, Checkpoint, Kind, Mode, Model, Taps, TokenBatch};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{DECODERS, fixture, load, logits, values};

const SINGLE: &str = "model.safetensors";

/// A copy of a fixture that a test may spoil.
fn copy(name: &str) -> TempDir {
    let dir = TempDir::new().unwrap();
    for file in ["config.json", SINGLE] {
        fs::copy(fixture(name).join(file), dir.path().join(file)).unwrap();
    }
    dir
}

fn change_config(dir: &Path, change: impl FnOnce(&mut Value)) {
    let path = dir.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut config);
    fs::write(path, config.to_string()).unwrap();
}

fn change_weights(dir: &Path, change: impl FnOnce(&mut HashMap<String, Tensor>)) {
    let path = dir.join(SINGLE);
    let mut tensors = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
    change(&mut tensors);
    candle_core::safetensors::save(&tensors, path).unwrap();
}

/// The message of whatever fails first, opening or loading; it must be for the user to mend.
fn refusal(dir: &Path) -> String {
    let error = match Checkpoint::open(dir).and_then(|checkpoint| checkpoint.load(DType::F32, &Device::Cpu)) {
        Err(error) => error,
        Ok(_) => panic!("loaded"),
    };
    assert!(matches!(error.kind(), Kind::FixInput | Kind::Unsupported), "{error}");
    assert!(!error.to_string().contains('\n'), "{error}");
    error.to_string()
}

fn all_values(model: &dyn Model) -> BTreeMap<String, Vec<f64>> {
    let parameters = model.parameters();
    parameters
        .trained()
        .iter()
        .chain(parameters.buffers())
        .map(|(name, var)| (name.clone(), values(var)))
        .collect()
}

#[test]
fn what_is_saved_is_loaded_bit_for_bit_and_saved_the_same_again() {
    for name in DECODERS.into_iter().chain(["mlp", "resnet"]) {
        let checkpoint = Checkpoint::open(&fixture(name)).unwrap();
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            let model = checkpoint.load(dtype, &Device::Cpu).unwrap();
            let out = TempDir::new().unwrap();
            let (first, second) = (out.path().join("a/first"), out.path().join("second"));
            checkpoint.save(&*model, &first).unwrap();
            let saved = Checkpoint::open(&first).unwrap();
            assert_eq!(saved.config().dtype, Some(dtype));
            let again = saved.load(dtype, &Device::Cpu).unwrap();
            assert_eq!(all_values(&*model), all_values(&*again), "{name}");
            saved.save(&*again, &second).unwrap();
            for file in ["config.json", SINGLE] {
                assert_eq!(
                    fs::read(first.join(file)).unwrap(),
                    fs::read(second.join(file)).unwrap(),
                    "{name}/{file}"
                );
            }
            assert_eq!(
                saved.weights_sha256().unwrap(),
                Checkpoint::open(&second).unwrap().weights_sha256().unwrap()
            );
            // Nothing is left beside what was asked for.
            assert_eq!(fs::read_dir(out.path()).unwrap().count(), 2);
        }
    }
}

#[test]
fn saving_does_not_write_over_anything() {
    let checkpoint = Checkpoint::open(&fixture("mlp")).unwrap();
    let model = checkpoint.load(DType::F32, &Device::Cpu).unwrap();
    let taken = copy("mlp");
    let message = checkpoint.save(&*model, taken.path()).unwrap_err().to_string();
    assert!(message.contains("exists and is not empty"), "{message}");
    let empty = TempDir::new().unwrap();
    checkpoint.save(&*model, empty.path()).unwrap();
    assert!(Checkpoint::open(empty.path()).unwrap().has_weights());
}

#[test]
fn small_files_go_along() {
    let dir = copy("mlp");
    fs::write(
        dir.path().join("preprocessor_config.json"),
        r#"{"image_mean": [0.5], "image_std": [0.5]}"#,
    )
    .unwrap();
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    let processor = checkpoint.image_processor().unwrap().unwrap();
    let out = TempDir::new().unwrap();
    let saved = out.path().join("saved");
    checkpoint
        .save(&*checkpoint.initialise(3, &Device::Cpu).unwrap(), &saved)
        .unwrap();
    let saved = Checkpoint::open(&saved).unwrap();
    assert_eq!(saved.image_processor().unwrap().unwrap(), processor);
    assert_eq!(saved.config_json(), checkpoint.config_json());
}

#[test]
fn shards_are_one_checkpoint() {
    let dir = copy("llama");
    let tensors = candle_core::safetensors::load(dir.path().join(SINGLE), &Device::Cpu).unwrap();
    let mut shards = [HashMap::new(), HashMap::new()];
    let mut map = BTreeMap::new();
    for (index, (name, tensor)) in tensors.into_iter().enumerate() {
        map.insert(
            name.clone(),
            format!("model-0000{}-of-00002.safetensors", index % 2 + 1),
        );
        shards[index % 2].insert(name, tensor);
    }
    for (index, shard) in shards.iter().enumerate() {
        let file = format!("model-0000{}-of-00002.safetensors", index + 1);
        candle_core::safetensors::save(shard, dir.path().join(file)).unwrap();
    }
    fs::remove_file(dir.path().join(SINGLE)).unwrap();
    let index = dir.path().join("model.safetensors.index.json");
    fs::write(&index, json!({"metadata": {}, "weight_map": map}).to_string()).unwrap();
    let loaded = Checkpoint::open(dir.path())
        .unwrap()
        .load(DType::F32, &Device::Cpu)
        .unwrap();
    assert_eq!(all_values(&*loaded), all_values(&*load("llama", DType::F32)));

    fs::remove_file(dir.path().join("model-00002-of-00002.safetensors")).unwrap();
    let message = refusal(dir.path());
    assert!(
        message.contains("model-00002-of-00002.safetensors: not found; the index names this shard"),
        "{message}"
    );
    fs::write(
        &index,
        json!({"weight_map": {"a": "../elsewhere.safetensors"}}).to_string(),
    )
    .unwrap();
    let message = refusal(dir.path());
    assert!(
        message.contains("`../elsewhere.safetensors`, which is no file of this folder"),
        "{message}"
    );
    fs::write(&index, "{}").unwrap();
    assert!(refusal(dir.path()).contains("`weight_map`"));
}

#[test]
fn folders_that_hold_no_model_are_refused() {
    let dir = copy("llama");
    fs::remove_file(dir.path().join("config.json")).unwrap();
    let message = refusal(dir.path());
    assert!(message.contains("config.json: not found"), "{message}");
    let message = refusal(&dir.path().join("nowhere"));
    assert!(message.contains("nowhere: not found; give the folder"), "{message}");

    let dir = copy("llama");
    change_config(dir.path(), |config| {
        config["architectures"] = json!(["MambaForCausalLM"])
    });
    let message = refusal(dir.path());
    assert!(
        message.contains("`MambaForCausalLM`") && message.contains("Qwen2ForCausalLM"),
        "{message}"
    );

    let dir = copy("llama");
    fs::remove_file(dir.path().join(SINGLE)).unwrap();
    let message = refusal(dir.path());
    assert!(
        message.contains("model.safetensors: not found") && message.contains("holds no weights"),
        "{message}"
    );
    fs::write(dir.path().join("pytorch_model.bin"), "pickle").unwrap();
    assert!(refusal(dir.path()).contains("save them as safetensors"));
}

#[test]
fn damaged_weight_files_are_refused() {
    for keep in [3, 100, 9000] {
        let dir = copy("llama");
        let path = dir.path().join(SINGLE);
        let bytes = fs::read(&path).unwrap();
        assert!(bytes.len() > keep);
        fs::write(&path, &bytes[..keep]).unwrap();
        let message = refusal(dir.path());
        assert!(
            message.contains("model.safetensors: is truncated or damaged"),
            "{message}"
        );
        assert!(message.contains("copy the file again"), "{message}");
    }
    let dir = copy("llama");
    fs::write(dir.path().join(SINGLE), "").unwrap();
    assert!(refusal(dir.path()).contains("truncated or damaged"));
}

#[test]
fn wrong_missing_and_extra_tensors_are_named_with_their_shapes() {
    let dir = copy("llama");
    change_config(dir.path(), |config| config["intermediate_size"] = json!(48));
    let message = refusal(dir.path());
    assert!(
        message.contains("tensor `model.layers.0.mlp.gate_proj.weight` has shape [40, 24]"),
        "{message}"
    );
    assert!(message.contains("asks for [48, 24]"), "{message}");

    let dir = copy("llama");
    change_weights(dir.path(), |tensors| {
        drop(tensors.remove("model.layers.1.mlp.up_proj.weight"))
    });
    let message = refusal(dir.path());
    assert!(
        message.contains("tensor `model.layers.1.mlp.up_proj.weight` with shape [40, 24] is missing"),
        "{message}"
    );

    let dir = copy("llama");
    change_config(dir.path(), |config| config["num_hidden_layers"] = json!(1));
    let message = refusal(dir.path());
    assert!(
        message.contains("`model.layers.1.input_layernorm.weight` with shape [24] has no place"),
        "{message}"
    );

    let dir = copy("qwen2");
    change_config(dir.path(), |config| config["tie_word_embeddings"] = json!(false));
    let message = refusal(dir.path());
    assert!(
        message.contains("`lm_head.weight` with shape [61, 24] is missing; set `tie_word_embeddings`"),
        "{message}"
    );

    let dir = copy("mlp");
    change_weights(dir.path(), |tensors| {
        let bias = tensors["classifier.bias"].to_dtype(DType::I64).unwrap();
        tensors.insert("classifier.bias".into(), bias);
    });
    assert!(refusal(dir.path()).contains("`classifier.bias` holds I64"));
}

#[test]
fn extra_tensors_that_say_nothing_new_are_accepted() {
    let dir = copy("qwen2");
    change_weights(dir.path(), |tensors| {
        let embedding = tensors["model.embed_tokens.weight"].clone();
        tensors.insert("lm_head.weight".into(), embedding);
        let frequencies = Tensor::ones(3, DType::F32, &Device::Cpu).unwrap();
        tensors.insert("model.layers.0.self_attn.rotary_emb.inv_freq".into(), frequencies);
    });
    Checkpoint::open(dir.path())
        .unwrap()
        .load(DType::F32, &Device::Cpu)
        .unwrap();
    change_weights(dir.path(), |tensors| {
        tensors.insert(
            "lm_head.weight".into(),
            Tensor::ones((3, 24), DType::F32, &Device::Cpu).unwrap(),
        );
    });
    assert!(refusal(dir.path()).contains("`lm_head.weight` with shape [3, 24] has no place"));
}

#[test]
fn a_configuration_alone_describes_a_student() {
    for name in ["qwen2", "resnet"] {
        let dir = copy(name);
        fs::remove_file(dir.path().join(SINGLE)).unwrap();
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        assert!(!checkpoint.has_weights());
        let student = |seed| all_values(&*checkpoint.initialise(seed, &Device::Cpu).unwrap());
        assert_eq!(student(1), student(1));
        assert_ne!(student(1), student(2));
        let names: Vec<String> = student(1).into_keys().collect();
        assert_eq!(
            names,
            all_values(&*load(name, DType::F32)).into_keys().collect::<Vec<_>>()
        );
    }
    // A student without knowledge gives each outcome about the same chance.
    let dir = copy("llama");
    change_config(dir.path(), |config| config["vocab_size"] = json!(1000));
    let student = Checkpoint::open(dir.path())
        .unwrap()
        .initialise(7, &Device::Cpu)
        .unwrap();
    let found = values(&logits(
        &*student,
        &TokenBatch::padded(&[[1, 2, 3, 4, 5, 6]]),
        Mode::Eval,
    ));
    assert!(found.iter().all(|logit| logit.abs() < 1.0));
    assert!(found.iter().any(|logit| logit.abs() > 1e-3));
}

#[test]
fn weights_change_in_place() {
    let model = load("mlp", DType::F32);
    let images = Tensor::ones((2, 2, 4, 5), DType::F32, &Device::Cpu).unwrap();
    let answer = |mode| {
        let features = model
            .features(&Batch::Images(images.clone()), mode, &mut Taps::none())
            .unwrap();
        values(&model.head().forward(&features).unwrap())
    };
    let before = answer(Mode::Eval);
    for var in model.parameters().trained().values() {
        var.set(&var.as_detached_tensor().affine(0.5, 0.0).unwrap()).unwrap();
    }
    assert_ne!(answer(Mode::Eval), before);
    assert_eq!(answer(Mode::Eval), answer(Mode::Train));
}
