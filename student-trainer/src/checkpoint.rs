//! Checkpoints of a run: all that it needs to go on as if it had never stopped.
//!
//! `step-<n>/` holds `model/` (a Hugging Face folder), `optimizer.safetensors` and `state.json`. It is written beside
//! its final name, made durable, and renamed: a checkpoint is whole or not there.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use candle_core::{DType, Device};
use decant_models::{Model, Parameters};
use safetensors::{Dtype, SafeTensors, View};
use serde::{Deserialize, Serialize};

use crate::loader::Position;
use crate::optimizer::{Moments, Optimizer};
use crate::{Error, Result};

/// Where a run stands, beside its numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Optimizer steps taken. The schedule follows from it.
    pub step: u64,
    /// Where the next step's examples start. With the seed of the configuration it says all about the order.
    pub position: Position,
    /// Seconds of training so far, in all processes.
    pub seconds: f64,
}

/// `state.json`: the state, and the hashes of what lies beside it, for a disk that lost or changed something later.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    state: State,
    weights_sha256: String,
    moments_sha256: String,
}

/// The checkpoints of a run.
#[derive(Debug)]
pub struct Checkpoints {
    folder: PathBuf,
}

impl Checkpoints {
    /// The checkpoints in a folder, which need not be there yet.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Removes what an interrupted write left. For the process that holds the run alone: another's write is under way
    /// in the same place.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub(crate) fn clear(&self) -> Result<()> {
        for entry in self.entries()? {
            if entry
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(WRITING))
            {
                fs::remove_dir_all(&entry).map_err(Error::io("removing", &entry))?;
            }
        }
        Ok(())
    }

    /// The steps that have a checkpoint, ascending.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn steps(&self) -> Result<Vec<u64>> {
        let number = |path: PathBuf| path.file_name()?.to_str()?.strip_prefix("step-")?.parse().ok();
        let mut steps: Vec<u64> = self.entries()?.into_iter().filter_map(number).collect();
        steps.sort_unstable();
        Ok(steps)
    }

    /// The folder of a step's model.
    pub fn model(&self, step: u64) -> PathBuf {
        self.of(step).join("model")
    }

    /// The model at a step, where the run stood, and its optimizer.
    ///
    /// # Errors
    /// Files that are missing, damaged or of another model.
    pub fn read(&self, step: u64) -> Result<(Box<dyn Model>, State, Optimizer)> {
        let whole = || -> Result<_> {
            let path = self.of(step).join("state.json");
            let record = fs::read(&path).map_err(Error::io("reading", &path))?;
            let Record {
                state,
                weights_sha256,
                moments_sha256,
            } = serde_json::from_slice(&record).map_err(|error| Error::Data(format!("{}: {error}", path.display())))?;
            let checkpoint = decant_models::Checkpoint::open(&self.model(step))?;
            refuse_changed(&self.model(step), &weights_sha256, &checkpoint.weights_sha256()?)?;
            let model = checkpoint.load(DType::F32, &Device::Cpu)?;
            let path = self.of(step).join("optimizer.safetensors");
            let bytes = fs::read(&path).map_err(Error::io("reading", &path))?;
            refuse_changed(&path, &moments_sha256, &decant_data::sha256_hex(&bytes))?;
            let moments =
                moments(&bytes, model.parameters()).map_err(|why| Error::Data(format!("{}: {why}", path.display())))?;
            let optimizer = Optimizer {
                moments,
                step: state.step,
            };
            Ok((model, state, optimizer))
        };
        whole().map_err(|error| {
            Error::Data(format!(
                "the checkpoint of step {step} cannot be read: {error}; mend it, or remove {} to go on from the one before \
                 it",
                self.of(step).display()
            ))
        })
    }

    /// Writes a checkpoint, then removes all but the newest `keep`.
    ///
    /// # Errors
    /// No space, or a folder that cannot be written.
    pub fn write(
        &self,
        state: &State,
        description: &decant_models::Checkpoint,
        model: &dyn Model,
        optimizer: &Optimizer,
        keep: usize,
    ) -> Result<()> {
        let writing = self.folder.join(format!("{WRITING}{}", state.step));
        fs::create_dir_all(&writing).map_err(Error::io("creating", &writing))?;
        let (model_folder, moments_file) = (writing.join("model"), writing.join("optimizer.safetensors"));
        description.save(model, &model_folder)?;
        write_moments(&moments_file, &optimizer.moments)?;
        let moments = fs::read(&moments_file).map_err(Error::io("reading", &moments_file))?;
        let record = Record {
            state: state.clone(),
            weights_sha256: decant_models::Checkpoint::open(&model_folder)?.weights_sha256()?,
            moments_sha256: decant_data::sha256_hex(&moments),
        };
        let record = serde_json::to_vec_pretty(&record).map_err(|error| Error::Bug(error.to_string()))?;
        write_durably(&writing.join("state.json"), &record)?;
        sync(&writing)?;
        let place = self.of(state.step);
        if place.exists() {
            fs::remove_dir_all(&place).map_err(Error::io("removing", &place))?;
        }
        fs::rename(&writing, &place).map_err(Error::io("writing", &place))?;
        sync(&self.folder)?;
        let steps = self.steps()?;
        for step in &steps[..steps.len().saturating_sub(keep)] {
            let old = self.of(*step);
            fs::remove_dir_all(&old).map_err(Error::io("removing", &old))?;
        }
        Ok(())
    }

    /// Writes a model to `place`, over the one of an earlier end of the same run.
    ///
    /// # Errors
    /// No space, or a folder that cannot be written.
    pub fn write_model(&self, description: &decant_models::Checkpoint, model: &dyn Model, place: &Path) -> Result<()> {
        let writing = self.folder.join(format!("{WRITING}model"));
        let beside = writing.join("model");
        description.save(model, &beside)?;
        if place.exists() {
            fs::remove_dir_all(place).map_err(Error::io("removing", place))?;
        }
        fs::rename(&beside, place).map_err(Error::io("writing", place))?;
        fs::remove_dir(&writing).map_err(Error::io("removing", &writing))
    }

    fn of(&self, step: u64) -> PathBuf {
        self.folder.join(format!("step-{step:08}"))
    }

    /// What lies in the folder; nothing where there is none.
    fn entries(&self) -> Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("reading", &self.folder)(error)),
        };
        entries
            .map(|entry| Ok(entry.map_err(Error::io("reading", &self.folder))?.path()))
            .collect()
    }
}

fn refuse_changed(place: &Path, written: &str, found: &str) -> Result<()> {
    match written == found {
        true => Ok(()),
        false => Err(Error::Data(format!(
            "{} was changed since it was written: its sha256 was {written} and is {found}",
            place.display()
        ))),
    }
}

const WRITING: &str = ".writing-";

/// The names of a parameter's two moments in the file.
const MOMENTS: [&str; 2] = ["first.", "second."];

struct Stored<'a> {
    values: &'a [f32],
    shape: [usize; 1],
}

impl<'a> Stored<'a> {
    fn new(values: &'a [f32]) -> Self {
        Self {
            values,
            shape: [values.len()],
        }
    }
}

impl View for Stored<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect::<Vec<u8>>()
            .into()
    }

    fn data_len(&self) -> usize {
        size_of_val(self.values)
    }
}

fn write_moments(path: &Path, moments: &BTreeMap<String, Moments>) -> Result<()> {
    let tensors = moments.iter().flat_map(|(name, moments)| {
        let [first, second] = MOMENTS.map(|kind| format!("{kind}{name}"));
        [
            (first, Stored::new(&moments.first)),
            (second, Stored::new(&moments.second)),
        ]
    });
    safetensors::serialize_to_file(tensors, None, path)
        .map_err(|error| Error::Output(format!("writing {}: {error}", path.display())))?;
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(Error::io("writing", path))
}

/// The moments of each parameter.
fn moments(bytes: &[u8], parameters: &Parameters) -> Result<BTreeMap<String, Moments>, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let values = |name: String, count: usize| -> Result<Vec<f32>, String> {
        let tensor = file.tensor(&name).map_err(|error| error.to_string())?;
        if (tensor.dtype(), tensor.shape()) != (Dtype::F32, &[count][..]) {
            let (dtype, shape) = (tensor.dtype(), tensor.shape());
            return Err(format!(
                "tensor `{name}` is {dtype:?} {shape:?}, the model asks for F32 [{count}]"
            ));
        }
        let numbers = tensor.data().as_chunks().0.iter();
        Ok(numbers.map(|bytes| f32::from_le_bytes(*bytes)).collect())
    };
    let parameters = parameters.trained().iter();
    parameters
        .map(|(name, var)| {
            let [first, second] = MOMENTS.map(|kind| values(format!("{kind}{name}"), var.elem_count()));
            Ok((
                name.clone(),
                Moments {
                    first: first?,
                    second: second?,
                },
            ))
        })
        .collect()
}

pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).map_err(Error::io("writing", path))?;
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(Error::io("writing", path))
}

/// Replaces a file whole or not at all.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".writing");
    let beside = PathBuf::from(beside);
    write_durably(&beside, bytes)?;
    fs::rename(&beside, path).map_err(Error::io("writing", path))
}

fn sync(folder: &Path) -> Result<()> {
    File::open(folder)
        .and_then(|file| file.sync_all())
        .map_err(Error::io("writing", folder))
}
