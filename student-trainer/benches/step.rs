//! Time and memory of one optimizer step of a small language model on cached `top_k` soft targets:
//! `cargo bench -p student-trainer --bench step -- [vocabulary [width [layers [k [sequence [batch [steps]]]]]]]`.
//!
//! The examples are made up and in memory, so that neither disk nor decoding has a part in the figures.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use candle_core::Device;
use decant_data::{Codec, SoftTargets, Values};
use decant_models::Checkpoint;
use serde_json::json;
use student_trainer::batch::Layout;
use student_trainer::config::{LossConfig, OptimizerConfig};
use student_trainer::examples::{Content, Example, Examples};
use student_trainer::fit::Outcomes;
use student_trainer::gradients::Gradients;
use student_trainer::head::Chunks;
use student_trainer::loader::{Cut, Loader, Position};
use student_trainer::metrics::peak_rss_bytes;
use student_trainer::objective::Objective;
use student_trainer::optimizer::Optimizer;
use student_trainer::step::Learner;

fn main() -> Result<()> {
    let numbers: Vec<usize> = std::env::args()
        .skip(1)
        .filter_map(|argument| argument.parse().ok())
        .collect();
    let number = |index: usize, default| numbers.get(index).copied().unwrap_or(default);
    let (vocabulary, width, layers) = (number(0, 49_152), number(1, 256), number(2, 6));
    let (k, sequence, batch, steps) = (number(3, 64), number(4, 256), number(5, 8), number(6, 8));

    let folder = tempfile::tempdir()?;
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": vocabulary,
        "hidden_size": width, "intermediate_size": width * 43 / 16, "num_hidden_layers": layers,
        "num_attention_heads": width / 32, "num_key_value_heads": width / 32, "max_position_embeddings": sequence,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": false,
    });
    std::fs::write(folder.path().join("config.json"), config.to_string())?;
    let model = Checkpoint::open(folder.path())?.initialise(0, &Device::Cpu)?;

    let examples = Arc::new(Examples::new(
        (0..batch)
            .map(|index| example(index, vocabulary, k, sequence))
            .collect(),
    ));
    let codec = Codec::TopK {
        k: k as u32,
        values: Values::F32,
        temperatures: vec![2.0],
    };
    let loss = LossConfig {
        temperature: 2.0,
        ..LossConfig::default()
    };
    let objective = Objective::new(&loss, Some(&codec))?;
    let outcomes = Outcomes {
        width: vocabulary,
        holes: Vec::new(),
    };
    let cut = Cut::of_examples(
        batch,
        Layout {
            image: None,
            row_tokens: None,
        },
    );
    let learner = Learner {
        model: &*model,
        objective: &objective,
        outcomes: &outcomes,
    };
    let (mut gradients, mut optimizer) = (Gradients::new(model.parameters()), Optimizer::new(model.parameters()));
    let (mut chunks, settings) = (Chunks::default(), OptimizerConfig::default());

    println!(
        "{} parameters, {batch} x {sequence} tokens, {}",
        model.parameters().count(),
        decant_kernels::kernel_path()
    );
    let mut best = f64::INFINITY;
    for step in Loader::start(
        Arc::clone(&examples),
        cut,
        objective.clone(),
        Position::default(),
        steps as u64,
    )? {
        let step = step?;
        let started = Instant::now();
        let losses = learner.gradients(&step, examples.items(), &mut gradients, &mut chunks)?;
        let backward = started.elapsed().as_secs_f64();
        let (norm, _) = gradients.norm();
        gradients.scale((1.0 / norm.max(1.0)) as f32);
        optimizer.update(model.parameters(), &gradients, &settings, 1e-3)?;
        let seconds = started.elapsed().as_secs_f64();
        best = best.min(seconds);
        println!(
            "loss {:.5}: gradients {backward:.3} s, optimizer {:.3} s",
            losses.total,
            seconds - backward
        );
    }
    let peak = peak_rss_bytes().context("the system does not tell the resident size")?;
    println!(
        "best {:.0} tokens/s, peak {} MB",
        (batch * sequence) as f64 / best,
        peak >> 20
    );
    Ok(())
}

/// A document of scattered tokens whose teacher is sure of a few of them.
fn example(index: usize, vocabulary: usize, k: usize, tokens: usize) -> Example {
    let scatter = |a: usize, b: usize| ((a * 2_654_435_761 + b * 40_503 + index * 97) % vocabulary) as u32;
    let positions = tokens - 1;
    let mut ids = Vec::with_capacity(positions * k);
    for position in 0..positions {
        let first = scatter(position, 1) as usize;
        ids.extend((0..k).map(|entry| ((first + entry * 131) % vocabulary) as u32));
    }
    Example {
        id: format!("{index:04}"),
        view: 0,
        content: Content::Tokens((0..tokens).map(|position| scatter(position, 7)).collect()),
        label: None,
        loss_mask: None,
        targets: Some(SoftTargets::TopK {
            offsets: (0..=positions as u32).map(|position| position * k as u32).collect(),
            ids,
            gaps: (0..positions * k).map(|entry| 0.1 * (entry % k) as f32).collect(),
            largest: vec![12.0; positions],
            log_tails: vec![vec![-2.0; positions]],
        }),
    }
}
