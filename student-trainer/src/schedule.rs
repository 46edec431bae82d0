//! The learning rate of each step.

use std::f64::consts::PI;

use crate::config::{OptimizerConfig, Schedule};

/// The learning rate of step `step` of `total`, counted from 1: a linear rise over the warm-up, then constant, or half
/// a cosine that reaches `min_ratio` at the last step (Loshchilov and Hutter, "SGDR", 2017, equation 5, one period).
pub fn learning_rate(config: &OptimizerConfig, step: u64, total: u64) -> f64 {
    let (step, total, warmup) = (step as f64, total as f64, config.warmup_steps as f64);
    if step <= warmup {
        return config.learning_rate * step / warmup;
    }
    match config.schedule {
        Schedule::Constant => config.learning_rate,
        Schedule::Cosine => {
            let progress = ((step - warmup) / (total - warmup).max(1.0)).min(1.0);
            let height = 0.5 * (1.0 + (PI * progress).cos());
            config.learning_rate * (config.min_ratio + (1.0 - config.min_ratio) * height)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_falls_and_ends_where_it_should() {
        let mut config = OptimizerConfig {
            learning_rate: 2.0,
            warmup_steps: 4,
            min_ratio: 0.25,
            ..OptimizerConfig::default()
        };
        let rates: Vec<f64> = [1, 2, 4, 8, 12].map(|step| learning_rate(&config, step, 12)).to_vec();
        // At step 8 the cosine is halfway: 2 (0.25 + 0.75 / 2).
        for (got, want) in rates.iter().zip([0.5, 1.0, 2.0, 1.25, 0.5]) {
            assert!((got - want).abs() < 1e-12, "{rates:?}");
        }
        config.schedule = Schedule::Constant;
        assert_eq!(learning_rate(&config, 12, 12), 2.0);
        config.warmup_steps = 0;
        assert_eq!(learning_rate(&config, 1, 12), 2.0);
    }
}
