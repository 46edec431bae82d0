//! The gradient of a step: against finite differences through the whole student, and alike whichever way it is made.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor, Var};
use decant_data::{Codec, SoftTargets, Values};
use decant_models::{Batch, Checkpoint, Mode, Model, Taps, TokenBatch};
use student_trainer::batch::Layout;
use student_trainer::config::{DataConfig, HardTargets, LossConfig, TrainingConfig};
use student_trainer::data::Source;
use student_trainer::examples::{Content, Example, Examples};
use student_trainer::fit::Outcomes;
use student_trainer::gradients::Gradients;
use student_trainer::head::Chunks;
use student_trainer::loader::{Cut, Loader, Position, Step};
use student_trainer::objective::Objective;
use student_trainer::step::{Learner, Losses};
use student_trainer::student::Student;

use crate::support::{
    HOLE, Noise, OUTCOMES, as_examples, decoder, documents, folder, perceptron, seal, shown, soft_targets,
    teacher_logits, text_plan, top_k,
};

/// One step over all of some examples: its losses and gradients by name.
fn step(
    model: &dyn Model,
    examples: &[Example],
    objective: &Objective,
    outcomes: &Outcomes,
    training: &str,
) -> (Losses, Vec<(String, Vec<f32>)>, Step) {
    let examples = Arc::new(Examples::new(examples.to_vec()));
    let training: TrainingConfig = toml::from_str(&format!("steps = 1\nbatch_size = 1000\n{training}")).unwrap();
    let layout = Layout {
        image: model.config().image_shape(),
        row_tokens: training.row_tokens,
    };
    let cut = Cut::new(&training, layout, 0);
    let mut loader = Loader::start(Arc::clone(&examples), cut, objective.clone(), Position::default(), 1).unwrap();
    let step = loader.next().unwrap().unwrap();
    let mut gradients = Gradients::new(model.parameters());
    let learner = Learner {
        model,
        objective,
        outcomes,
    };
    let losses = learner
        .gradients(&step, examples.items(), &mut gradients, &mut Chunks::default())
        .unwrap();
    (
        losses,
        gradients
            .iter()
            .map(|(name, values)| (name.clone(), values.to_vec()))
            .collect(),
        step,
    )
}

fn objective(soft_weight: f64, hard_weight: f64, temperature: f64, codec: &Codec) -> Objective {
    let loss = LossConfig {
        soft_weight,
        hard_weight,
        temperature,
        ..LossConfig::default()
    };
    Objective::new(&loss, Some(codec)).unwrap()
}

/// Documents with the made-up teacher's word about them; every third has a loss mask.
fn texts(codec: &Codec) -> Vec<Example> {
    let example = |(index, tokens): (usize, Vec<u32>)| {
        let rows: Vec<Vec<f32>> = tokens[..tokens.len() - 1]
            .iter()
            .map(|word| teacher_logits(*word))
            .collect();
        Example {
            id: format!("{index:02}"),
            view: 0,
            targets: Some(soft_targets(&rows, codec)),
            label: None,
            loss_mask: (index % 3 == 0).then(|| (0..tokens.len()).map(|token| token % 4 != 2).collect()),
            content: Content::Tokens(tokens),
        }
    };
    documents(7, 3).into_iter().enumerate().map(example).collect()
}

fn text_outcomes() -> Outcomes {
    Outcomes {
        width: OUTCOMES,
        holes: vec![HOLE],
    }
}

fn decoder_model(tied: bool, seed: u64) -> Box<dyn Model> {
    let dir = folder();
    decoder(dir.path(), tied);
    Checkpoint::open(dir.path())
        .unwrap()
        .initialise(seed, &Device::Cpu)
        .unwrap()
}

/// Images, of which every second has a label, with dense soft targets.
fn pictures() -> Vec<Example> {
    let mut noise = Noise(8);
    (0..9)
        .map(|index| Example {
            id: format!("{index:02}"),
            view: 0,
            content: Content::Pixels((0..36).map(|_| noise.next()).collect()),
            label: (index % 2 == 0).then_some(index % 3),
            loss_mask: None,
            targets: Some(SoftTargets::Dense {
                classes: 3,
                logits: (0..3).map(|_| 4.0 * noise.next()).collect(),
            }),
        })
        .collect()
}

fn perceptron_model() -> Box<dyn Model> {
    let dir = folder();
    perceptron(dir.path(), ["a", "b", "c"]);
    Checkpoint::open(dir.path())
        .unwrap()
        .initialise(1, &Device::Cpu)
        .unwrap()
}

/// Compares gradients with central differences of the reported loss, at a few entries of every parameter.
fn check_by_differences(model: &dyn Model, loss: impl Fn() -> f64, gradients: &[(String, Vec<f32>)]) {
    let names: Vec<&String> = model.parameters().trained().keys().collect();
    assert!(
        gradients.iter().map(|(name, _)| name).eq(names),
        "one gradient for each parameter, in name order"
    );
    for (name, gradient) in gradients {
        let var = &model.parameters().trained()[name];
        let largest = gradient.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
        assert!(largest > 1e-4, "{name} gets a gradient");
        let places = (0..3).map(|i| i * (gradient.len() - 1) / 2);
        let strongest = gradient.iter().position(|value| value.abs() == largest).unwrap();
        for place in places.chain([strongest]) {
            let difference = difference(var, place, &loss);
            let got = f64::from(gradient[place]);
            assert!(
                (got - difference).abs() < 0.01 * f64::from(largest) + 2e-4,
                "{name}[{place}]: {got}, but the loss says {difference}"
            );
        }
    }
}

fn difference(var: &Var, place: usize, loss: &impl Fn() -> f64) -> f64 {
    let values: Vec<f32> = var.flatten_all().unwrap().to_vec1().unwrap();
    let step = 5e-3;
    let set = |value: f32| {
        let mut values = values.clone();
        values[place] = value;
        var.set(&Tensor::from_vec(values, var.shape(), &Device::Cpu).unwrap())
            .unwrap();
    };
    let at = |value| {
        set(value);
        loss()
    };
    let slope = (at(values[place] + step) - at(values[place] - step)) / (2.0 * f64::from(step));
    set(values[place]);
    slope
}

#[test]
fn gradients_of_a_decoder_are_differences_of_its_loss() {
    for (tied, temperature) in [(true, 1.0), (false, 2.0)] {
        let (model, examples, outcomes) = (decoder_model(tied, 5), texts(&top_k()), text_outcomes());
        let objective = objective(0.7, 0.4, temperature, &top_k());
        let run = || step(&*model, &examples, &objective, &outcomes, "micro_batch_size = 3");
        let (losses, gradients, _) = run();
        assert!((losses.total - (0.7 * losses.soft + 0.4 * losses.hard)).abs() < 1e-12);
        check_by_differences(&*model, || run().0.total, &gradients);
    }
}

#[test]
fn gradients_of_a_classifier_are_differences_of_its_loss() {
    let (model, examples, outcomes) = (perceptron_model(), pictures(), Outcomes::classes(3));
    let objective = objective(0.7, 0.4, 3.0, &Codec::Dense { values: Values::F32 });
    let run = || step(&*model, &examples, &objective, &outcomes, "");
    let (_, gradients, step) = run();
    assert_eq!(
        (step.soft, step.hard),
        (9, 5),
        "each term counts the positions where it is defined"
    );
    check_by_differences(&*model, || run().0.total, &gradients);
}

#[track_caller]
fn alike(a: &[(String, Vec<f32>)], b: &[(String, Vec<f32>)], tolerance: f32) {
    for ((name, a), (_, b)) in a.iter().zip(b) {
        let largest = a.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        let apart = a.iter().zip(b).fold(0.0_f32, |apart, (a, b)| apart.max((a - b).abs()));
        assert!(apart <= tolerance * largest, "{name}: {apart} apart of {largest}");
    }
}

#[test]
fn portions_and_packing_make_no_difference_but_rounding() {
    let (model, examples, outcomes) = (decoder_model(true, 5), texts(&top_k()), text_outcomes());
    let objective = objective(1.0, 0.5, 2.0, &top_k());
    let (losses, whole, step_of) = step(&*model, &examples, &objective, &outcomes, "");
    assert_eq!(step_of.portions.len(), 1);
    for training in [
        "micro_batch_size = 1",
        "micro_batch_size = 3",
        "micro_batch_tokens = 20",
        "row_tokens = 32",
    ] {
        let (other_losses, other, step_of) = step(&*model, &examples, &objective, &outcomes, training);
        assert!(step_of.portions.len() > 1 || training.starts_with("row"));
        assert!(
            (losses.total - other_losses.total).abs() < 1e-5 * losses.total,
            "{training}"
        );
        alike(&whole, &other, 2e-5);
    }
}

#[test]
fn ids_without_a_token_are_outside_the_softmax() {
    let (model, outcomes) = (decoder_model(false, 5), text_outcomes());
    for codec in [top_k(), Codec::Dense { values: Values::F32 }] {
        let objective = objective(1.0, 0.5, 1.0, &codec);
        let (losses, gradients, _) = step(&*model, &texts(&codec), &objective, &outcomes, "");
        let (_, head) = gradients.iter().find(|(name, _)| name == "lm_head.weight").unwrap();
        let of = |id: usize| head[id * 16..][..16].iter().map(|value| value.abs()).sum::<f32>();
        for id in 0..32 {
            assert_eq!(of(id) == 0.0, id == HOLE as usize || id >= OUTCOMES, "id {id}");
        }
        // Large logits there change nothing.
        let var = &model.parameters().trained()["lm_head.weight"];
        let before = var.as_tensor().copy().unwrap();
        let mut values: Vec<f32> = var.flatten_all().unwrap().to_vec1().unwrap();
        values[23 * 16..].fill(9.0);
        values[HOLE as usize * 16..][..16].fill(9.0);
        var.set(&Tensor::from_vec(values, (32, 16), &Device::Cpu).unwrap())
            .unwrap();
        let (other, others, _) = step(&*model, &texts(&codec), &objective, &outcomes, "");
        assert_eq!(losses, other);
        assert_eq!(gradients, others);
        var.set(&before).unwrap();
    }
}

#[test]
fn a_masked_position_has_no_part_in_the_loss() {
    let (model, outcomes) = (decoder_model(true, 5), text_outcomes());
    let objective = objective(1.0, 0.5, 1.0, &top_k());
    let mut examples = texts(&top_k());
    examples.truncate(1);
    let Content::Tokens(tokens) = examples[0].content.clone() else {
        panic!("tokens")
    };
    // All but the last prediction are masked: what the teacher said of them does not matter.
    let mask = |token| token == tokens.len() - 1;
    examples[0].loss_mask = Some((0..tokens.len()).map(mask).collect());
    let (losses, gradients, step_of) = step(&*model, &examples, &objective, &outcomes, "");
    assert_eq!((step_of.soft, step_of.hard), (1, 1));
    let rows: Vec<Vec<f32>> = (0..tokens.len() - 1)
        .map(|position| {
            teacher_logits(if position == tokens.len() - 2 {
                tokens[position]
            } else {
                3
            })
        })
        .collect();
    examples[0].targets = Some(soft_targets(&rows, &top_k()));
    assert_eq!((losses, gradients), {
        let (losses, gradients, _) = step(&*model, &examples, &objective, &outcomes, "");
        (losses, gradients)
    });
    // Without the mask they count.
    examples[0].loss_mask = None;
    let (other, _, _) = step(&*model, &examples, &objective, &outcomes, "");
    assert!((other.total - losses.total).abs() > 1e-3);
}

#[test]
fn a_term_that_is_defined_nowhere_is_zero() {
    let (model, outcomes) = (perceptron_model(), Outcomes::classes(3));
    let codec = Codec::Dense { values: Values::F32 };
    let mut examples = pictures();
    examples.iter_mut().for_each(|example| example.label = None);
    let (losses, gradients, step_of) = step(&*model, &examples, &objective(1.0, 5.0, 1.0, &codec), &outcomes, "");
    assert_eq!((losses.hard, step_of.hard), (0.0, 0));
    let (alone, same, _) = step(&*model, &examples, &objective(1.0, 0.0, 1.0, &codec), &outcomes, "");
    assert_eq!((losses.total, gradients), (alone.total, same));
}

#[test]
fn the_control_learns_what_the_teacher_finds_likeliest() {
    let (model, outcomes) = (perceptron_model(), Outcomes::classes(3));
    let codec = Codec::Dense { values: Values::F32 };
    let config = LossConfig {
        soft_weight: 0.0,
        hard_weight: 1.0,
        hard_targets: HardTargets::TeacherArgmax,
        ..LossConfig::default()
    };
    let control = Objective::new(&config, Some(&codec)).unwrap();
    let mut examples = pictures();
    let (losses, gradients, step_of) = step(&*model, &examples, &control, &outcomes, "");
    assert_eq!(step_of.hard, 9, "labelled or not");
    for example in &mut examples {
        let Some(SoftTargets::Dense { logits, .. }) = &example.targets else {
            panic!("dense")
        };
        let best = (0..3).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap();
        example.label = Some(best as u32);
    }
    let (other, others, _) = step(&*model, &examples, &objective(0.0, 1.0, 1.0, &codec), &outcomes, "");
    assert_eq!((losses, gradients), (other, others));
}

#[test]
fn a_cached_step_equals_an_online_step_bit_for_bit() {
    let dir = folder();
    let codec = Codec::Dense { values: Values::F32 };
    let teacher = decoder_model(false, 77);
    let speak = |tokens: &[u32]| -> Vec<f32> {
        let batch = Batch::Tokens(TokenBatch::padded(&[tokens]));
        let features = teacher.features(&batch, Mode::Eval, &mut Taps::none()).unwrap();
        let logits: Vec<Vec<f32>> = teacher.head().forward(&features).unwrap().to_vec2().unwrap();
        let mut rows = logits[..tokens.len() - 1]
            .iter()
            .map(|row| row[..OUTCOMES].to_vec())
            .collect::<Vec<_>>();
        rows.iter_mut().for_each(|row| row[HOLE as usize] = f32::NEG_INFINITY);
        rows.concat()
    };
    // Online: the teacher is asked in this process.
    let documents = documents(10, 6);
    let online: Vec<Example> = as_examples(&documents)
        .into_iter()
        .map(|example| Example {
            targets: Some(SoftTargets::Dense {
                classes: OUTCOMES,
                logits: speak(example.tokens()),
            }),
            content: Content::Tokens(example.tokens().to_vec()),
            id: example.id,
            view: 0,
            label: None,
            loss_mask: None,
        })
        .collect();
    // Cached: through Parquet, commit, seal and the reader.
    let location = dir.path().join("cache");
    let targets = |example: &decant_data::Example| SoftTargets::Dense {
        classes: OUTCOMES,
        logits: speak(example.tokens()),
    };
    seal(
        shown(&location),
        text_plan(codec.clone()),
        &[("train", as_examples(&documents))],
        targets,
    );
    let student_dir = dir.path().join("student");
    decoder(&student_dir, true);
    let mut student = Student::open(&student_dir).unwrap();
    let data: DataConfig = toml::from_str(&format!("dataset = {:?}", shown(&location))).unwrap();
    let source = Source::open(&data, &mut student).unwrap();
    let cached = source.load(&data.train, &student).unwrap();

    let objective = objective(1.0, 0.3, 1.7, &codec);
    let model = student.start(2, false).unwrap();
    assert_eq!(model.head().weight().dtype(), DType::F32);
    let (losses, gradients, _) = step(
        &*model,
        cached.items(),
        &objective,
        source.outcomes(),
        "micro_batch_size = 4",
    );
    let (online_losses, online_gradients, _) =
        step(&*model, &online, &objective, source.outcomes(), "micro_batch_size = 4");
    assert_eq!(losses.total.to_bits(), online_losses.total.to_bits());
    assert!(losses.soft > 0.01);
    for ((name, cached), (_, online)) in gradients.iter().zip(&online_gradients) {
        assert!(
            cached.iter().zip(online).all(|(a, b)| a.to_bits() == b.to_bits()),
            "{name}"
        );
    }
}
