//! `metrics.jsonl`: one line for each optimizer step, and one for each evaluation.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::checkpoint::replace;
use crate::evaluate::Evaluation;
use crate::{Error, Result};

/// Figures of one optimizer step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepMetrics {
    /// From 1.
    pub step: u64,
    /// The weighted sum of the terms.
    pub loss: f64,
    /// `T^2 KL(teacher || student)`, the mean over its positions.
    pub soft_loss: f64,
    /// Cross-entropy with the hard targets, the mean over its positions.
    pub hard_loss: f64,
    /// Of this step.
    pub learning_rate: f64,
    /// Before clipping.
    pub grad_norm: f64,
    /// Over this step.
    pub examples_per_second: f64,
    /// Over this step, padding not counted; null for images.
    pub tokens_per_second: Option<f64>,
    /// Training time so far, in all processes of the run.
    pub seconds: f64,
    /// The largest resident size of this process so far; null where the system does not tell.
    pub peak_rss_bytes: Option<u64>,
}

/// Figures after a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluationMetrics {
    /// The step before it.
    pub step: u64,
    /// On the held-out part.
    pub evaluation: Evaluation,
}

/// The file, open for appending.
#[derive(Debug)]
pub struct Metrics {
    path: PathBuf,
    file: File,
}

impl Metrics {
    /// Opens the file. Lines of steps beyond `step`, which a killed run wrote after its last checkpoint, are cut off,
    /// and so is a line that it did not finish.
    ///
    /// # Errors
    /// A file that cannot be read or written.
    pub fn open(path: PathBuf, step: u64) -> Result<Self> {
        if path.exists() {
            let kept = lines_up_to(&path, step)?;
            replace(&path, &kept)?;
        }
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(Error::io("opening", &path))?;
        Ok(Self { path, file })
    }

    /// Makes the lines so far last, as the checkpoint that goes with them does.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(Error::io("writing", &self.path))
    }

    /// Appends a line.
    ///
    /// # Errors
    /// No space, or a file that cannot be written.
    pub fn append(&mut self, line: &impl Serialize) -> Result<()> {
        let mut text = serde_json::to_vec(line).map_err(|error| Error::Bug(error.to_string()))?;
        text.push(b'\n');
        self.file.write_all(&text).map_err(Error::io("writing", &self.path))
    }
}

fn lines_up_to(path: &Path, last: u64) -> Result<Vec<u8>> {
    #[derive(Deserialize)]
    struct Line {
        step: u64,
    }
    let file = fs::File::open(path).map_err(Error::io("reading", path))?;
    let mut kept = Vec::new();
    for line in BufReader::new(file).split(b'\n') {
        let mut line = line.map_err(Error::io("reading", path))?;
        match serde_json::from_slice::<Line>(&line) {
            Ok(Line { step }) if step <= last => {
                kept.append(&mut line);
                kept.push(b'\n');
            }
            _ => break,
        }
    }
    Ok(kept)
}

/// The largest resident size of this process so far.
pub fn peak_rss_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_a_checkpoint_and_torn_ones_are_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        fs::write(
            &path,
            "{\"step\":1}\n{\"step\":2,\"evaluation\":3}\n{\"step\":3}\n{\"ste",
        )
        .unwrap();
        Metrics::open(path.clone(), 2)
            .unwrap()
            .append(&serde_json::json!({"step": 3, "new": true}))
            .unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            "{\"step\":1}\n{\"step\":2,\"evaluation\":3}\n{\"new\":true,\"step\":3}\n"
        );
    }

    #[test]
    fn the_resident_size_is_told() {
        if cfg!(target_os = "linux") {
            assert!(peak_rss_bytes().unwrap() > 100_000);
        }
    }
}
