//! What one row of logits keeps: its largest entries, the mass outside them, and its entropy.

use crate::dispatch::{self, Kernel};
use crate::softmax::{log_add_exp, wide_log_sum_exp};
use crate::vector::{self, LANES, Lanes};

/// Why a row has no softmax.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// An entry is not a number.
    #[error("logit {index} is not a number")]
    NotANumber {
        /// Position in the row.
        index: usize,
    },
    /// An entry is plus infinity.
    #[error("logit {index} is plus infinity")]
    PositiveInfinity {
        /// Position in the row.
        index: usize,
    },
    /// The row is empty, or minus infinity throughout.
    #[error("the row has no finite logit")]
    NoFiniteEntry,
}

/// What one row of logits keeps. Reuse it from row to row: its buffers stay.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    /// Ids of the kept entries, in the order of `logits`.
    pub ids: Vec<u32>,
    /// Kept logits, descending; equal ones by ascending id.
    pub logits: Vec<f32>,
    /// For each temperature the log, in nats, of the mass outside the kept entries: summed over those entries, never
    /// `1 - sum`. Minus infinity when nothing is outside.
    pub log_tails: Vec<f32>,
    /// Entropy of the whole row in nats, at temperature 1.
    pub entropy: f32,
    maxima: Vec<f32>,
    candidates: Vec<(f32, u32)>,
}

/// Keeps the `k` largest entries of a row (fewer where the row has fewer finite ones).
///
/// `row` is scratch space: it is changed on the way and restored on return. Entries of minus infinity are outside the
/// softmax and never kept.
///
/// # Errors
/// NaN, plus infinity, or no finite entry.
pub fn top_k(row: &mut [f32], k: usize, temperatures: &[f32], kept: &mut Kept) -> Result<(), RowError> {
    dispatch::run(TopK {
        row,
        k,
        temperatures,
        kept,
    })
}

/// Entropy in nats of the softmax of a row.
///
/// # Errors
/// NaN, plus infinity, or no finite entry.
pub fn entropy(row: &[f32]) -> Result<f32, RowError> {
    dispatch::run(Entropy { row })
}

struct Entropy<'a> {
    row: &'a [f32],
}

impl Kernel for Entropy<'_> {
    type Output = Result<f32, RowError>;

    #[inline(always)]
    fn run<const FUSED: bool>(self) -> Self::Output {
        check(self.row, vector::max(self.row))?;
        let (log_mass, mean) = moments::<FUSED>(self.row);
        Ok((log_mass - mean) as f32)
    }
}

struct TopK<'a> {
    row: &'a mut [f32],
    k: usize,
    temperatures: &'a [f32],
    kept: &'a mut Kept,
}

impl Kernel for TopK<'_> {
    type Output = Result<(), RowError>;

    #[inline(always)]
    fn run<const FUSED: bool>(self) -> Self::Output {
        let Self {
            row,
            k,
            temperatures,
            kept,
        } = self;
        let largest = group_maxima(row, &mut kept.maxima);
        check(row, largest)?;
        gather(row, k, kept);
        for id in &kept.ids {
            row[*id as usize] = f32::NEG_INFINITY;
        }
        let (tail, tail_mean) = moments::<FUSED>(row);
        let head = log_sum_exp_of(&kept.logits, 1.0);
        let whole = log_add_exp(head, tail);
        let mut mean: f64 = kept
            .logits
            .iter()
            .map(|z| (f64::from(*z) - whole).exp() * f64::from(*z))
            .sum();
        if tail > f64::NEG_INFINITY {
            mean += (tail - whole).exp() * tail_mean;
        }
        kept.entropy = (whole - mean) as f32;
        kept.log_tails.clear();
        for temperature in temperatures {
            let (tail, head) = if *temperature == 1.0 {
                (tail, head)
            } else {
                let tail = wide_log_sum_exp::<FUSED>(row, *temperature).1;
                (tail, log_sum_exp_of(&kept.logits, *temperature))
            };
            kept.log_tails.push((tail - log_add_exp(head, tail)) as f32);
        }
        for (id, logit) in kept.ids.iter().zip(&kept.logits) {
            row[*id as usize] = *logit;
        }
        Ok(())
    }
}

/// A group is every `LANES`-th entry among this many steps of lanes.
const GROUP: usize = 16;

/// The largest entry of each group, without a reduction across lanes; returns the largest of all.
///
/// Entry `i` belongs to group `(i / (GROUP * LANES)) * LANES + i % LANES`.
#[inline(always)]
fn group_maxima(row: &[f32], maxima: &mut Vec<f32>) -> f32 {
    maxima.clear();
    let mut all = f32::NEG_INFINITY;
    for block in row.chunks(GROUP * LANES) {
        let mut largest: Lanes = [f32::NEG_INFINITY; LANES];
        vector::each(block, |chunk| {
            for lane in 0..LANES {
                largest[lane] = if chunk[lane] > largest[lane] {
                    chunk[lane]
                } else {
                    largest[lane]
                };
            }
        });
        maxima.extend_from_slice(&largest);
    }
    for value in maxima.iter() {
        all = if *value > all { *value } else { all };
    }
    all
}

/// Puts the `k` largest entries into `kept`.
///
/// The `k`-th largest of the groups' maxima is no larger than the row's `k`-th entry, for `k` groups each hold an
/// entry that is at least as large: only groups that reach it are looked into, about `k` of them.
#[inline(always)]
fn gather(row: &[f32], k: usize, kept: &mut Kept) {
    let Kept {
        ids,
        logits,
        maxima,
        candidates,
        ..
    } = kept;
    ids.clear();
    logits.clear();
    candidates.clear();
    if k == 0 {
        return;
    }
    let threshold = if k <= maxima.len() {
        candidates.extend(maxima.iter().map(|value| (*value, 0)));
        let (_, nth, _) = candidates.select_nth_unstable_by(k - 1, |a, b| b.0.total_cmp(&a.0));
        nth.0
    } else {
        f32::NEG_INFINITY
    };
    candidates.clear();
    for (block, maxima) in maxima.chunks_exact(LANES).enumerate() {
        for (lane, largest) in maxima.iter().enumerate() {
            if *largest < threshold {
                continue;
            }
            let first = block * GROUP * LANES + lane;
            let entries = (first..row.len()).step_by(LANES).take(GROUP);
            candidates.extend(entries.filter_map(|index| {
                let logit = row[index];
                (logit >= threshold && logit > f32::NEG_INFINITY).then_some((logit, index as u32))
            }));
        }
    }
    // `partial_cmp` and not `total_cmp`: 0 and -0 are a tie. There is no NaN here.
    let order = |a: &(f32, u32), b: &(f32, u32)| {
        b.0.partial_cmp(&a.0)
            .unwrap_or(std::cmp::Ordering::Equal)
            .then(a.1.cmp(&b.1))
    };
    if candidates.len() > k {
        candidates.select_nth_unstable_by(k - 1, order);
        candidates.truncate(k);
    }
    candidates.sort_unstable_by(order);
    for (logit, id) in candidates.iter() {
        ids.push(*id);
        logits.push(*logit);
    }
}

/// Log of the row's mass and the mean logit under its softmax, both at temperature 1.
#[inline(always)]
fn moments<const FUSED: bool>(row: &[f32]) -> (f64, f64) {
    let largest = vector::max(row);
    if largest == f32::NEG_INFINITY {
        return (f64::NEG_INFINITY, 0.0);
    }
    let (mass, gaps) = vector::sum_two(row, |logit| {
        let weight = vector::exp::<FUSED>(logit - largest);
        (weight, if weight > 0.0 { weight * (logit - largest) } else { 0.0 })
    });
    (f64::from(largest) + mass.ln(), f64::from(largest) + gaps / mass)
}

fn log_sum_exp_of(logits: &[f32], temperature: f32) -> f64 {
    let Some(largest) = logits.first().map(|z| f64::from(*z)) else {
        return f64::NEG_INFINITY;
    };
    let temperature = f64::from(temperature);
    let sum: f64 = logits
        .iter()
        .map(|z| ((f64::from(*z) - largest) / temperature).exp())
        .sum();
    largest / temperature + sum.ln()
}

/// Refuses a row without a softmax. `largest` passes over NaN, so NaN is looked for by itself.
#[inline(always)]
fn check(row: &[f32], largest: f32) -> Result<(), RowError> {
    let mut nan = [0u32; LANES];
    vector::each(row, |chunk| {
        for lane in 0..LANES {
            nan[lane] |= u32::from(chunk[lane].is_nan());
        }
    });
    if nan.contains(&1) {
        let index = row.iter().position(|logit| logit.is_nan()).unwrap_or_default();
        return Err(RowError::NotANumber { index });
    }
    if largest == f32::INFINITY {
        let index = row.iter().position(|logit| *logit == f32::INFINITY).unwrap_or_default();
        return Err(RowError::PositiveInfinity { index });
    }
    if largest == f32::NEG_INFINITY {
        Err(RowError::NoFiniteEntry)
    } else {
        Ok(())
    }
}
