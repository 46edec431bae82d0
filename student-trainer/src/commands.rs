//! The commands: their flags, and what they print.

mod eval;
mod export;
mod train;

pub(crate) use eval::Eval;
pub(crate) use export::Export;
pub(crate) use train::Train;

use std::error::Error;

use student_trainer::evaluate::Evaluation;

/// How a command ends; what to make of an error is `main`'s.
pub(crate) type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// Uses this many threads from here on; all cores unless given.
fn use_threads(threads: Option<usize>) {
    if let Some(threads) = threads {
        // SAFETY: the process has one thread yet, and no pool has read the variable.
        unsafe { std::env::set_var("RAYON_NUM_THREADS", threads.to_string()) };
    }
}

/// A small table of an evaluation, on stdout.
fn print_evaluation(evaluation: &Evaluation) -> Result<()> {
    let percent = |share: f64| format!("{:.2} %", 100.0 * share);
    let nats = |value: f64| format!("{value:.4}");
    let temperature = evaluation.temperature.unwrap_or(1.0);
    let rows = [
        ("examples".to_owned(), Some(evaluation.examples.to_string())),
        ("positions".to_owned(), Some(evaluation.positions.to_string())),
        ("accuracy".to_owned(), evaluation.accuracy.map(percent)),
        ("cross-entropy".to_owned(), evaluation.cross_entropy.map(nats)),
        (
            "perplexity".to_owned(),
            evaluation.perplexity.map(|value| format!("{value:.3}")),
        ),
        (
            format!("KL to the teacher at T = {temperature}"),
            evaluation.kl.map(nats),
        ),
        (
            format!("KL of a unigram model at T = {temperature}"),
            evaluation.unigram_kl.map(nats),
        ),
        ("top-1 agreement".to_owned(), evaluation.agreement.map(percent)),
    ];
    for (name, value) in rows {
        if let Some(value) = value {
            decant_cli::print(format!("{name:<32} {value}"))?;
        }
    }
    Ok(())
}
