//! AdamW against PyTorch, and the sum of squares.

use decant_kernels::optimizer::{AdamW, sum_of_squares};

#[test]
fn three_steps_equal_pytorch() {
    // p = torch.nn.Parameter(torch.tensor([0.5, -1.0, 2.0, 0.0]))
    // o = torch.optim.AdamW([p], lr=0.1, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.05)
    // for g in ([0.1, -0.2, 0.3, 0.0], [-0.5, 0.4, 0.3, 1e-3], [2.0, 0.0, -1.0, -1e-3]):
    //     p.grad = torch.tensor(g); o.step()
    // print(p.tolist())
    let want = [0.402_677_95, -0.950_776_2, 1.800_190_2, -0.069_365_7];
    let mut param = [0.5, -1.0, 2.0, 0.0];
    let (mut m, mut v) = ([0.0; 4], [0.0; 4]);
    let grads = [[0.1, -0.2, 0.3, 0.0], [-0.5, 0.4, 0.3, 1e-3], [2.0, 0.0, -1.0, -1e-3]];
    for (step, grad) in grads.iter().enumerate() {
        let step = step as u64 + 1;
        let adam = AdamW {
            lr: 0.1,
            beta1: 0.9,
            beta2: 0.99,
            eps: 1e-8,
            weight_decay: 0.05,
            step,
        };
        adam.update(&mut param, grad, &mut m, &mut v);
    }
    for (got, want) in param.iter().zip(want) {
        assert!((got - want).abs() < 1e-6, "{got} is not {want}");
    }
}

#[test]
fn the_result_does_not_depend_on_the_number_of_threads() {
    let n = 100_003;
    let grad: Vec<f32> = (0..n).map(|i| (i as f32 * 0.37).sin()).collect();
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let (mut param, mut m, mut v) = (grad.clone(), vec![0.1; n], vec![0.2; n]);
            let adam = AdamW {
                lr: 0.01,
                beta1: 0.9,
                beta2: 0.95,
                eps: 1e-8,
                weight_decay: 0.1,
                step: 3,
            };
            adam.update(&mut param, &grad, &mut m, &mut v);
            (param, m, v, sum_of_squares(&grad).to_bits())
        })
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn squares_do_not_overflow_and_carry_what_is_not_finite() {
    for n in [0, 1, 15, 16, 17, 40_001] {
        let x: Vec<f32> = (0..n).map(|i| (i % 7) as f32).collect();
        let want: f64 = x.iter().map(|v| f64::from(*v) * f64::from(*v)).sum();
        assert_eq!(sum_of_squares(&x), want, "{n}");
    }
    let huge = sum_of_squares(&[1e30; 3]);
    assert!((huge / 3e60 - 1.0).abs() < 1e-6, "{huge}");
    assert!(sum_of_squares(&[0.0, f32::NAN]).is_nan());
    assert_eq!(sum_of_squares(&[f32::NEG_INFINITY, 1.0]), f64::INFINITY);
}
