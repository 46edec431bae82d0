//! Time of each row kernel, on one thread: `cargo bench -p decant-kernels --bench rows -- [length [k]]`.

use std::hint::black_box;
use std::time::Instant;

use decant_kernels::loss::{Tail, cross_entropy, kl_dense, kl_top_k};
use decant_kernels::select::{Kept, top_k};
use decant_kernels::softmax::log_sum_exp;

fn main() {
    let numbers: Vec<usize> = std::env::args()
        .skip(1)
        .filter_map(|argument| argument.parse().ok())
        .collect();
    let number = |index: usize, default| numbers.get(index).copied().unwrap_or(default);
    let (n, k) = (number(0, 49_152), number(1, 64));
    let mut row: Vec<f32> = (0..n)
        .map(|i| 6.0 * (i as f32 * 1.7).sin() + (i as f32 * 0.013).cos())
        .collect();
    let student: Vec<f32> = (0..n).map(|i| 4.0 * (i as f32 * 0.9).sin()).collect();
    let mut gradient = vec![0.0; n];
    let mut kept = Kept::default();
    println!("rows of {n}, k {k}, {}", decant_kernels::kernel_path());
    time("log_sum_exp", || log_sum_exp(&student, 2.0));
    time("top_k, T = 1", || top_k(&mut row, k, &[1.0], &mut kept).is_ok());
    time("top_k, T = 1, 2", || top_k(&mut row, k, &[1.0, 2.0], &mut kept).is_ok());
    let (ids, logits, tail) = (kept.ids.clone(), kept.logits.clone(), kept.log_tails[1]);
    time("kl_top_k", || {
        kl_top_k(&student, &ids, &logits, tail, Tail::Bucket, 2.0, 1e-3, &mut gradient)
    });
    time("kl_dense", || kl_dense(&student, &row, 2.0, 1e-3, &mut gradient));
    time("cross_entropy", || cross_entropy(&student, 5, 1e-3, &mut gradient));
}

/// The shortest of many runs.
fn time<T>(name: &str, mut kernel: impl FnMut() -> T) {
    let mut best = f64::INFINITY;
    for _ in 0..200 {
        let started = Instant::now();
        black_box(kernel());
        best = best.min(started.elapsed().as_secs_f64());
    }
    println!("{name:<16} {:>8.1} us", best * 1e6);
}
