//! Initial values of a model, each tensor drawn on its own from (seed, name).
//!
//! No tensor's values depend on which others there are or on the order in which they are made, so that a deeper
//! student starts with the same first layers.

use std::f64::consts::TAU;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

/// The generator of one tensor.
pub(crate) fn generator(seed: u64, name: &str) -> ChaCha8Rng {
    let mut hash = Sha256::new();
    hash.update(b"decant initial values\0");
    hash.update(seed.to_le_bytes());
    hash.update(name.as_bytes());
    ChaCha8Rng::from_seed(hash.finalize().into())
}

/// Uniform on `[0, 1)`, with 53 bits.
fn unit(generator: &mut ChaCha8Rng) -> f64 {
    (generator.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// Draws from the normal distribution around 0 (Box and Muller 1958).
pub(crate) fn normal(generator: &mut ChaCha8Rng, deviation: f64, count: usize) -> Vec<f32> {
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        let radius = deviation * (-2.0 * (1.0 - unit(generator)).ln()).sqrt();
        let angle = TAU * unit(generator);
        values.push((radius * angle.cos()) as f32);
        values.push((radius * angle.sin()) as f32);
    }
    values.truncate(count);
    values
}

/// Draws from the uniform distribution on `[-bound, bound)`.
pub(crate) fn uniform(generator: &mut ChaCha8Rng, bound: f64, count: usize) -> Vec<f32> {
    (0..count)
        .map(|_| (bound * (2.0 * unit(generator) - 1.0)) as f32)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_values_have_the_moments_of_the_distribution() {
        let values = normal(&mut generator(7, "w"), 0.5, 100_001);
        let mean = |power: i32| values.iter().map(|&v| f64::from(v).powi(power)).sum::<f64>() / values.len() as f64;
        assert!(mean(1).abs() < 0.01, "mean {}", mean(1));
        assert!((mean(2) - 0.25).abs() < 0.005, "variance {}", mean(2));
        // The fourth moment of a normal distribution is 3 times the variance squared.
        assert!((mean(4) - 3.0 / 16.0).abs() < 0.01, "fourth moment {}", mean(4));
    }

    #[test]
    fn a_tensor_depends_on_seed_and_name_alone() {
        let draw = |seed, name| uniform(&mut generator(seed, name), 1.0, 8);
        assert_eq!(draw(1, "a"), draw(1, "a"));
        assert_ne!(draw(1, "a"), draw(1, "b"));
        assert_ne!(draw(1, "a"), draw(2, "a"));
        assert!(draw(1, "a").iter().all(|v| (-1.0..1.0).contains(v)));
    }
}
