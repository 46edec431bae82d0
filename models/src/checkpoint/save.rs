//! Writing a directory whole or not at all.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use safetensors::{Dtype, View};
use serde_json::Value;

use super::{Checkpoint, read, weights};
use crate::config::dtype_name;
use crate::{Error, Model, Result};

pub(super) fn save(checkpoint: &Checkpoint, model: &dyn Model, dir: &Path) -> Result<()> {
    if fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) || dir.is_file() {
        return Err(Error::Occupied { path: dir.into() });
    }
    let parent = match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(Error::io(parent))?;
    // Removed with all that is in it if anything below fails.
    let staging = tempfile::Builder::new()
        .prefix(".saving-")
        .tempdir_in(parent)
        .map_err(Error::io(parent))?;
    let dtype = model.head().weight().dtype();
    write(&staging.path().join("config.json"), &config_json(checkpoint, dtype)?)?;
    for name in Checkpoint::COMPANIONS {
        if let Some(bytes) = read(&checkpoint.dir.join(name))? {
            write(&staging.path().join(name), &bytes)?;
        }
    }
    write_weights(&staging.path().join(weights::SINGLE), model)?;
    sync(staging.path())?;
    readable(staging.path())?;
    fs::rename(staging.path(), dir).map_err(Error::io(dir))?;
    // The directory has its new name; there is nothing left to remove.
    let _ = staging.keep();
    sync(parent)
}

/// The configuration with the number format that the weights are now stored in; as it is where that is the same.
fn config_json(checkpoint: &Checkpoint, dtype: DType) -> Result<Vec<u8>> {
    let json = &checkpoint.config_json;
    if checkpoint.config.dtype.is_none_or(|stored| stored == dtype) {
        return Ok(json.clone());
    }
    let path = || checkpoint.dir.join("config.json");
    let mut value: Value =
        serde_json::from_slice(json).map_err(|error| Error::config(&path(), format!("is not JSON: {error}")))?;
    for key in ["dtype", "torch_dtype"] {
        if let Some(stored) = value.get_mut(key) {
            *stored = dtype_name(dtype).into();
        }
    }
    Ok(format!("{value:#}\n").into_bytes())
}

fn write_weights(path: &Path, model: &dyn Model) -> Result<()> {
    let parameters = model.parameters();
    let tensors: BTreeMap<&String, Stored> = parameters
        .trained()
        .iter()
        .chain(parameters.buffers())
        .map(|(name, var)| Ok((name, Stored::new(var.as_tensor())?)))
        .collect::<Result<_>>()?;
    // `transformers` refuses files that do not say this.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize_to_file(tensors, Some(metadata), path)
        .map_err(|error| Error::weights(path, format!("cannot be written: {error}")))?;
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(Error::io(path))
}

/// A tensor on the CPU, with what its format is called in the file.
struct Stored {
    tensor: Tensor,
    dtype: Dtype,
}

impl Stored {
    fn new(tensor: &Tensor) -> Result<Self> {
        let tensor = tensor.detach().to_device(&Device::Cpu)?;
        Ok(Self {
            dtype: tensor.dtype().into(),
            tensor,
        })
    }
}

impl View for Stored {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        self.tensor.dims()
    }

    fn data(&self) -> Cow<'_, [u8]> {
        View::data(&&self.tensor).into_owned().into()
    }

    fn data_len(&self) -> usize {
        self.tensor.elem_count() * self.tensor.dtype().size_in_bytes()
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).map_err(Error::io(path))?;
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(Error::io(path))
}

/// Makes the names in a directory last.
fn sync(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|file| file.sync_all()).map_err(Error::io(dir))
}

/// A temporary directory is its owner's alone, and the weight file in it too; a checkpoint is not.
fn readable(dir: &Path) -> Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: PathBuf, mode| {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).map_err(Error::io(&path))
        };
        mode(dir.join(weights::SINGLE), 0o644)?;
        mode(dir.into(), 0o755)?;
    }
    Ok(())
}
