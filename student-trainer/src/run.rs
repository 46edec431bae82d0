//! The folder of a run, and whether what lies there is this run.
//!
//! `run.json` (what the run is), `student/` (its description), `checkpoints/`, `metrics.jsonl`, and at the end `model/`
//! and `report.json`.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::checkpoint::{Checkpoints, replace};
use crate::config::{Config, differences};
use crate::{Error, Result};

/// What a run is: everything that its weights depend on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// The configuration, without places and without what does not change the weights.
    pub config: Value,
    /// The student at its start.
    pub student: Value,
    /// Hashes and identities of the data.
    pub data: Value,
    /// What computed it. Another build or kernel path may differ in the last bits; that is told, not refused.
    pub build: Value,
}

impl Identity {
    /// The identity of a configured run.
    ///
    /// # Errors
    /// Never for a configuration that was read from TOML.
    pub fn new(config: &Config, student: Value, data: Value) -> Result<Self> {
        let mut config = serde_json::to_value(config).map_err(|error| Error::Bug(error.to_string()))?;
        // The hashes of `student` and `data` say what lies at these places; the rest has no part in the weights.
        let forgotten = [
            ("student", "path"),
            ("data", "dataset"),
            ("data", "inputs"),
            ("training", "threads"),
            ("training", "keep"),
            ("training", "checkpoint_every"),
        ];
        for (table, key) in forgotten {
            if let Some(table) = config.get_mut(table).and_then(Value::as_object_mut) {
                table.remove(key);
            }
        }
        let build = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "kernel_path": decant_kernels::kernel_path(),
            "threads": rayon::current_num_threads(),
        });
        Ok(Self {
            config,
            student,
            data,
            build,
        })
    }
}

/// The folder of a run, held against other processes for as long as this value lives.
#[derive(Debug)]
pub struct Run {
    folder: PathBuf,
    _lock: File,
}

/// Locked, not deleted: the system lets go of the lock however the process ends.
const LOCK: &str = "run.lock";

impl Run {
    /// Opens a folder for a run: a new one, or one that holds this run already.
    ///
    /// # Errors
    /// Another run in the folder (the keys that differ are named), something else in it, another process that is
    /// training in it, or no access.
    pub fn open(folder: &Path, identity: &Identity) -> Result<Self> {
        let record = folder.join("run.json");
        if !record.exists() && holds_anything(folder) {
            return Err(Error::Output(format!(
                "{} is not empty and holds no run; give another --output",
                folder.display()
            )));
        }
        fs::create_dir_all(folder).map_err(Error::io("creating", folder))?;
        let lock = lock(folder)?;
        match fs::read(&record) {
            Ok(bytes) => {
                let there: Identity = serde_json::from_slice(&bytes)
                    .map_err(|error| Error::Output(format!("{} is no record of a run: {error}", record.display())))?;
                refuse_another(&there, identity, folder)?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let json = serde_json::to_vec_pretty(identity).map_err(|error| Error::Bug(error.to_string()))?;
                replace(&record, &json)?;
            }
            Err(error) => return Err(Error::io("reading", &record)(error)),
        }
        Ok(Self {
            folder: folder.to_owned(),
            _lock: lock,
        })
    }

    /// The description of the student.
    pub fn student(&self) -> PathBuf {
        self.folder.join("student")
    }

    /// Its checkpoints; what an interrupted write left among them is removed.
    ///
    /// # Errors
    /// A folder that cannot be read or made.
    pub fn checkpoints(&self) -> Result<Checkpoints> {
        let checkpoints = checkpoints_of(&self.folder)?;
        checkpoints.clear()?;
        Ok(checkpoints)
    }

    /// Its metrics.
    pub fn metrics(&self) -> PathBuf {
        self.folder.join("metrics.jsonl")
    }

    /// The trained model.
    pub fn model(&self) -> PathBuf {
        self.folder.join("model")
    }

    /// The report.
    pub fn report(&self) -> PathBuf {
        self.folder.join("report.json")
    }
}

/// The checkpoints of the run in a folder, for reading: another process may be training there.
///
/// # Errors
/// A folder that holds no run.
pub fn checkpoints_of(folder: &Path) -> Result<Checkpoints> {
    if !folder.join("run.json").is_file() {
        return Err(Error::Output(format!(
            "{} holds no run.json: not the output of a training run",
            folder.display()
        )));
    }
    Ok(Checkpoints::new(folder.join("checkpoints")))
}

/// Whether a folder holds anything but what a run that is just beginning leaves.
fn holds_anything(folder: &Path) -> bool {
    let beginning = |name: &str| name == LOCK || name == "run.json.writing";
    fs::read_dir(folder).is_ok_and(|entries| {
        let mut names = entries.flatten().map(|entry| entry.file_name());
        names.any(|name| !name.to_str().is_some_and(beginning))
    })
}

/// Holds the folder against other trainers: two of them would mix their metrics and overwrite each other's checkpoints.
fn lock(folder: &Path) -> Result<File> {
    let path = folder.join(LOCK);
    let file = File::create(&path).map_err(Error::io("creating", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Output(format!(
            "another process is training in {}; wait for it, or give another --output",
            folder.display()
        ))),
        Err(TryLockError::Error(source)) => Err(Error::io("locking", &path)(source)),
    }
}

fn refuse_another(there: &Identity, here: &Identity, folder: &Path) -> Result<()> {
    let parts =
        |identity: &Identity| json!({ "config": identity.config, "student": identity.student, "data": identity.data });
    let differing = differences(&parts(there), &parts(here));
    if !differing.is_empty() {
        return Err(Error::Output(format!(
            "{} holds another run, which differs in {}; give another --output, or the same configuration",
            folder.display(),
            differing.join(", ")
        )));
    }
    let build = differences(&there.build, &here.build);
    if !build.is_empty() {
        tracing::warn!(
            "the run was started with another build: {}; its last bits may differ",
            build.join(", ")
        );
    }
    Ok(())
}

/// Writes the student of a run's checkpoint (the newest unless a step is given) as a Hugging Face folder; the step.
///
/// # Errors
/// A folder that holds no run, a step without a checkpoint, or a place that is not empty.
pub fn export(folder: &Path, out: &Path, step: Option<u64>) -> Result<u64> {
    let checkpoints = checkpoints_of(folder)?;
    let steps = checkpoints.steps()?;
    let step = match step {
        Some(step) if steps.contains(&step) => step,
        Some(step) => {
            let there = steps.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
            return Err(Error::Output(format!(
                "{} has no checkpoint of step {step}, only of {there}",
                folder.display()
            )));
        }
        None => *steps
            .last()
            .ok_or_else(|| Error::Output(format!("{} has no checkpoint yet", folder.display())))?,
    };
    let checkpoint = decant_models::Checkpoint::open(&checkpoints.model(step))?;
    let model = checkpoint.load(candle_core::DType::F32, &candle_core::Device::Cpu)?;
    checkpoint.save(&*model, out)?;
    Ok(step)
}
