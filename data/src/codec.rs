//! How a soft target is stored, and how far a stored value may lie from the teacher's.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

mod targets;

pub use targets::{Row, SoftTargets};

/// The number type of stored logits or gaps. Numbers are rounded to the nearest, ties to even.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Values {
    /// IEEE single precision: what the teacher's head gives, bit for bit.
    F32,
    /// IEEE half precision: 11 significant bits, at most 65,504.
    F16,
    /// bfloat16: 8 significant bits, the range of `F32`. Stored as the upper 16 bits, in an unsigned column.
    Bf16,
}

impl Values {
    /// The name that plans, flags and metadata use.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }

    /// The value as it will be read back.
    pub fn round(self, value: f32) -> f32 {
        match self {
            Self::F32 => value,
            Self::F16 => half::f16::from_f32(value).to_f32(),
            Self::Bf16 => half::bf16::from_f32(value).to_f32(),
        }
    }

    /// The largest |`round(x)` - x| for finite |x| <= `magnitude` inside the type's range: half a unit in the last
    /// place, 2^-p times the magnitude for p significant bits, and for `F16` at least half of its smallest step, 2^-25.
    pub fn error_bound(self, magnitude: f32) -> f32 {
        match self {
            Self::F32 => 0.0,
            Self::F16 => (magnitude * 2f32.powi(-11)).max(2f32.powi(-25)),
            Self::Bf16 => magnitude * 2f32.powi(-8),
        }
    }

    /// Bytes of one stored value before compression.
    pub fn width(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }
}

/// How a soft target is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Codec {
    /// Every logit of a position: any temperature can be asked for later.
    Dense {
        /// The type of the stored logits.
        values: Values,
    },
    /// The `k` largest logits of a position, as gaps to the largest, and for each declared temperature the log of the
    /// mass outside them. Another temperature cannot be asked for.
    TopK {
        /// How many logits are kept (fewer where there are not as many outcomes).
        k: u32,
        /// The type of the stored gaps.
        values: Values,
        /// The declared temperatures, in the order of their columns.
        temperatures: Vec<f32>,
    },
}

impl Codec {
    /// The type of the stored logits or gaps.
    pub fn values(&self) -> Values {
        match self {
            Self::Dense { values } | Self::TopK { values, .. } => *values,
        }
    }

    /// The temperatures that a reader may ask for; `None`: any.
    pub fn temperatures(&self) -> Option<&[f32]> {
        match self {
            Self::Dense { .. } => None,
            Self::TopK { temperatures, .. } => Some(temperatures),
        }
    }

    /// Where a temperature's log tails stand in [`SoftTargets::TopK`]; `None` for a codec that needs none.
    ///
    /// # Errors
    /// A temperature that is not positive and finite, or was not declared: it cannot be made up for.
    pub fn temperature_index(&self, temperature: f32) -> Result<Option<usize>> {
        if !(temperature > 0.0 && temperature.is_finite()) {
            return Err(Error::Input(format!(
                "temperature {temperature} is not a positive number"
            )));
        }
        let Self::TopK { temperatures, .. } = self else {
            return Ok(None);
        };
        match temperatures.iter().position(|declared| *declared == temperature) {
            Some(index) => Ok(Some(index)),
            None => Err(Error::Input(format!(
                "temperature {temperature} was not declared when the soft targets were captured; declared: {}; \
                 use one of these or capture again with it",
                temperatures.iter().map(f32::to_string).collect::<Vec<_>>().join(", ")
            ))),
        }
    }

    /// How many entries every position keeps, of `outcomes` ids of which `holes` are outside the softmax.
    pub fn kept(&self, outcomes: u32, holes: usize) -> usize {
        match self {
            Self::Dense { .. } => outcomes as usize,
            Self::TopK { k, .. } => (*k as usize).min((outcomes as usize).saturating_sub(holes)),
        }
    }

    /// The largest distance between a logit rebuilt from what is stored and the teacher's, for a position whose
    /// logits have magnitudes up to `magnitude` and lie up to `gap` below the largest.
    ///
    /// `dense` stores the logit itself, rounded once. `top_k` stores the gap, so that the error is relative to the
    /// gap and not to the logit; taking the difference and giving it back cost one f32 rounding each, of at most
    /// 2^-24 times the result.
    pub fn logit_error_bound(&self, magnitude: f32, gap: f32) -> f32 {
        match self {
            Self::Dense { values } => values.error_bound(magnitude),
            Self::TopK { values, .. } => {
                let difference = gap * 2f32.powi(-24);
                let stored = values.error_bound(gap + difference);
                let rebuilt = (magnitude + difference + stored) * 2f32.powi(-24);
                // The bound itself is computed in f32; its own roundings stay below one part in 2^20.
                (difference + stored + rebuilt) * (1.0 + 2f32.powi(-20))
            }
        }
    }

    /// Whether the numbers of the codec make sense.
    ///
    /// # Errors
    /// Nothing to keep, no temperature, one that is not positive and finite or is declared twice.
    pub fn check(&self) -> Result<()> {
        let Self::TopK { k, temperatures, .. } = self else {
            return Ok(());
        };
        if *k == 0 {
            return Err(Error::Input(
                "top_k keeps 0 entries; give --top-k a number of at least 1".into(),
            ));
        }
        if temperatures.is_empty() {
            return Err(Error::Input(
                "top_k declares no temperature; give --temperatures, for example 1,2".into(),
            ));
        }
        for (index, temperature) in temperatures.iter().enumerate() {
            if !(*temperature > 0.0 && temperature.is_finite()) {
                return Err(Error::Input(format!(
                    "temperature {temperature} is not a positive number"
                )));
            }
            if temperatures[..index].contains(temperature) {
                return Err(Error::Input(format!("temperature {temperature} is declared twice")));
            }
        }
        Ok(())
    }
}
