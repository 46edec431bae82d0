//! From rows of logits to soft targets, a chunk of rows at a time.
//!
//! The logits of a batch would be gigabytes for a language model (4,096 positions of a vocabulary of 150,000 are
//! 2.4 GB), so they never exist: `logits` is asked for a few rows, those are reduced to what the codec keeps, and the
//! buffer is used again. Nothing here knows candle; the caller owns the head.

use super::error::{Error, Result};
use super::outcomes::Outcomes;
use decant_data::{Codec, SoftTargets};
use decant_kernels::select::{self, Kept, RowError};
use rayon::prelude::*;
use std::ops::Range;

/// What the teacher says of one example.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The soft target of every predicting position.
    pub targets: SoftTargets,
    /// Entropy of the teacher's whole distribution at T = 1, for every predicting position, in nats.
    pub entropy: Vec<f32>,
}

/// Reduces rows of logits to one answer for each of `examples`: (id, number of positions), in the order of the rows.
///
/// `logits` is called with consecutive ranges of at most `chunk_rows` rows, and fills the buffer with their logits,
/// `outcomes.width()` a row. A row that holds NaN or infinity spoils its own example only.
///
/// # Errors
/// Whatever `logits` fails with.
pub(super) fn reduce(
    examples: &[(&str, usize)],
    outcomes: &Outcomes,
    codec: &Codec,
    chunk_rows: usize,
    mut logits: impl FnMut(Range<usize>, &mut Vec<f32>) -> Result<()>,
) -> Result<Vec<Result<Answer>>> {
    let positions: usize = examples.iter().map(|(_, positions)| positions).sum();
    let chunk_rows = chunk_rows.max(1);
    let mut rows: Vec<Result<Row, RowError>> = Vec::with_capacity(positions);
    let mut buffer = Vec::new();
    for start in (0..positions).step_by(chunk_rows) {
        logits(start..positions.min(start + chunk_rows), &mut buffer)?;
        // one thread reduces a row from end to end, so how many there are changes nothing
        let reduced = buffer
            .par_chunks_mut(outcomes.width())
            .map_init(Kept::default, |scratch, logits| {
                outcomes.mask(logits);
                keep(logits, codec, scratch)
            });
        rows.par_extend(reduced);
    }
    let mut rows = rows.into_iter();
    Ok(examples
        .iter()
        .map(|&(id, positions)| {
            let own: Vec<_> = rows.by_ref().take(positions).collect();
            answer(id, own, outcomes, codec)
        })
        .collect())
}

/// What the codec keeps of one row; a dense one is kept whole, as `logits`.
struct Row {
    ids: Vec<u32>,
    logits: Vec<f32>,
    log_tails: Vec<f32>,
    entropy: f32,
}

fn keep(logits: &mut [f32], codec: &Codec, scratch: &mut Kept) -> Result<Row, RowError> {
    match codec {
        Codec::Dense { .. } => {
            let entropy = select::entropy(logits)?;
            Ok(Row {
                ids: Vec::new(),
                logits: logits.to_vec(),
                log_tails: Vec::new(),
                entropy,
            })
        }
        Codec::TopK { k, temperatures, .. } => {
            select::top_k(logits, *k as usize, temperatures, scratch)?;
            let Kept {
                ids,
                logits,
                log_tails,
                entropy,
                ..
            } = scratch;
            Ok(Row {
                ids: ids.clone(),
                logits: logits.clone(),
                log_tails: log_tails.clone(),
                entropy: *entropy,
            })
        }
    }
}

fn answer(id: &str, rows: Vec<Result<Row, RowError>>, outcomes: &Outcomes, codec: &Codec) -> Result<Answer> {
    let mut kept = Vec::with_capacity(rows.len());
    for (position, row) in rows.into_iter().enumerate() {
        kept.push(row.map_err(|source| Error::Logits {
            id: id.to_owned(),
            position,
            source,
        })?);
    }
    let entropy = kept.iter().map(|row| row.entropy).collect();
    let targets = match codec {
        Codec::Dense { .. } => SoftTargets::Dense {
            classes: outcomes.width(),
            logits: kept.into_iter().flat_map(|row| row.logits).collect(),
        },
        Codec::TopK { temperatures, .. } => top_k(&kept, temperatures.len()),
    };
    Ok(Answer { targets, entropy })
}

fn top_k(rows: &[Row], temperatures: usize) -> SoftTargets {
    let entries = rows.iter().map(|row| row.ids.len()).sum();
    let mut offsets = Vec::with_capacity(rows.len() + 1);
    let (mut ids, mut gaps) = (Vec::with_capacity(entries), Vec::with_capacity(entries));
    let mut largest = Vec::with_capacity(rows.len());
    offsets.push(0);
    for row in rows {
        // descending, and a row that was not refused has a finite entry
        let top = row.logits[0];
        ids.extend_from_slice(&row.ids);
        gaps.extend(row.logits.iter().map(|logit| top - logit));
        largest.push(top);
        offsets.push(ids.len() as u32);
    }
    let log_tails = (0..temperatures)
        .map(|t| rows.iter().map(|row| row.log_tails[t]).collect())
        .collect();
    SoftTargets::TopK {
        offsets,
        ids,
        gaps,
        largest,
        log_tails,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use decant_data::Values;

    const TOP_2: Codec = Codec::TopK {
        k: 2,
        values: Values::F32,
        temperatures: Vec::new(),
    };

    /// Row `r` of a made-up head over `outcomes`: the largest logit is at `r % width`.
    fn fill(range: Range<usize>, width: usize, buffer: &mut Vec<f32>) {
        buffer.clear();
        buffer
            .extend(range.flat_map(|row| (0..width).map(move |id| if id == row % width { 2.0 } else { -(id as f32) })));
    }

    #[test]
    fn the_logits_of_a_batch_are_never_held() {
        let outcomes = Outcomes::classes(11);
        let examples = [("a", 5), ("b", 0), ("c", 12), ("d", 3)];
        let (mut asked, mut largest) = (Vec::new(), 0);
        let answers = reduce(&examples, &outcomes, &TOP_2, 6, |range, buffer| {
            asked.push(range.clone());
            fill(range, 11, buffer);
            largest = largest.max(buffer.capacity());
            Ok(())
        })
        .unwrap();
        assert_eq!(asked, [0..6, 6..12, 12..18, 18..20]);
        assert!(largest < 2 * 6 * 11, "a buffer of {largest} logits for chunks of 66");
        let positions: Vec<usize> = answers
            .iter()
            .map(|answer| answer.as_ref().unwrap().targets.positions())
            .collect();
        assert_eq!(positions, [5, 0, 12, 3], "chunks cross examples, answers do not");
        let SoftTargets::TopK { ids, .. } = &answers[2].as_ref().unwrap().targets else {
            panic!()
        };
        let firsts: Vec<u32> = ids.iter().copied().step_by(2).collect();
        assert_eq!(firsts, (5..17).map(|row| row % 11).collect::<Vec<_>>());
    }

    #[test]
    fn the_chunks_change_nothing() {
        let outcomes = Outcomes::classes(7);
        let run = |chunk_rows| {
            let fill = |range, buffer: &mut Vec<f32>| {
                fill(range, 7, buffer);
                Ok(())
            };
            let answers = reduce(&[("a", 9), ("b", 4)], &outcomes, &TOP_2, chunk_rows, fill).unwrap();
            answers.into_iter().map(Result::unwrap).collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(5));
        assert_eq!(run(1), run(100));
    }

    #[test]
    fn a_spoiled_row_spoils_its_example_alone() {
        let outcomes = Outcomes::classes(3);
        let answers = reduce(
            &[("a", 2), ("b", 2), ("c", 1)],
            &outcomes,
            &TOP_2,
            2,
            |range, buffer| {
                fill(range.clone(), 3, buffer);
                if range.contains(&3) {
                    buffer[(3 - range.start) * 3 + 1] = f32::NAN;
                }
                Ok(())
            },
        )
        .unwrap();
        assert!(answers[0].is_ok() && answers[2].is_ok());
        let text = answers[1].as_ref().unwrap_err().to_string();
        assert!(
            text.contains("example b, position 1") && text.contains("logit 1"),
            "{text}"
        );
    }
}
