//! What the teacher said about one example.

use crate::{Codec, Error, Example, Result};

/// The soft targets of one example, in memory always f32. A reader gets the values as they were rounded for storage.
#[derive(Debug, Clone, PartialEq)]
pub enum SoftTargets {
    /// Every logit.
    Dense {
        /// The width of a row.
        classes: usize,
        /// `[positions, classes]`, row by row. -inf marks an id that the tokenizer does not have (a hole of the
        /// plan), and nothing else is -inf.
        logits: Vec<f32>,
    },
    /// The largest logits.
    TopK {
        /// `[positions + 1]`: position `p` keeps the entries `offsets[p]..offsets[p + 1]`.
        offsets: Vec<u32>,
        /// `[entries]`: class or token ids, from the largest logit down; equal logits: lower id first.
        ids: Vec<u32>,
        /// `[entries]`: largest logit of the position minus this one, in nats; >= 0, first of each position 0.
        gaps: Vec<f32>,
        /// `[positions]`: the largest logit.
        largest: Vec<f32>,
        /// `[declared temperature][position]`: natural log of the probability outside the kept entries, <= 0; -inf
        /// where nothing is outside.
        log_tails: Vec<Vec<f32>>,
    },
}

impl SoftTargets {
    /// How many positions there are.
    pub fn positions(&self) -> usize {
        match self {
            Self::Dense { classes, logits } => logits.len().checked_div(*classes).unwrap_or(0),
            Self::TopK { largest, .. } => largest.len(),
        }
    }

    /// Rounds the stored numbers to the codec's type, as writing and reading back would.
    pub fn round_to(&mut self, codec: &Codec) {
        let values = codec.values();
        let numbers = match self {
            Self::Dense { logits, .. } => logits,
            Self::TopK { gaps, .. } => gaps,
        };
        for number in numbers {
            *number = values.round(*number);
        }
    }

    /// The mean over positions of the probability outside the kept entries at the first declared temperature; `None`
    /// for `dense`, which leaves nothing outside, and without positions.
    pub fn mean_tail(&self) -> Option<f32> {
        match self {
            Self::Dense { .. } => None,
            Self::TopK { log_tails, .. } => {
                let tails = log_tails.first()?;
                let sum: f64 = tails.iter().map(|tail| f64::from(*tail).exp()).sum();
                (!tails.is_empty()).then(|| (sum / tails.len() as f64) as f32)
            }
        }
    }

    /// Whether the targets are what the codec promises. `positions` is the example's, `outcomes` the width of the
    /// softmax and `holes` the ids outside it, ascending.
    ///
    /// # Errors
    /// The first broken rule in words, without the place: the caller knows it.
    pub(crate) fn check(&self, codec: &Codec, positions: usize, outcomes: u32, holes: &[u32]) -> Result<(), String> {
        match (self, codec) {
            (Self::Dense { classes, logits }, Codec::Dense { values }) => {
                if *classes != outcomes as usize {
                    return Err(format!(
                        "rows of {classes} logits, but the plan has {outcomes} outcomes"
                    ));
                }
                if logits.len() != positions * classes {
                    let found = logits.len();
                    return Err(format!(
                        "{found} logits, but {positions} positions of {classes} need {}",
                        positions * classes
                    ));
                }
                for (position, row) in logits.chunks_exact(*classes).enumerate() {
                    check_row(row, holes, |value| values.round(value))
                        .map_err(|why| format!("position {position}: {why}"))?;
                }
                Ok(())
            }
            (
                Self::TopK {
                    offsets,
                    ids,
                    gaps,
                    largest,
                    log_tails,
                },
                Codec::TopK {
                    values, temperatures, ..
                },
            ) => {
                let kept = codec.kept(outcomes, holes.len());
                if largest.len() != positions {
                    return Err(format!("{} positions, but the example has {positions}", largest.len()));
                }
                let even = offsets
                    .iter()
                    .enumerate()
                    .all(|(p, offset)| *offset as usize == p * kept);
                if offsets.len() != positions + 1 || !even {
                    return Err(format!(
                        "offsets that do not keep {kept} entries at each of {positions} positions"
                    ));
                }
                if ids.len() != positions * kept || gaps.len() != ids.len() {
                    let (ids, gaps, want) = (ids.len(), gaps.len(), positions * kept);
                    return Err(format!(
                        "{ids} ids and {gaps} gaps, but {positions} positions of {kept} need {want} of each"
                    ));
                }
                if log_tails.len() != temperatures.len() || log_tails.iter().any(|tails| tails.len() != positions) {
                    return Err(format!(
                        "log tails that are not [{} temperatures, {positions} positions]",
                        temperatures.len()
                    ));
                }
                for position in 0..positions {
                    let entries = position * kept..(position + 1) * kept;
                    check_kept(&ids[entries.clone()], &gaps[entries], outcomes, holes, |value| {
                        values.round(value)
                    })
                    .map_err(|why| format!("position {position}: {why}"))?;
                    if !largest[position].is_finite() {
                        return Err(format!(
                            "position {position}: the largest logit is {}",
                            largest[position]
                        ));
                    }
                    // Not `> 0.0`: NaN must not pass.
                    if let Some(tails) = log_tails
                        .iter()
                        .find(|tails| !matches!(tails[position], tail if tail <= 0.0))
                    {
                        return Err(format!(
                            "position {position}: a log tail of {}, more than 0",
                            tails[position]
                        ));
                    }
                }
                Ok(())
            }
            _ => Err("soft targets of another codec than the plan's".into()),
        }
    }
}

/// A dense row: finite after rounding, except -inf at every hole and nowhere else.
fn check_row(row: &[f32], holes: &[u32], round: impl Fn(f32) -> f32) -> Result<(), String> {
    let mut holes = holes.iter().copied().peekable();
    for (id, logit) in row.iter().enumerate() {
        let hole = holes.next_if(|hole| *hole as usize == id).is_some();
        if hole && *logit != f32::NEG_INFINITY {
            return Err(format!(
                "id {id} is outside the softmax, but its logit is {logit}, not -inf"
            ));
        }
        if !hole && !round(*logit).is_finite() {
            return Err(not_finite("logit", id as u32, *logit));
        }
    }
    Ok(())
}

/// The kept entries of one position: known ids, none twice, gaps from 0 up in order.
fn check_kept(
    ids: &[u32],
    gaps: &[f32],
    outcomes: u32,
    holes: &[u32],
    round: impl Fn(f32) -> f32,
) -> Result<(), String> {
    let mut last = (0.0_f32, None);
    for (id, gap) in ids.iter().zip(gaps) {
        if *id >= outcomes || holes.binary_search(id).is_ok() {
            return Err(format!("id {id} is not one of the {outcomes} outcomes"));
        }
        if !round(*gap).is_finite() {
            return Err(not_finite("gap", *id, *gap));
        }
        // Negative, NaN and out of order at once; equal gaps may come from rounding, so their ids need no order.
        if !matches!(*gap, gap if gap >= last.0) {
            return Err(format!(
                "a gap of {gap} at id {id} after one of {}; they go from 0 up",
                last.0
            ));
        }
        if last.1.is_none() && *gap != 0.0 {
            return Err(format!("the first gap is {gap}, not 0"));
        }
        last = (*gap, Some(*id));
    }
    let mut sorted = ids.to_vec();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("id {} is kept twice", pair[0])),
        None => Ok(()),
    }
}

fn not_finite(what: &str, id: u32, value: f32) -> String {
    if value.is_finite() {
        format!("the {what} {value} of id {id} is beyond the range of the stored type; use --values f32 or bf16")
    } else {
        format!("the {what} of id {id} is {value}")
    }
}

/// One example with its soft targets: a row of the dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The input.
    pub example: Example,
    /// What the teacher said.
    pub targets: SoftTargets,
    /// The mean over positions of the teacher's entropy in nats at T = 1; `None` without positions.
    pub mean_entropy: Option<f32>,
}

impl Row {
    /// A row from the teacher's full-row entropies, one for each position, in nats at T = 1.
    ///
    /// # Errors
    /// [`Error::Bug`] when the number of entropies is not the number of positions.
    pub fn new(example: Example, targets: SoftTargets, entropy: &[f32]) -> Result<Self> {
        if entropy.len() != targets.positions() {
            let (found, want) = (entropy.len(), targets.positions());
            return Err(Error::Bug(format!(
                "example {:?} has {found} entropies for {want} positions",
                example.id
            )));
        }
        let sum: f64 = entropy.iter().map(|nats| f64::from(*nats)).sum();
        let mean_entropy = (!entropy.is_empty()).then(|| (sum / entropy.len() as f64) as f32);
        Ok(Self {
            example,
            targets,
            mean_entropy,
        })
    }
}
