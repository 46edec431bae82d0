//! The order of examples: a function of seed and epoch alone.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

/// The counter-based generator of one purpose in one epoch: ChaCha8 keyed by sha256 of seed, purpose and epoch.
fn generator(seed: u64, purpose: &str, epoch: u64) -> ChaCha8Rng {
    let key = Sha256::new()
        .chain_update(seed.to_le_bytes())
        .chain_update((purpose.len() as u64).to_le_bytes())
        .chain_update(purpose)
        .chain_update(epoch.to_le_bytes())
        .finalize();
    ChaCha8Rng::from_seed(key.into())
}

/// `0..n` in the order of an epoch (Fisher and Yates).
pub fn shuffled(n: usize, seed: u64, epoch: u64) -> Vec<u32> {
    let mut rng = generator(seed, "order", epoch);
    let mut order: Vec<u32> = (0..n as u32).collect();
    for last in (1..n).rev() {
        order.swap(last, below(&mut rng, last as u64 + 1) as usize);
    }
    order
}

/// A uniform number below `bound`: Lemire, "Fast Random Integer Generation in an Interval" (2019).
fn below(rng: &mut ChaCha8Rng, bound: u64) -> u64 {
    let threshold = bound.wrapping_neg() % bound;
    loop {
        let product = u128::from(rng.next_u64()) * u128::from(bound);
        if product as u64 >= threshold {
            return (product >> 64) as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_a_permutation_that_seed_and_epoch_decide() {
        for n in [0, 1, 2, 1000] {
            let mut order = shuffled(n, 7, 3);
            assert_eq!(order, shuffled(n, 7, 3));
            order.sort_unstable();
            assert!(order.iter().copied().eq(0..n as u32));
        }
        assert_ne!(shuffled(100, 7, 3), shuffled(100, 7, 4));
        assert_ne!(shuffled(100, 7, 3), shuffled(100, 8, 3));
    }

    #[test]
    fn every_place_is_as_likely() {
        // 6,000 orders of 3: each of the 6 permutations 1,000 times, give or take 5 standard deviations of 29.
        let mut counts = std::collections::BTreeMap::new();
        for seed in 0..6000 {
            *counts.entry(shuffled(3, seed, 0)).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 6);
        assert!(counts.values().all(|count| (855..1145).contains(count)), "{counts:?}");
    }
}
