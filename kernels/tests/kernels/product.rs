//! Products against three loops in f64.

use decant_kernels::product::{Matrix, multiply};

fn values(n: usize, frequency: f32) -> Vec<f32> {
    (0..n).map(|i| (i as f32 * frequency + 0.4).sin()).collect()
}

fn transposed(x: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns)
        .flat_map(|c| (0..rows).map(move |r| (r, c)))
        .map(|(r, c)| x[r * columns + c])
        .collect()
}

#[test]
fn every_layout_and_odd_sizes() {
    for (m, k, n) in [
        (1, 1, 1),
        (1, 7, 3),
        (5, 1, 2),
        (17, 31, 13),
        (64, 65, 67),
        (3, 200, 501),
        (4, 0, 3),
    ] {
        let (a, b) = (values(m * k, 0.7), values(k * n, 1.3));
        let truth: Vec<f64> = (0..m * n)
            .map(|i| {
                (0..k)
                    .map(|j| f64::from(a[i / n * k + j]) * f64::from(b[j * n + i % n]))
                    .sum()
            })
            .collect();
        let (at, bt) = (transposed(&a, m, k), transposed(&b, k, n));
        for left in [Matrix::new(&a, m, k), Matrix::new(&at, k, m).transpose()] {
            for right in [Matrix::new(&b, k, n), Matrix::new(&bt, n, k).transpose()] {
                for add in [false, true] {
                    let mut out = vec![2.0; m * n];
                    multiply(left, right, &mut out, add);
                    let start = if add { 2.0 } else { 0.0 };
                    for (got, want) in out.iter().zip(&truth) {
                        assert!(
                            (f64::from(*got) - start - want).abs() < 1e-4,
                            "{m} {k} {n}: {got} is not {want}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
#[should_panic(expected = "columns of the left")]
fn shapes_that_do_not_fit_are_refused() {
    multiply(
        Matrix::new(&[0.0; 6], 2, 3),
        Matrix::new(&[0.0; 6], 2, 3),
        &mut [0.0; 4],
        false,
    );
}

#[test]
fn the_result_does_not_depend_on_the_number_of_threads() {
    let (m, k, n) = (130, 257, 301);
    let (a, b) = (values(m * k, 0.7), values(k * n, 1.3));
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut out = vec![0.0; m * n];
            multiply(Matrix::new(&a, m, k), Matrix::new(&b, k, n), &mut out, false);
            out
        })
    };
    assert_eq!(run(1), run(4));
}
