//! The sizes of the image classifiers.

use super::keys::Keys;
use crate::Result;

/// The size of an image as a model reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageShape {
    /// 1 for grey, 3 for colour.
    pub channels: usize,
    /// Rows of pixels.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
}

impl ImageShape {
    /// `image_size` is a number or `[height, width]`; `num_channels` is 3 where it is not given.
    fn read(keys: &Keys<'_>) -> Result<Self> {
        let channels = keys.optional_size("num_channels")?.unwrap_or(3);
        let (height, width) = match keys.value("image_size") {
            Some(serde_json::Value::Array(_)) => match keys.sizes("image_size")?[..] {
                [height, width] => (height, width),
                _ => return Err(keys.error("key `image_size` must be a number or a height and a width")),
            },
            _ => {
                let side = keys.size("image_size")?;
                (side, side)
            }
        };
        Ok(Self {
            channels,
            height,
            width,
        })
    }

    /// Numbers in one image.
    pub fn values(&self) -> usize {
        self.channels * self.height * self.width
    }
}

/// A multi-layer perceptron: ReLU after each hidden layer, then the head.
#[derive(Clone, Debug, PartialEq)]
pub struct MlpConfig {
    /// What it reads.
    pub image: ImageShape,
    /// Width of each hidden layer; may be empty, which leaves a linear classifier.
    pub hidden_sizes: Vec<usize>,
}

impl MlpConfig {
    pub(super) fn read(keys: &Keys<'_>) -> Result<Self> {
        Ok(Self {
            image: ImageShape::read(keys)?,
            hidden_sizes: keys.sizes("hidden_sizes")?,
        })
    }
}

/// A residual network of basic blocks (He et al. 2015, table 6): a 3x3 stem at full size, then stages of blocks of two
/// 3x3 convolutions, each with batch norm; each stage but the first halves height and width.
#[derive(Clone, Debug, PartialEq)]
pub struct ResnetConfig {
    /// What it reads.
    pub image: ImageShape,
    /// Blocks in each stage.
    pub depths: Vec<usize>,
    /// Channels of each stage.
    pub hidden_sizes: Vec<usize>,
}

impl ResnetConfig {
    pub(super) fn read(keys: &Keys<'_>) -> Result<Self> {
        let config = Self {
            image: ImageShape::read(keys)?,
            depths: keys.sizes("depths")?,
            hidden_sizes: keys.sizes("hidden_sizes")?,
        };
        let (depths, stages) = (config.depths.len(), config.hidden_sizes.len());
        if depths != stages || stages == 0 {
            return Err(keys.error(format!(
                "keys `depths` and `hidden_sizes` have {depths} and {stages} entries; each needs one for each stage"
            )));
        }
        Ok(config)
    }
}

/// The classes: `id2label`, or as many as `num_labels` under the names that `transformers` gives.
pub(super) fn labels(keys: &Keys<'_>) -> Result<Vec<String>> {
    let Some(map) = keys.object("id2label")? else {
        let count = keys
            .optional_size("num_labels")?
            .ok_or_else(|| keys.error("key `id2label` is missing; it names the classes, as in {\"0\": \"cat\"}"))?;
        return Ok((0..count).map(|class| format!("LABEL_{class}")).collect());
    };
    let count = map.entries().count();
    let mut labels = vec![None; count];
    for (id, label) in map.entries() {
        let slot = id.parse::<usize>().ok().and_then(|id| labels.get_mut(id));
        match (slot, label.as_str()) {
            (Some(slot @ None), Some(label)) => *slot = Some(label.to_owned()),
            _ => {
                return Err(keys.error(format!(
                    "key `id2label` has the entry \"{id}\": {label}; it must map each of 0 to {} to a name",
                    count - 1
                )));
            }
        }
    }
    if count == 0 {
        return Err(keys.error("key `id2label` names no class"));
    }
    // `count` entries in `count` slots, none filled twice: all are filled.
    Ok(labels.into_iter().flatten().collect())
}
