use super::*;
use crate::Values;

fn dense(values: Values) -> Codec {
    Codec::Dense { values }
}

fn top_k(values: Values) -> Codec {
    Codec::TopK {
        k: 3,
        values,
        temperatures: vec![2.0, 1.0],
    }
}

fn close(found: &[(u32, f64)], wanted: &[(u32, f64)]) {
    assert_eq!(found.len(), wanted.len());
    for (found, wanted) in found.iter().zip(wanted) {
        assert!(
            found.0 == wanted.0 && (found.1 - wanted.1).abs() < 1e-14,
            "{found:?} {wanted:?}"
        );
    }
}

#[test]
fn dense_gives_any_temperature() {
    let hole = f32::NEG_INFINITY;
    let targets = SoftTargets::Dense {
        classes: 4,
        logits: vec![0.0, 0.0, hole, 0.0, 2.0, -1.0, hole, 0.5],
    };
    let found = distribution(&targets, &dense(Values::F32), 1, 2.0).unwrap();
    // numpy: z = [2, -1, .5]; p = exp(z / 2); p / p.sum()
    close(
        &found.probabilities,
        &[
            (0, 0.5897976636568125),
            (1, 0.13160164714691433),
            (3, 0.278600689196273),
        ],
    );
    assert_eq!((found.tail, found.error), (None, 0.0));
}

#[test]
fn top_k_keeps_its_tail() {
    let targets = SoftTargets::TopK {
        offsets: vec![0, 3, 6],
        ids: vec![1, 2, 3, 70_000, 5, 6],
        gaps: vec![0.0, 1.0, 2.0, 0.0, 0.75, 3.5],
        largest: vec![9.0, 8.0],
        log_tails: vec![vec![-3.0, -2.0], vec![f32::NEG_INFINITY, -1.5]],
    };
    let codec = top_k(Values::F32);
    let found = distribution(&targets, &codec, 1, 1.0).unwrap();
    // numpy: q = exp(-g); q / q.sum() * (1 - exp(-1.5)), exp(-1.5)
    close(
        &found.probabilities,
        &[
            (70_000, 0.5170294728590651),
            (5, 0.2442274297599406),
            (6, 0.015612937232564406),
        ],
    );
    close(&[(0, found.tail.unwrap())], &[(0, 0.22313016014842982)]);
    assert!(found.error > 0.0 && found.error < 1e-6, "{}", found.error);

    let whole = distribution(&targets, &codec, 0, 1.0).unwrap();
    assert_eq!(whole.tail, Some(0.0), "nothing is outside");
    assert!((whole.probabilities.iter().map(|(_, p)| p).sum::<f64>() - 1.0).abs() < 1e-15);

    let message = distribution(&targets, &codec, 0, 3.0).unwrap_err().to_string();
    assert!(
        message.contains("temperature 3 was not declared") && message.contains("declared: 2, 1"),
        "{message}"
    );
    assert!(distribution(&targets, &codec, 2, 1.0).is_err());
    assert!(distribution(&targets, &dense(Values::F32), 0, 1.0).is_err());
}

/// Logits that no short type holds: `len` of them between -30 and 10, the same for the same seed.
fn logits(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as f32 / u32::MAX as f32 * 40.0 - 30.0
    };
    std::iter::repeat_with(next).take(len).collect()
}

fn exact(logits: &[f32], temperature: f64) -> Vec<f64> {
    let weights: Vec<f64> = logits
        .iter()
        .map(|logit| (f64::from(*logit) / temperature).exp())
        .collect();
    weights
        .iter()
        .map(|weight| weight / weights.iter().sum::<f64>())
        .collect()
}

#[test]
fn no_probability_is_further_off_than_the_bound() {
    let temperature = 2.0;
    for values in [Values::F32, Values::F16, Values::Bf16] {
        let (mut worst, mut bound) = (0.0f64, 0.0f64);
        for seed in 1..200 {
            let logits = logits(10, seed);
            let truth = exact(&logits, temperature.into());
            let mut stored = SoftTargets::Dense {
                classes: 10,
                logits: logits.clone(),
            };
            let codec = dense(values);
            stored.round_to(&codec);
            let found = distribution(&stored, &codec, 0, temperature).unwrap();

            let mut order: Vec<u32> = (0..10).collect();
            order.sort_by(|a, b| logits[*b as usize].total_cmp(&logits[*a as usize]));
            let kept = &order[..3];
            let largest = logits[order[0] as usize];
            let tail: f64 = order[3..].iter().map(|id| truth[*id as usize]).sum();
            let codec = top_k(values);
            let mut stored = SoftTargets::TopK {
                offsets: vec![0, 3],
                ids: kept.to_vec(),
                gaps: kept.iter().map(|id| largest - logits[*id as usize]).collect(),
                largest: vec![largest],
                log_tails: vec![vec![tail.ln() as f32], vec![0.0]],
            };
            stored.round_to(&codec);
            let kept = distribution(&stored, &codec, 0, temperature).unwrap();
            for found in [&found, &kept] {
                for (class, probability) in &found.probabilities {
                    let off = (probability - truth[*class as usize]).abs();
                    assert!(
                        off <= found.error + 1e-15,
                        "{values:?} {seed} {class}: {off} {}",
                        found.error
                    );
                    (worst, bound) = (worst.max(off), bound.max(found.error));
                }
            }
            assert!((kept.tail.unwrap() - tail).abs() <= kept.error + 1e-15);
        }
        // A bound that is far above all that happens would say nothing.
        assert!(bound < 6.0 * worst + 1e-6, "{values:?} {worst} {bound}");
    }
}

#[test]
fn a_bound_that_cannot_be_computed_is_not_small() {
    let stored = SoftTargets::Dense {
        classes: 2,
        logits: vec![100.0, 99.5],
    };
    let codec = dense(Values::Bf16);
    // Half a unit in the last place is 0.25: exp(0.25 / 1e-4) is beyond f64. Either may have been the larger one.
    assert_eq!(distribution(&stored, &codec, 0, 1e-4).unwrap().error, 1.0);
}
