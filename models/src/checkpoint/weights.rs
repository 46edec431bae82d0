//! The weight files of a directory, mapped into memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use candle_core::safetensors::MmapedSafetensors;
use candle_core::{DType, Device, Tensor};
use sha2::{Digest, Sha256};

use super::read;
use crate::{Error, Result};

/// The weight file of a checkpoint that is not sharded.
pub(super) const SINGLE: &str = "model.safetensors";
/// The file that names the shards of one that is.
const INDEX: &str = "model.safetensors.index.json";

/// The weight files of a directory in name order; none where it describes a student.
pub(super) fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let single = dir.join(SINGLE);
    if single.exists() {
        return Ok(vec![single]);
    }
    let path = dir.join(INDEX);
    let Some(json) = read(&path)? else {
        return match dir.join("pytorch_model.bin").exists() || dir.join("pytorch_model.bin.index.json").exists() {
            true => Err(Error::Missing {
                path: single,
                mend: "the weights are in PyTorch's pickled format, which is not read; save them as safetensors",
            }),
            false => Ok(Vec::new()),
        };
    };
    let index: serde_json::Value =
        serde_json::from_slice(&json).map_err(|error| Error::config(&path, format!("is not JSON: {error}")))?;
    let shards: Option<BTreeSet<&str>> = index["weight_map"]
        .as_object()
        .and_then(|map| map.values().map(serde_json::Value::as_str).collect());
    let shards = shards
        .filter(|shards| !shards.is_empty())
        .ok_or_else(|| Error::config(&path, "key `weight_map` must map each tensor to the file that holds it"))?;
    let is_name = |shard: &str| Path::new(shard).file_name().is_some_and(|name| name == shard);
    shards
        .into_iter()
        .map(|shard| match dir.join(shard) {
            _ if !is_name(shard) => Err(Error::config(
                &path,
                format!("key `weight_map` names `{shard}`, which is no file of this folder"),
            )),
            path if path.exists() => Ok(path),
            path => Err(Error::Missing {
                path,
                mend: "the index names this shard; copy it to the folder",
            }),
        })
        .collect()
}

/// Hash over the hashes of the files.
pub(super) fn sha256(files: &[PathBuf]) -> Result<String> {
    let mut all = Sha256::new();
    for path in files {
        let mut hash = Sha256::new();
        let mut file = File::open(path).map_err(Error::io(path))?;
        std::io::copy(&mut file, &mut HashWriter(&mut hash)).map_err(Error::io(path))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        all.update(format!("{}  {name}\n", hex(&hash.finalize())));
    }
    Ok(hex(&all.finalize()))
}

struct HashWriter<'a>(&'a mut Sha256);

impl std::io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Weight files with their headers read.
pub(crate) struct Weights {
    files: Vec<(PathBuf, MmapedSafetensors)>,
    /// The file of each tensor, and its shape.
    tensors: BTreeMap<String, (usize, Vec<usize>)>,
}

impl Weights {
    /// Maps the files and checks their headers, which say how long each file must be.
    pub(super) fn open(paths: &[PathBuf]) -> Result<Self> {
        let mut files = Vec::with_capacity(paths.len());
        let mut tensors = BTreeMap::new();
        for path in paths {
            let file = map(path)?;
            for (name, view) in file.tensors() {
                if let Some((other, _)) = tensors.insert(name.clone(), (files.len(), view.shape().to_vec())) {
                    let other = paths[other].display();
                    return Err(Error::weights(
                        path,
                        format!("tensor `{name}` is also in {other}; keep one of them"),
                    ));
                }
            }
            files.push((path.clone(), file));
        }
        Ok(Self { files, tensors })
    }

    /// A tensor in the number format and on the device where it will be used.
    pub(crate) fn tensor(&self, name: &str, shape: &[usize], dtype: DType, device: &Device) -> Result<Tensor> {
        let Some((file, found)) = self.tensors.get(name) else {
            return Err(Error::TensorMissing {
                path: self.files[0].0.clone(),
                tensor: name.to_owned(),
                expected: shape.to_vec(),
                hint: self.hint(name),
            });
        };
        let (path, file) = &self.files[*file];
        if found != shape {
            return Err(Error::TensorShape {
                path: path.clone(),
                tensor: name.to_owned(),
                found: found.clone(),
                expected: shape.to_vec(),
            });
        }
        let tensor = file.load(name, &Device::Cpu)?;
        if !tensor.dtype().is_float() {
            let reason = format!("tensor `{name}` holds {:?}, not floating-point numbers", tensor.dtype());
            return Err(Error::weights(path, reason));
        }
        Ok(tensor.to_dtype(dtype)?.to_device(device)?)
    }

    /// What may have gone wrong where a tensor is missing.
    fn hint(&self, name: &str) -> String {
        match name {
            "lm_head.weight" => "; set `tie_word_embeddings` to true if the model shares it with the embedding".into(),
            _ => match self
                .tensors
                .keys()
                .find(|other| other.ends_with(name) || name.ends_with(other.as_str()))
            {
                Some(other) => format!("; there is `{other}`"),
                None => String::new(),
            },
        }
    }

    /// An error for the first tensor that is not `known` by its name and shape.
    pub(crate) fn refuse_extra(&self, known: impl Fn(&str, &[usize]) -> bool) -> Result<()> {
        match self.tensors.iter().find(|(name, (_, shape))| !known(name, shape)) {
            None => Ok(()),
            Some((name, (file, shape))) => Err(Error::TensorExtra {
                path: self.files[*file].0.clone(),
                tensor: name.clone(),
                found: shape.clone(),
            }),
        }
    }
}

/// Maps one file; that it is whole follows from its header.
fn map(path: &Path) -> Result<MmapedSafetensors> {
    let bytes = fs::metadata(path).map_err(Error::io(path))?.len();
    // SAFETY: the mapping is only read. A file that another process shortens meanwhile would end this one with a
    // signal, as it would any program that maps its weights; checkpoints are replaced by renaming, never rewritten.
    let file = unsafe { MmapedSafetensors::new(path) };
    file.map_err(|error| {
        let cause = error.to_string();
        let cause = cause.lines().next().unwrap_or_default();
        Error::weights(
            path,
            format!("is truncated or damaged: {bytes} bytes do not fit its header ({cause}); copy the file again"),
        )
    })
}
