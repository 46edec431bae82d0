//! The normaliser of a softmax.

use crate::dispatch::{self, Kernel};
use crate::vector;

/// `ln sum exp(row / temperature)` in nats. Minus infinity for an empty row or one without a finite entry; NaN where
/// the row holds NaN or plus infinity.
pub fn log_sum_exp(row: &[f32], temperature: f32) -> f32 {
    dispatch::run(LogSumExp { row, temperature }) as f32
}

struct LogSumExp<'a> {
    row: &'a [f32],
    temperature: f32,
}

impl Kernel for LogSumExp<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<const FUSED: bool>(self) -> f64 {
        wide_log_sum_exp::<FUSED>(self.row, self.temperature).1
    }
}

/// The row's largest entry, and [`log_sum_exp`] before it is rounded.
#[inline(always)]
pub(crate) fn wide_log_sum_exp<const FUSED: bool>(row: &[f32], temperature: f32) -> (f32, f64) {
    let largest = vector::max(row);
    if largest == f32::NEG_INFINITY {
        let nan = row.iter().any(|logit| logit.is_nan());
        return (largest, if nan { f64::NAN } else { f64::NEG_INFINITY });
    }
    let inverse = 1.0 / temperature;
    let sum = vector::sum(row, |logit| vector::exp::<FUSED>((logit - largest) * inverse));
    (largest, f64::from(largest) / f64::from(temperature) + sum.ln())
}

/// `ln(exp(a) + exp(b))`.
pub(crate) fn log_add_exp(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    if low == f64::NEG_INFINITY {
        high
    } else {
        high + (low - high).exp().ln_1p()
    }
}
