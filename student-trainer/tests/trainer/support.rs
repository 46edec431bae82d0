//! Tiny students, tiny data, and the program itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use decant_data::input::ReadOptions;
use decant_data::{
    BatchBudget, Build, Codec, Counts, Example, FORMAT_VERSION, PlanSpec, Planner, Planning, Row, SoftTargets, Store,
    Task, TeacherIdentity, Ties, TokenizerIdentity, Values,
};
use decant_models::TextTokenizer;
use serde_json::{Value, json};

/// The ids that [`tokenizer_json`] has: 0 to 22, without 7.
pub(crate) const OUTCOMES: usize = 23;
pub(crate) const HOLE: u32 = 7;

/// A folder for one test.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

pub(crate) fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A tokenizer of words `w0`, `w1`, ... with one id missing.
pub(crate) fn tokenizer_json() -> String {
    let ids = (0..OUTCOMES as u32).filter(|id| *id != HOLE);
    let vocabulary: serde_json::Map<String, Value> = ids.map(|id| (format!("w{id}"), json!(id))).collect();
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "w0"},
    })
    .to_string()
}

/// A decoder with a padded vocabulary of 32, without weights and without a tokenizer of its own.
pub(crate) fn decoder(folder: &Path, tied: bool) {
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 32, "hidden_size": 16,
        "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
        "max_position_embeddings": 32, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
        "tie_word_embeddings": tied, "initializer_range": 0.2,
    });
    write(&folder.join("config.json"), &config.to_string());
}

/// A perceptron over 6 x 6 grey images with three classes.
pub(crate) fn perceptron(folder: &Path, classes: [&str; 3]) {
    let labels = json!({"0": classes[0], "1": classes[1], "2": classes[2]});
    let config = json!({
        "architectures": ["MlpForImageClassification"], "model_type": "decant-mlp", "image_size": 6, "num_channels": 1,
        "hidden_sizes": [16], "id2label": labels,
    });
    write(&folder.join("config.json"), &config.to_string());
}

/// A residual network with batch norm over 6 x 6 grey images with three classes.
pub(crate) fn residual(folder: &Path) {
    let config = json!({
        "architectures": ["ResidualForImageClassification"], "model_type": "decant-resnet", "image_size": 6,
        "num_channels": 1, "hidden_sizes": [4, 8], "depths": [1, 1], "id2label": {"0": "a", "1": "b", "2": "c"},
    });
    write(&folder.join("config.json"), &config.to_string());
}

/// A reproducible sequence of numbers in [0, 1).
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    pub(crate) fn next(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1u64 << 24) as f32
    }
}

/// Images whose class is the third of rows that is bright: an IDX file, with its labels beside it.
pub(crate) fn images(path: &Path, count: u32, seed: u64) {
    let mut noise = Noise(seed);
    let mut pixels = [0, 0, 8, 3, count, 6, 6]
        .iter()
        .skip(4)
        .flat_map(|n: &u32| n.to_be_bytes())
        .collect::<Vec<u8>>();
    pixels.splice(0..0, [0, 0, 8, 3]);
    let mut labels = vec![0, 0, 8, 1];
    labels.extend(count.to_be_bytes());
    for index in 0..count {
        let class = index % 3;
        labels.push(class as u8);
        pixels.extend((0..36).map(|pixel| {
            let bright = pixel / 12 == class;
            ((if bright { 0.5 } else { 0.1 } + 0.4 * noise.next()) * 255.0) as u8
        }));
    }
    fs::create_dir_all(path).unwrap();
    fs::write(path.join("set-images-idx3-ubyte"), pixels).unwrap();
    fs::write(path.join("set-labels-idx1-ubyte"), labels).unwrap();
}

/// The images file of [`images`].
pub(crate) fn images_file(path: &Path) -> PathBuf {
    path.join("set-images-idx3-ubyte")
}

/// Documents of a noisy cycle: mostly the next word, sometimes the one after; `w7` is no word.
pub(crate) fn documents(count: usize, seed: u64) -> Vec<Vec<u32>> {
    let mut noise = Noise(seed);
    let skip = |word: u32| {
        if word % OUTCOMES as u32 == HOLE {
            HOLE + 1
        } else {
            word % OUTCOMES as u32
        }
    };
    let document = |noise: &mut Noise| {
        let mut word = skip((noise.next() * 23.0) as u32);
        let length = 6 + (noise.next() * 10.0) as usize;
        let mut words = vec![word];
        while words.len() < length {
            word = skip(word + if noise.next() < 0.8 { 1 } else { 2 });
            words.push(word);
        }
        words
    };
    (0..count).map(|_| document(&mut noise)).collect()
}

/// The teacher of [`documents`]: logits of the word after this one.
pub(crate) fn teacher_logits(word: u32) -> Vec<f32> {
    (0..OUTCOMES as u32)
        .map(|next| match next {
            HOLE => f32::NEG_INFINITY,
            next => {
                let ahead = (next + OUTCOMES as u32 - word) % OUTCOMES as u32;
                match ahead {
                    1 => 4.0,
                    2 => 2.6,
                    _ => -1.0 - 0.1 * ahead as f32,
                }
            }
        })
        .collect()
}

/// Documents as examples of a dataset.
pub(crate) fn as_examples(documents: &[Vec<u32>]) -> Vec<Example> {
    let example = |(index, tokens): (usize, &Vec<u32>)| Example {
        id: format!("doc{index:03}"),
        view: 0,
        content: decant_data::ExampleContent::Tokens(tokens.clone()),
        label: None,
        loss_mask: None,
    };
    documents.iter().enumerate().map(example).collect()
}

/// What a codec keeps of rows of logits.
pub(crate) fn soft_targets(rows: &[Vec<f32>], codec: &Codec) -> SoftTargets {
    match codec {
        Codec::Dense { .. } => SoftTargets::Dense {
            classes: rows[0].len(),
            logits: rows.concat(),
        },
        Codec::TopK { k, temperatures, .. } => {
            let (mut ids, mut gaps, mut largest, mut offsets) = (vec![], vec![], vec![], vec![0]);
            let mut log_tails = vec![Vec::new(); temperatures.len()];
            for row in rows {
                let mut kept = decant_kernels::select::Kept::default();
                decant_kernels::select::top_k(&mut row.clone(), *k as usize, temperatures, &mut kept).unwrap();
                ids.extend(&kept.ids);
                gaps.extend(kept.logits.iter().map(|logit| kept.logits[0] - logit));
                largest.push(kept.logits[0]);
                offsets.push(ids.len() as u32);
                log_tails
                    .iter_mut()
                    .zip(&kept.log_tails)
                    .for_each(|(tails, tail)| tails.push(*tail));
            }
            SoftTargets::TopK {
                offsets,
                ids,
                gaps,
                largest,
                log_tails,
            }
        }
    }
}

/// The plan of a language model's dataset.
pub(crate) fn text_plan(codec: Codec) -> PlanSpec {
    let tokenizer = TextTokenizer::from_json(tokenizer_json().as_bytes()).unwrap();
    let identity = TokenizerIdentity::of(tokenizer.vocabulary(), &Default::default(), None);
    PlanSpec {
        task: Task::CausalLm,
        tokenizer: Some(identity),
        outcomes: OUTCOMES as u32,
        holes: vec![HOLE],
        ..plan(codec)
    }
}

/// The plan of a classifier's dataset.
pub(crate) fn image_plan(codec: Codec, classes: [&str; 3]) -> PlanSpec {
    PlanSpec {
        classes: Some(classes.map(str::to_owned).to_vec()),
        batch_budget: BatchBudget::Pixels(1 << 20),
        ..plan(codec)
    }
}

fn plan(codec: Codec) -> PlanSpec {
    PlanSpec {
        format_version: FORMAT_VERSION,
        task: Task::ImageClassification,
        teacher: TeacherIdentity {
            name: "made up".into(),
            architecture: "None".into(),
            weights_sha256: "0".repeat(64),
            config_sha256: "1".repeat(64),
            preprocessor_sha256: None,
            dtype: "f32".into(),
            device: "cpu".into(),
        },
        classes: None,
        tokenizer: None,
        outcomes: 3,
        holes: Vec::new(),
        sources: Vec::new(),
        reading: ReadOptions::default(),
        max_length: None,
        truncate: false,
        window: None,
        examples_per_shard: 50,
        batch_budget: BatchBudget::Tokens(4096),
        chunk_rows: 64,
        codec,
        ties: Ties::LowerIdFirst,
        seed: 0,
    }
}

/// Writes and seals a dataset: plan, attempts, commits.
pub(crate) fn seal(
    location: &str,
    spec: PlanSpec,
    splits: &[(&str, Vec<Example>)],
    targets: impl Fn(&Example) -> SoftTargets,
) {
    let store = Store::open(location).unwrap();
    let tokenizer = (spec.task == Task::CausalLm).then(tokenizer_json);
    let Planning::New(mut planner) = Planner::begin(&store, spec).unwrap() else {
        panic!("a new plan")
    };
    for (split, examples) in splits {
        for example in examples {
            planner.push(split, example.clone()).unwrap();
        }
    }
    let tokenizer = tokenizer.as_ref().map(String::as_bytes);
    let dataset = planner.finish(tokenizer, b"{}", Counts::default()).unwrap();
    let build = Build {
        version: "test".into(),
        kernel_path: "test".into(),
    };
    for shard in dataset.missing().unwrap() {
        let mut attempt = dataset.begin(shard).unwrap().unwrap();
        for example in dataset.inputs(shard).unwrap() {
            let targets = targets(&example);
            let entropy = vec![1.0; targets.positions()];
            attempt.push(Row::new(example, targets, &entropy).unwrap()).unwrap();
        }
        attempt.commit(&build).unwrap();
    }
    decant_data::seal(&store, &mut ()).unwrap();
}

/// A sealed dataset of [`documents`] with their teacher's word, in splits `train` and `test`.
pub(crate) fn text_dataset(location: &str, codec: Codec) {
    let targets_codec = codec.clone();
    let targets = move |example: &Example| {
        let words = example.tokens();
        let rows: Vec<Vec<f32>> = words[..words.len() - 1]
            .iter()
            .map(|word| teacher_logits(*word))
            .collect();
        soft_targets(&rows, &targets_codec)
    };
    let mut test = as_examples(&documents(30, 9));
    test.iter_mut().for_each(|example| example.id.insert(0, 't'));
    seal(
        location,
        text_plan(codec),
        &[("train", as_examples(&documents(120, 4))), ("test", test)],
        targets,
    );
}

pub(crate) fn top_k() -> Codec {
    Codec::TopK {
        k: 5,
        values: Values::F32,
        temperatures: vec![1.0, 2.0],
    }
}

/// Runs `student-trainer`.
pub(crate) fn program(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_student-trainer"));
    // No variable of the machine has a say in a test.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("DECANT_") && name != "DECANT_KERNEL_PATH") {
        command.env_remove(name);
    }
    command.args(arguments).env("RAYON_NUM_THREADS", "2");
    command
}

#[track_caller]
pub(crate) fn succeed(arguments: &[&str]) -> String {
    let output = program(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The one line of an error, and its exit code.
#[track_caller]
pub(crate) fn fail(arguments: &[&str]) -> (String, i32) {
    let output = program(arguments);
    assert!(!output.status.success());
    let text = String::from_utf8(output.stderr).unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with("error: "))
        .unwrap_or_else(|| panic!("no error line: {text}"));
    (line.to_owned(), output.status.code().unwrap())
}

pub(crate) fn report(run: &Path) -> Value {
    serde_json::from_slice(&fs::read(run.join("report.json")).unwrap()).unwrap()
}

pub(crate) fn metrics(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub(crate) fn shown(path: &Path) -> &str {
    path.to_str().unwrap()
}
