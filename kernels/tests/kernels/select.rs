//! Selection against a plain f64 version.

use decant_kernels::select::{Kept, RowError, entropy, top_k};
use decant_kernels::softmax::log_sum_exp;
use proptest::prelude::*;

const NONE: f32 = f32::NEG_INFINITY;

/// Sorted ids, log tails and entropy, plainly in f64.
fn plain(row: &[f32], k: usize, temperatures: &[f32]) -> (Vec<u32>, Vec<f64>, f64) {
    let mut ids: Vec<u32> = (0..row.len() as u32).filter(|i| row[*i as usize] > NONE).collect();
    ids.sort_by(|a, b| row[*b as usize].partial_cmp(&row[*a as usize]).unwrap().then(a.cmp(b)));
    let log_mass = |ids: &[u32], t: f64| {
        let z: Vec<f64> = ids.iter().map(|i| f64::from(row[*i as usize]) / t).collect();
        let m = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if m.is_finite() {
            m + z.iter().map(|v| (v - m).exp()).sum::<f64>().ln()
        } else {
            m
        }
    };
    let cut = k.min(ids.len());
    let tails = temperatures
        .iter()
        .map(|t| log_mass(&ids[cut..], f64::from(*t)) - log_mass(&ids, f64::from(*t)));
    let tails = tails.collect();
    let whole = log_mass(&ids, 1.0);
    let entropy = ids
        .iter()
        .map(|i| f64::from(row[*i as usize]) - whole)
        .map(|l| -l.exp() * l)
        .sum();
    ids.truncate(cut);
    (ids, tails, entropy)
}

#[track_caller]
fn check(row: &[f32], k: usize, temperatures: &[f32]) {
    let mut scratch = row.to_vec();
    let mut kept = Kept::default();
    top_k(&mut scratch, k, temperatures, &mut kept).unwrap();
    assert!(
        scratch.iter().zip(row).all(|(a, b)| a.to_bits() == b.to_bits()),
        "the row is restored"
    );
    let (ids, tails, truth) = plain(row, k, temperatures);
    assert_eq!(kept.ids, ids);
    assert!(
        kept.ids
            .iter()
            .zip(&kept.logits)
            .all(|(id, logit)| row[*id as usize].to_bits() == logit.to_bits())
    );
    assert_eq!(kept.log_tails.len(), temperatures.len());
    for (got, want) in kept.log_tails.iter().zip(&tails) {
        let same = f64::from(*got) == *want || (f64::from(*got) - want).abs() < 2e-6 * want.abs().max(1.0);
        assert!(same, "log tail {got} is not {want}");
    }
    for got in [kept.entropy, entropy(row).unwrap()] {
        assert!(
            (f64::from(got) - truth).abs() < 4e-6 * truth.max(1.0),
            "entropy {got} is not {truth}"
        );
    }
}

fn row(n: usize, size: f32) -> Vec<f32> {
    (0..n)
        .map(|i| size * ((i as f32 * 1.3).sin() + 0.3 * (i as f32 * 0.017).cos()))
        .collect()
}

#[test]
fn odd_sizes_and_every_k() {
    for n in [1, 2, 3, 31, 33, 97, 511, 512, 513, 1021, 3001] {
        for k in [0, 1, 2, 7, 64, n, n + 3] {
            check(&row(n, 6.0), k, &[1.0, 2.0]);
        }
    }
    check(&row(49_152, 8.0), 64, &[2.0, 1.0, 4.0]);
}

#[test]
fn holes_are_never_kept() {
    let mut holed = row(1000, 5.0);
    for i in (0..1000).step_by(3) {
        holed[i] = NONE;
    }
    for k in [1, 64, 600, 667, 1000] {
        check(&holed, k, &[1.0, 3.0]);
    }
    let mut lonely = vec![NONE; 70];
    lonely[69] = -3.0;
    check(&lonely, 5, &[1.0]);
}

#[test]
fn ties_go_to_the_lower_id() {
    check(&[1.0; 2000], 70, &[1.0]);
    let mut zeros = vec![-1.0; 600];
    zeros[500] = 0.0;
    zeros[20] = -0.0;
    zeros[300] = 0.0;
    let mut kept = Kept::default();
    top_k(&mut zeros, 2, &[], &mut kept).unwrap();
    assert_eq!(kept.ids, [20, 300]);
}

#[test]
fn a_tail_far_below_what_single_precision_can_subtract() {
    // One logit at 0 and 999 at -100: the tail is 999 e^-100, where 1 - sum would give 0.
    let mut z = vec![-100.0; 1000];
    z[17] = 0.0;
    let mut kept = Kept::default();
    top_k(&mut z, 1, &[1.0, 2.0], &mut kept).unwrap();
    assert!(
        (kept.log_tails[0] - (999f32.ln() - 100.0)).abs() < 1e-5,
        "{:?}",
        kept.log_tails
    );
    assert!(
        (kept.log_tails[1] - (999f32.ln() - 50.0)).abs() < 1e-5,
        "{:?}",
        kept.log_tails
    );
    check(&z, 1, &[1.0, 2.0]);
    top_k(&mut z, 1000, &[1.0], &mut kept).unwrap();
    assert_eq!(kept.log_tails, [NONE]);
}

#[test]
fn bad_rows_are_refused_and_named() {
    let mut kept = Kept::default();
    let mut bad = row(100, 1.0);
    bad[77] = f32::NAN;
    assert_eq!(
        top_k(&mut bad, 3, &[1.0], &mut kept),
        Err(RowError::NotANumber { index: 77 })
    );
    assert_eq!(entropy(&bad), Err(RowError::NotANumber { index: 77 }));
    bad[77] = f32::INFINITY;
    assert_eq!(
        top_k(&mut bad, 3, &[1.0], &mut kept),
        Err(RowError::PositiveInfinity { index: 77 })
    );
    assert_eq!(
        top_k(&mut [NONE; 40], 3, &[1.0], &mut kept),
        Err(RowError::NoFiniteEntry)
    );
    assert_eq!(top_k(&mut [], 3, &[1.0], &mut kept), Err(RowError::NoFiniteEntry));
}

#[test]
fn log_sum_exp_at_its_ends() {
    // numpy: np.logaddexp.reduce([1., 2., 3.]) = 3.4076059644; at temperature 2: 2.1802696706
    assert!((log_sum_exp(&[1.0, 2.0, 3.0], 1.0) - 3.407_606).abs() < 1e-6);
    assert!((log_sum_exp(&[1.0, 2.0, 3.0], 2.0) - 2.180_269_7).abs() < 1e-6);
    assert!((log_sum_exp(&[3e38, 3e38], 1.0) - 3e38).abs() < 1e32);
    assert_eq!(log_sum_exp(&[], 1.0), NONE);
    assert_eq!(log_sum_exp(&[NONE; 3], 1.0), NONE);
    assert!(log_sum_exp(&[0.0, f32::NAN], 1.0).is_nan());
    assert!(log_sum_exp(&[NONE, f32::NAN], 1.0).is_nan());
}

proptest! {
    #[test]
    fn any_row(
        z in proptest::collection::vec(prop_oneof![9 => -30.0f32..30.0, 1 => Just(NONE), 2 => (-3i8..3).prop_map(f32::from)], 1..700),
        k in 0usize..80,
        t in 0.5f32..8.0,
    ) {
        prop_assume!(z.iter().any(|v| *v > NONE));
        check(&z, k, &[1.0, t]);
    }
}
