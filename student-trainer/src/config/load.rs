//! From a file, flags and the environment to a checked configuration.

use std::path::{Path, PathBuf};

use decant_cli::nearest;

use super::Config;
use crate::{Error, Result};

/// What flags and the environment say over the file.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Overrides {
    /// Folder of the student: config.json, and weights to start from where it holds them [file: student.path]
    #[arg(long, env = "DECANT_STUDENT", value_name = "DIR")]
    pub student: Option<PathBuf>,
    /// Location of the sealed dataset [file: data.dataset]
    #[arg(long, env = "DECANT_DATA", value_name = "LOCATION")]
    pub data: Option<String>,
    /// Seed of the initial weights and of the order of examples [file: seed]
    #[arg(long, env = "DECANT_SEED")]
    pub seed: Option<u64>,
    /// Optimizer steps, in place of the file's steps or epochs [file: training.steps]
    #[arg(long, env = "DECANT_STEPS")]
    pub steps: Option<u64>,
    /// Largest learning rate [file: optimizer.learning_rate]
    #[arg(long, env = "DECANT_LEARNING_RATE")]
    pub learning_rate: Option<f64>,
    /// Weight of the soft term [file: loss.soft_weight]
    #[arg(long, env = "DECANT_SOFT_WEIGHT")]
    pub soft_weight: Option<f64>,
    /// Weight of the hard term [file: loss.hard_weight]
    #[arg(long, env = "DECANT_HARD_WEIGHT")]
    pub hard_weight: Option<f64>,
    /// Threads; all cores unless given [file: training.threads]
    #[arg(long, env = "DECANT_THREADS")]
    pub threads: Option<usize>,
}

impl Config {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// An unreadable file, an unknown key (naming line and nearest known key), a value of the wrong type, or values
    /// that do not go together.
    pub fn load(path: &Path, overrides: &Overrides) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io("reading", path))?;
        let mut config = Self::parse(&text, &path.display().to_string())?;
        config.apply(overrides);
        config.check()?;
        Ok(config)
    }

    /// Reads a configuration; `place` is what messages call it.
    ///
    /// # Errors
    /// As [`Config::load`], but for values that do not go together.
    pub fn parse(text: &str, place: &str) -> Result<Self> {
        toml::from_str(text).map_err(|error| {
            let before = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = 1 + text[..before].matches('\n').count();
            Error::Config(format!("{place}:{line}: {}", in_words(error.message())))
        })
    }

    fn apply(&mut self, overrides: &Overrides) {
        let Overrides {
            student,
            data,
            seed,
            steps,
            learning_rate,
            soft_weight,
            hard_weight,
            threads,
        } = overrides.clone();
        fn set<T>(place: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *place = value;
            }
        }
        set(&mut self.student.path, student);
        set(&mut self.data.dataset, data.map(Some));
        set(&mut self.seed, seed);
        set(&mut self.optimizer.learning_rate, learning_rate);
        set(&mut self.loss.soft_weight, soft_weight);
        set(&mut self.loss.hard_weight, hard_weight);
        set(&mut self.training.threads, threads.map(Some));
        if steps.is_some() {
            self.training.steps = steps;
            self.training.epochs = None;
        }
    }
}

/// serde's words for an unknown key list every known one; the nearest is what helps.
fn in_words(message: &str) -> String {
    let mut names = message.split('`').skip(1).step_by(2);
    if !message.starts_with("unknown field") && !message.starts_with("unknown variant") {
        return message.trim_end().replace('\n', "; ");
    }
    let unknown = names.next().unwrap_or_default();
    let known: Vec<&str> = names.collect();
    let what = if message.starts_with("unknown field") {
        "key"
    } else {
        "value"
    };
    match nearest(unknown, known.iter().copied()) {
        Some(name) => format!("unknown {what} `{unknown}`; did you mean `{name}`?"),
        None => format!("unknown {what} `{unknown}`; known: {}", known.join(", ")),
    }
}
