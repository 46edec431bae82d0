//! The pieces that kernels are made of: passes over slices in fixed lanes, and an exponential that vectorises.

/// Lanes of one step: four AVX2 registers or two AVX-512 ones, enough to hide the latency of an addition.
pub(crate) const LANES: usize = 32;

/// `f32` lanes are flushed to `f64` after this many elements.
const BLOCK: usize = 32 * LANES;

pub(crate) type Lanes = [f32; LANES];

/// What pads the last, partial step: outside the softmax, so that it adds nothing to any sum.
const PADDING: Lanes = [f32::NEG_INFINITY; LANES];

/// `a * b + c`, fused where that is one instruction.
#[inline(always)]
pub(crate) fn mul_add<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// Below this, the exponential is 0: its value would be subnormal.
const EXP_MIN: f32 = -87.336;
/// Above this, the exponential stays at its largest value, about 2.4e38.
const EXP_MAX: f32 = 88.369;

/// `exp(x)` with a relative error of at most 2e-7, 0 below -87.336 (where the true value is under 1.2e-38, minus
/// infinity included) and constant above 88.369. NaN stays NaN.
///
/// `x = n ln 2 + r` with `|r| <= ln(2)/2`, in Cody and Waite's two-part reduction; `exp(r)` by the polynomial of
/// Cephes' `expf` (Moshier).
#[inline(always)]
pub(crate) fn exp<const FUSED: bool>(x: f32) -> f32 {
    /// Adding and subtracting 1.5 x 2^23 rounds to the nearest integer, which then stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let low = if x < EXP_MIN { EXP_MIN } else { x };
    let bounded = if low > EXP_MAX { EXP_MAX } else { low };
    let shifted = mul_add::<FUSED>(bounded, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = mul_add::<FUSED>(n, -LN2_LOW, mul_add::<FUSED>(n, -LN2_HIGH, bounded));
    let mut p = 1.987_569_1e-4;
    p = mul_add::<FUSED>(p, r, 1.398_199_9e-3);
    p = mul_add::<FUSED>(p, r, 8.333_452e-3);
    p = mul_add::<FUSED>(p, r, 4.166_579_6e-2);
    p = mul_add::<FUSED>(p, r, 1.666_666_5e-1);
    p = mul_add::<FUSED>(p, r, 0.5);
    let value = mul_add::<FUSED>(p * r, r, r) + 1.0;
    // The low bits hold n + 2^22 (mod 2^23): the shift drops all but n, and adds it to the exponent's bias.
    let power = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    if x < EXP_MIN { 0.0 } else { value * power }
}

/// Largest entry, minus infinity for an empty slice; NaN is passed over.
#[inline(always)]
pub(crate) fn max(x: &[f32]) -> f32 {
    let mut largest = PADDING;
    each(x, |chunk| {
        for lane in 0..LANES {
            largest[lane] = if chunk[lane] > largest[lane] {
                chunk[lane]
            } else {
                largest[lane]
            };
        }
    });
    largest
        .into_iter()
        .fold(f32::NEG_INFINITY, |a, b| if b > a { b } else { a })
}

/// Hands over the slice in full steps, the last one padded with minus infinity.
#[inline(always)]
pub(crate) fn each(x: &[f32], mut step: impl FnMut(&Lanes)) {
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        step(chunk);
    }
    if !rest.is_empty() {
        step(&padded(rest));
    }
}

/// Sum of what `term` makes of each entry.
#[inline(always)]
pub(crate) fn sum(x: &[f32], term: impl Fn(f32) -> f32) -> f64 {
    let mut total = 0.0;
    for block in x.chunks(BLOCK) {
        let mut lanes = [0.0; LANES];
        each(block, |chunk| {
            for lane in 0..LANES {
                lanes[lane] += term(chunk[lane]);
            }
        });
        total += reduce(&lanes);
    }
    total
}

/// Two sums in one pass.
#[inline(always)]
pub(crate) fn sum_two(x: &[f32], terms: impl Fn(f32) -> (f32, f32)) -> (f64, f64) {
    let mut totals = (0.0, 0.0);
    for block in x.chunks(BLOCK) {
        let (mut first, mut second) = ([0.0; LANES], [0.0; LANES]);
        each(block, |chunk| {
            for lane in 0..LANES {
                let (a, b) = terms(chunk[lane]);
                first[lane] += a;
                second[lane] += b;
            }
        });
        totals.0 += reduce(&first);
        totals.1 += reduce(&second);
    }
    totals
}

/// Replaces each entry by what `term` makes of it; the sum of the new ones.
#[inline(always)]
pub(crate) fn sum_replaced(x: &mut [f32], term: impl Fn(f32) -> f32) -> f64 {
    let mut total = 0.0;
    for block in x.chunks_mut(BLOCK) {
        let mut lanes = [0.0; LANES];
        let (chunks, rest) = block.as_chunks_mut::<LANES>();
        for chunk in chunks {
            for lane in 0..LANES {
                chunk[lane] = term(chunk[lane]);
                lanes[lane] += chunk[lane];
            }
        }
        if !rest.is_empty() {
            let mut last = padded(rest);
            for lane in 0..LANES {
                last[lane] = term(last[lane]);
                lanes[lane] += last[lane];
            }
            rest.copy_from_slice(&last[..rest.len()]);
        }
        total += reduce(&lanes);
    }
    total
}

/// Sum over pairs of entries of two slices of one length.
#[inline(always)]
pub(crate) fn sum_pairs(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f64 {
    let mut total = 0.0;
    for (a, b) in a.chunks(BLOCK).zip(b.chunks(BLOCK)) {
        let mut lanes = [0.0; LANES];
        each_pair(a, b, |a, b| {
            for lane in 0..LANES {
                lanes[lane] += term(a[lane], b[lane]);
            }
        });
        total += reduce(&lanes);
    }
    total
}

/// As [`each`], over two slices of one length.
#[inline(always)]
pub(crate) fn each_pair(a: &[f32], b: &[f32], mut step: impl FnMut(&Lanes, &Lanes)) {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        step(a, b);
    }
    if !a_rest.is_empty() {
        step(&padded(a_rest), &padded(b_rest));
    }
}

#[inline(always)]
fn padded(rest: &[f32]) -> Lanes {
    let mut last = PADDING;
    last[..rest.len()].copy_from_slice(rest);
    last
}

/// Sum of the lanes, by halves, in `f64`.
#[inline(always)]
fn reduce(lanes: &Lanes) -> f64 {
    let mut wide = lanes.map(f64::from);
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            wide[lane] += wide[lane + half];
        }
        half /= 2;
    }
    wide[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worst_relative_error<const FUSED: bool>() -> f64 {
        let steps = 2_000_000;
        (0..=steps)
            .map(|step| EXP_MIN + (EXP_MAX - EXP_MIN) * (step as f32 / steps as f32))
            .chain((0..100_000).map(|step| -1e-3 + 2e-8 * step as f32))
            .map(|x| {
                let truth = f64::from(x).exp();
                ((f64::from(exp::<FUSED>(x)) - truth) / truth).abs()
            })
            .fold(0.0, f64::max)
    }

    #[test]
    fn exp_is_within_its_documented_error() {
        assert!(
            worst_relative_error::<true>() < 2e-7,
            "fused: {:e}",
            worst_relative_error::<true>()
        );
        assert!(
            worst_relative_error::<false>() < 2e-7,
            "separate: {:e}",
            worst_relative_error::<false>()
        );
    }

    #[test]
    fn exp_at_the_ends() {
        assert_eq!(exp::<false>(0.0), 1.0);
        assert_eq!(exp::<false>(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp::<false>(-1e30), 0.0);
        assert_eq!(exp::<false>(f32::MIN), 0.0);
        assert!(exp::<false>(EXP_MIN) > 0.0);
        assert!(exp::<false>(1e9).is_finite() && exp::<false>(1e9) > 2e38);
        assert!(exp::<false>(f32::NAN).is_nan());
        assert!(exp::<true>(f32::NAN).is_nan());
    }

    #[test]
    fn sums_and_maxima_of_odd_sizes() {
        for n in [0, 1, 2, 7, 31, 32, 33, 63, 97, 1023, 1024, 1025, 2049, 3001] {
            let x: Vec<f32> = (0..n).map(|i| ((i * 37 % 101) as f32) - 50.0).collect();
            let truth: f64 = x.iter().map(|v| f64::from(*v)).sum();
            let finite = |v: f32| if v == f32::NEG_INFINITY { 0.0 } else { v };
            assert_eq!(sum(&x, finite), truth, "{n}");
            assert_eq!(
                sum_two(&x, |v| (finite(v), 3.0 * finite(v))),
                (truth, 3.0 * truth),
                "{n}"
            );
            let mut doubled = x.clone();
            assert_eq!(sum_replaced(&mut doubled, |v| 2.0 * finite(v)), 2.0 * truth, "{n}");
            assert!(doubled.iter().zip(&x).all(|(d, v)| *d == 2.0 * v));
            let ones = vec![1.0; n];
            assert_eq!(
                sum_pairs(&x, &ones, |a, b| if b == 1.0 { a } else { 0.0 }),
                truth,
                "{n}"
            );
            assert_eq!(max(&x), x.iter().copied().fold(f32::NEG_INFINITY, f32::max), "{n}");
        }
    }
}
