//! Answers cut into messages: a run of positions each, below the largest message.

use crate::teacher::Answer;
use decant_data::{Codec, SoftTargets};
use decant_proto::MAX_MESSAGE_BYTES;
use decant_proto::v1::{self, score_response::Outcome, soft_targets_part::Targets};
use std::ops::Range;

/// Longest id of an example, in bytes.
pub(super) const MAX_ID_BYTES: usize = 1024;

/// Room for everything of a message but its positions: the id, tags, lengths, counts, temperatures.
const FRAME_BYTES: usize = 16 * 1024;

/// Bytes that one position takes in a message, at most.
pub(super) fn position_bytes(codec: &Codec, outcomes: usize) -> usize {
    const FLOAT: usize = size_of::<f32>();
    let entropy = FLOAT;
    match codec {
        Codec::Dense { .. } => entropy + outcomes * FLOAT,
        Codec::TopK { k, temperatures, .. } => {
            let entries = (*k as usize).min(outcomes);
            // ids and offsets are packed varints: 7 bits a byte
            let (id, offset) = (varint_bytes(outcomes), varint_bytes(u32::MAX as usize));
            entropy + entries * (id + FLOAT) + offset + FLOAT + temperatures.len() * FLOAT
        }
    }
}

fn varint_bytes(largest: usize) -> usize {
    (usize::BITS - largest.leading_zeros()).div_ceil(7).max(1) as usize
}

/// Positions that one message holds; 0 where not even one fits.
pub(super) fn positions_per_message(codec: &Codec, outcomes: usize) -> usize {
    (MAX_MESSAGE_BYTES - FRAME_BYTES) / position_bytes(codec, outcomes)
}

/// The messages of one answer, made as they are asked for.
pub(super) fn of(
    id: String,
    answer: Answer,
    codec: &Codec,
    per_message: usize,
) -> impl Iterator<Item = v1::ScoreResponse> {
    let total = answer.entropy.len();
    (0..total).step_by(per_message.max(1)).map(move |start| {
        let range = start..total.min(start + per_message.max(1));
        let part = v1::SoftTargetsPart {
            first_position: range.start as u32,
            total_positions: total as u32,
            entropy: answer.entropy[range.clone()].to_vec(),
            targets: Some(targets(&answer.targets, codec, range)),
        };
        v1::ScoreResponse {
            id: id.clone(),
            outcome: Some(Outcome::Part(part)),
        }
    })
}

fn targets(targets: &SoftTargets, codec: &Codec, positions: Range<usize>) -> Targets {
    match targets {
        SoftTargets::Dense { classes, logits } => Targets::Dense(v1::DenseTargets {
            outcomes: *classes as u32,
            logits: logits[positions.start * classes..positions.end * classes].to_vec(),
        }),
        SoftTargets::TopK {
            offsets,
            ids,
            gaps,
            largest,
            log_tails,
        } => {
            let offsets = &offsets[positions.start..=positions.end];
            let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
            let entries = first as usize..last as usize;
            let temperatures = codec.temperatures().unwrap_or_default();
            Targets::TopK(v1::TopKTargets {
                offsets: offsets.iter().map(|offset| offset - first).collect(),
                ids: ids[entries.clone()].to_vec(),
                gaps: gaps[entries].to_vec(),
                largest: largest[positions.clone()].to_vec(),
                log_tails: temperatures
                    .iter()
                    .zip(log_tails)
                    .map(|(&temperature, tails)| v1::LogTail {
                        temperature,
                        values: tails[positions.clone()].to_vec(),
                    })
                    .collect(),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use decant_data::Values;
    use prost::Message;

    fn top_k(k: u32) -> Codec {
        Codec::TopK {
            k,
            values: Values::F32,
            temperatures: vec![1.0, 2.0],
        }
    }

    fn answer(positions: usize, k: u32, id: u32) -> Answer {
        let entries = positions * k as usize;
        let targets = SoftTargets::TopK {
            offsets: (0..=positions as u32).map(|position| position * k).collect(),
            ids: vec![id; entries],
            gaps: (0..entries).map(|entry| entry as f32).collect(),
            largest: vec![3.0; positions],
            log_tails: vec![vec![-1.0; positions], vec![-2.0; positions]],
        };
        Answer {
            targets,
            entropy: (0..positions).map(|position| position as f32).collect(),
        }
    }

    #[test]
    fn every_message_is_below_the_limit_and_close_to_it() {
        // the largest ids of a vocabulary of 2^18, and an id as long as it may be
        let (outcomes, k, positions) = (1 << 18, 64, 10_000);
        let codec = top_k(k);
        let per_message = positions_per_message(&codec, outcomes);
        let id = "x".repeat(MAX_ID_BYTES);
        let parts: Vec<_> = of(id, answer(positions, k, outcomes as u32 - 1), &codec, per_message).collect();
        let sizes: Vec<usize> = parts.iter().map(Message::encoded_len).collect();
        assert!(sizes.iter().all(|&size| size <= MAX_MESSAGE_BYTES), "{sizes:?}");
        // 10,000 positions of 64 entries of 7 bytes are 4.5 MB and a little: three messages
        assert_eq!(sizes.len(), 3);
    }

    #[test]
    fn dense_messages_are_below_the_limit() {
        let codec = Codec::Dense { values: Values::F32 };
        let outcomes = 49_152;
        let logits = vec![0.5; outcomes * 25];
        let answer = Answer {
            targets: SoftTargets::Dense {
                classes: outcomes,
                logits,
            },
            entropy: vec![1.0; 25],
        };
        // 2 MiB hold 10 positions of 196,608 bytes
        let parts: Vec<_> = of("a".to_owned(), answer, &codec, positions_per_message(&codec, outcomes)).collect();
        assert_eq!(parts.len(), 3);
        assert!(parts.iter().all(|part| part.encoded_len() <= MAX_MESSAGE_BYTES));
    }

    #[test]
    fn parts_are_whole_and_in_order() {
        let parts: Vec<_> = of("a".to_owned(), answer(5, 2, 7), &top_k(2), 2).collect();
        assert_eq!(parts.len(), 3);
        let mut entropy = Vec::new();
        let mut gaps = Vec::new();
        for response in parts {
            let Some(Outcome::Part(part)) = response.outcome else {
                panic!("no part")
            };
            assert_eq!((part.first_position as usize, part.total_positions), (entropy.len(), 5));
            let Some(Targets::TopK(targets)) = part.targets else {
                panic!("no top_k")
            };
            assert_eq!(
                targets.offsets,
                (0..=part.entropy.len() as u32).map(|at| at * 2).collect::<Vec<_>>()
            );
            assert_eq!(targets.log_tails[1].temperature, 2.0);
            assert_eq!(targets.log_tails[1].values, vec![-2.0; part.entropy.len()]);
            entropy.extend(part.entropy);
            gaps.extend(targets.gaps);
        }
        assert_eq!(entropy, [0.0, 1.0, 2.0, 3.0, 4.0]);
        assert_eq!(gaps, (0..10).map(|entry| entry as f32).collect::<Vec<_>>());
    }

    #[test]
    fn a_position_that_fits_no_message_is_known_before() {
        assert_eq!(positions_per_message(&Codec::Dense { values: Values::F32 }, 1 << 20), 0);
        assert_eq!(
            positions_per_message(&top_k(64), 1 << 20),
            (MAX_MESSAGE_BYTES - FRAME_BYTES) / (4 + 64 * 7 + 5 + 4 + 8)
        );
    }
}
