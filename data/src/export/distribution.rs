//! The distribution that a soft target stands for, and how far rounding may have moved it.

use crate::{Codec, Error, Result, SoftTargets};

/// The teacher's distribution at one position and one temperature.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    /// (class or token id, probability) of every entry that is stored. An id outside the softmax has none.
    pub probabilities: Vec<(u32, f64)>,
    /// The probability of everything else together; `None` for `dense`, which leaves nothing out.
    pub tail: Option<f64>,
    /// No probability here is further from the teacher's own than this, by the rounding of the stored values.
    pub error: f64,
}

/// The distribution at a position of some soft targets.
///
/// `dense`: `softmax(z / T)`. `top_k`: `(1 - tail) softmax(-gap / T)` over the kept entries, where `ln tail` is stored
/// for each declared temperature. Computed in f64.
///
/// # Errors
/// A temperature that is not positive or, for `top_k`, was not declared; a position that is not there; soft targets of
/// another codec.
pub fn distribution(targets: &SoftTargets, codec: &Codec, position: usize, temperature: f32) -> Result<Distribution> {
    let declared = codec.temperature_index(temperature)?;
    let missing = || Error::Bug(format!("position {position} is not one of {}", targets.positions()));
    match (targets, declared) {
        (SoftTargets::Dense { classes, logits }, None) => {
            let row = logits.chunks_exact(*classes).nth(position).ok_or_else(missing)?;
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let entries = (0..).zip(row).filter(|(_, logit)| logit.is_finite());
            let entries = entries.map(|(class, logit)| Entry {
                class,
                below: f64::from(largest) - f64::from(*logit),
                error: codec.logit_error_bound(before_rounding(*logit), 0.0).into(),
            });
            Ok(softmax(entries.collect(), temperature, None))
        }
        (
            SoftTargets::TopK {
                offsets,
                ids,
                gaps,
                log_tails,
                ..
            },
            Some(index),
        ) => {
            let entries = match offsets.get(position..position + 2) {
                Some(&[start, end]) => start as usize..end as usize,
                _ => return Err(missing()),
            };
            let kept = ids.get(entries.clone()).zip(gaps.get(entries)).ok_or_else(missing)?;
            let log_tail = log_tails
                .get(index)
                .and_then(|tails| tails.get(position))
                .ok_or_else(missing)?;
            let entries = kept.0.iter().zip(kept.1).enumerate().map(|(rank, (id, gap))| Entry {
                class: *id,
                below: f64::from(*gap),
                // The largest is 0 below itself, exactly.
                error: if rank == 0 {
                    0.0
                } else {
                    codec.logit_error_bound(0.0, before_rounding(*gap)).into()
                },
            });
            Ok(softmax(entries.collect(), temperature, Some(f64::from(*log_tail))))
        }
        _ => Err(Error::Bug("soft targets of another codec than the plan's".into())),
    }
}

/// The largest magnitude that was rounded to this one: the coarsest type, bf16, is within 2^-8 of what it rounds.
fn before_rounding(value: f32) -> f32 {
    value.abs() * (1.0 + 2f32.powi(-7))
}

struct Entry {
    class: u32,
    /// Nats below the largest logit, T = 1.
    below: f64,
    /// How far `below` may be from the teacher's.
    error: f64,
}

fn softmax(entries: Vec<Entry>, temperature: f32, log_tail: Option<f64>) -> Distribution {
    let temperature = f64::from(temperature);
    let tail = log_tail.map(f64::exp);
    let kept = log_tail.map_or(1.0, |log_tail| -log_tail.exp_m1());
    // Of each weight exp(-below / T): as stored, and the least and the most that the teacher's may have been.
    let weights: Vec<[f64; 3]> = entries
        .iter()
        .map(|entry| {
            let weight = (-entry.below / temperature).exp();
            let by = (entry.error / temperature).exp();
            [weight, weight / by, weight * by]
        })
        .collect();
    let [sum, least, most] = weights
        .iter()
        .fold([0.0; 3], |sums, weight| [0, 1, 2].map(|of| sums[of] + weight[of]));
    let furthest = weights.iter().map(|[weight, low, high]| {
        let share = weight / sum;
        // One entry at an end of its range and all others at the opposite ends of theirs: no softmax lies further out.
        let above = high / (high + (least - low).max(0.0)) - share;
        let below = share - low / (low + (most - high).max(0.0));
        // Beyond the range of f64, at tiny temperatures, nothing is known.
        if above.is_nan() || below.is_nan() {
            1.0
        } else {
            above.max(below)
        }
    });
    let exact = entries.iter().all(|entry| entry.error == 0.0);
    let rounding = if exact { 0.0 } else { furthest.fold(0.0, f64::max) };
    // The log of the tail is an f32, half a unit in the last place from what the teacher said.
    let tail_error = log_tail
        .filter(|log| log.is_finite())
        .map_or(0.0, |log| log.exp() * -log * 2f64.powi(-24));
    Distribution {
        probabilities: entries
            .iter()
            .zip(&weights)
            .map(|(entry, [weight, ..])| (entry.class, kept * weight / sum))
            .collect(),
        tail,
        error: kept * rounding + tail_error,
    }
}

#[cfg(test)]
mod tests;
