//! Losses against reference values, against plain f64 versions with odd sizes, and against finite differences.

use decant_kernels::loss::{Tail, cross_entropy, kl_dense, kl_top_k};
use serde_json::Value;

/// `tests/assets/loss_vectors.py` made these, in pure Python.
fn vectors() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/assets/loss_vectors.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn floats(value: &Value) -> Vec<f32> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_f64().unwrap() as f32)
        .collect()
}

fn pair() -> (Vec<f32>, Vec<f32>) {
    let inputs = &vectors()["inputs"];
    (floats(&inputs["student_logits"]), floats(&inputs["teacher_logits"]))
}

#[track_caller]
fn close(got: f64, want: f64, tolerance: f64) {
    assert!(
        (got - want).abs() <= tolerance * want.abs().max(1.0),
        "{got} is not {want}"
    );
}

/// The same losses, written plainly in f64; holes are -inf.
mod plain {
    fn lse(x: &[f64]) -> f64 {
        let m = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        m + x.iter().map(|v| (v - m).exp()).sum::<f64>().ln()
    }

    pub(crate) fn log_softmax(x: &[f64], t: f64) -> Vec<f64> {
        let y: Vec<f64> = x.iter().map(|v| v / t).collect();
        let z = lse(&y);
        y.iter().map(|v| v - z).collect()
    }

    pub(crate) fn kl_dense(student: &[f64], teacher: &[f64], t: f64) -> f64 {
        let shared = |i: &usize| student[*i].is_finite() && teacher[*i].is_finite();
        let ids: Vec<usize> = (0..student.len()).filter(shared).collect();
        let q = log_softmax(&ids.iter().map(|i| student[*i]).collect::<Vec<_>>(), t);
        let p = log_softmax(&ids.iter().map(|i| teacher[*i]).collect::<Vec<_>>(), t);
        t * t * p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum::<f64>()
    }

    pub(crate) fn kl_top_k(student: &[f64], ids: &[u32], teacher: &[f64], log_tail: f64, bucket: bool, t: f64) -> f64 {
        let q = log_softmax(student, t);
        let tail = if bucket { log_tail.exp() } else { 0.0 };
        let p = log_softmax(teacher, t);
        let mut loss = 0.0;
        for (id, p) in ids.iter().zip(&p) {
            let p = p + (1.0 - tail).ln();
            loss += p.exp() * (p - q[*id as usize]);
        }
        if tail > 0.0 {
            let rest: Vec<f64> = (0..student.len())
                .filter(|i| !ids.contains(&(*i as u32)))
                .map(|i| q[i])
                .collect();
            loss += tail * (log_tail - lse(&rest));
        }
        t * t * loss
    }

    pub(crate) fn cross_entropy(student: &[f64], label: usize) -> f64 {
        -log_softmax(student, 1.0)[label]
    }
}

/// Central differences of a plain loss; 0 where the logit is -inf.
fn finite_difference(student: &[f32], loss: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let mut x: Vec<f64> = student.iter().map(|v| f64::from(*v)).collect();
    let step = 1e-5;
    (0..x.len())
        .map(|i| {
            let at = x[i];
            if at == f64::NEG_INFINITY {
                return 0.0;
            }
            x[i] = at + step;
            let above = loss(&x);
            x[i] = at - step;
            let below = loss(&x);
            x[i] = at;
            (above - below) / (2.0 * step)
        })
        .collect()
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|v| f64::from(*v)).collect()
}

fn logits(n: usize, frequency: f32, size: f32) -> Vec<f32> {
    (0..n).map(|i| size * (frequency * i as f32 + 0.7).sin()).collect()
}

/// The `k` largest of a row and the log of the rest's mass, both in f64.
fn top(teacher: &[f32], k: usize, t: f64) -> (Vec<u32>, Vec<f32>, f32) {
    let mut ids: Vec<u32> = (0..teacher.len() as u32).collect();
    ids.sort_by(|a, b| teacher[*b as usize].total_cmp(&teacher[*a as usize]));
    let rest: f64 = ids[k..]
        .iter()
        .map(|i| plain::log_softmax(&wide(teacher), t)[*i as usize].exp())
        .sum();
    ids.truncate(k);
    let kept = ids.iter().map(|i| teacher[*i as usize]).collect();
    (ids, kept, rest.ln() as f32)
}

#[test]
fn dense_equals_the_reference_at_each_temperature() {
    let (student, teacher) = pair();
    for (name, want) in vectors()["dense"].as_object().unwrap() {
        let t: f32 = name.parse().unwrap();
        let mut grad = vec![0.0; student.len()];
        let loss = kl_dense(&student, &teacher, t, 1.0, &mut grad);
        close(loss, want["kl_t_s_T2"].as_f64().unwrap(), 1e-6);
        for (got, want) in grad.iter().zip(floats(&want["grad_kl_t_s_T2"])) {
            close(f64::from(*got), f64::from(want), 1e-6);
        }
        // The other direction is another number: the pair tells them apart.
        assert!((loss / f64::from(t * t) - want["kl_s_t"].as_f64().unwrap()).abs() > 1e-3);
    }
}

#[test]
fn top_k_equals_the_reference_with_both_tails() {
    let (student, teacher) = pair();
    for (name, want) in vectors()["topk"].as_object().unwrap() {
        let t: f32 = name.split_once("_T").unwrap().1.parse().unwrap();
        let ids: Vec<u32> = want["idx"]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_u64().unwrap() as u32)
            .collect();
        let kept: Vec<f32> = ids.iter().map(|id| teacher[*id as usize]).collect();
        let log_tail = (1.0 - want["teacher_mass"].as_f64().unwrap()).ln() as f32;
        let square = f64::from(t * t);
        let loss = |tail| kl_top_k(&student, &ids, &kept, log_tail, tail, t, 1.0, &mut [0.0; 16]);
        close(loss(Tail::Bucket), square * want["tail_bucket"].as_f64().unwrap(), 1e-6);
        close(
            loss(Tail::Renormalize),
            square * want["teacher_renorm_student_full"].as_f64().unwrap(),
            1e-6,
        );
    }
}

#[test]
fn cross_entropy_is_soft_cross_entropy_of_a_sure_teacher() {
    // torch.nn.functional.cross_entropy(torch.tensor([[1., 2., 3.]]), torch.tensor([0])) = 2.4076059645
    let mut grad = [0.0; 3];
    close(
        cross_entropy(&[1.0, 2.0, 3.0], 0, 2.0, &mut grad),
        2.407_605_964_5,
        1e-6,
    );
    for (got, want) in grad
        .iter()
        .zip([2.0 * (0.090_030_57 - 1.0), 2.0 * 0.244_728_47, 2.0 * 0.665_240_94])
    {
        close(f64::from(*got), want, 1e-6);
    }
}

#[test]
fn a_student_equal_to_its_teacher_has_nothing_to_learn() {
    let (_, teacher) = pair();
    for t in [1.0, 2.0, 4.0] {
        let mut grad = vec![0.0; 16];
        assert_eq!(kl_dense(&teacher, &teacher, t, 1.0, &mut grad), 0.0);
        assert_eq!(grad, vec![0.0; 16]);

        let (ids, kept, log_tail) = top(&teacher, 4, f64::from(t));
        let loss = kl_top_k(&teacher, &ids, &kept, log_tail, Tail::Bucket, t, 1.0, &mut grad);
        assert!(loss.abs() < 1e-6, "{loss}");
        assert!(grad.iter().all(|g| g.abs() < 1e-6), "{grad:?}");
    }
    // Renormalised, the same pair is pushed away from its optimum, by -ln(mass) at temperature 1.
    let (ids, kept, log_tail) = top(&teacher, 4, 1.0);
    let mut grad = vec![0.0; 16];
    let loss = kl_top_k(&teacher, &ids, &kept, log_tail, Tail::Renormalize, 1.0, 1.0, &mut grad);
    let want = vectors()["identities_teacher_eq_student_K4_T1"]["teacher_renorm_student_full"]
        .as_f64()
        .unwrap();
    close(loss, want, 1e-6);
    assert!(grad.iter().any(|g| g.abs() > 0.01));
}

#[test]
fn gradients_are_finite_differences_with_odd_sizes_and_holes() {
    for n in [1, 2, 3, 10, 31, 32, 33, 97, 257] {
        let mut student = logits(n, 0.9, 2.0);
        let mut teacher = logits(n, 1.7, 3.0);
        if n > 5 {
            student[n / 2] = f32::NEG_INFINITY;
            teacher[n / 2] = f32::NEG_INFINITY;
        }
        for t in [1.0f32, 3.0] {
            let scale = 0.25;
            // Gradients are added to what is there.
            let mut grad = vec![1.0; n];
            let loss = kl_dense(&student, &teacher, t, scale, &mut grad);
            let plain = |s: &[f64]| plain::kl_dense(s, &wide(&teacher), f64::from(t));
            close(loss, plain(&wide(&student)), 1e-5);
            compare(&grad, &finite_difference(&student, plain), scale);

            for k in [1, n.div_ceil(3), n - usize::from(n > 5)] {
                let (ids, kept, log_tail) = top(&teacher, k, f64::from(t));
                for tail in [Tail::Bucket, Tail::Renormalize] {
                    let mut grad = vec![1.0; n];
                    let loss = kl_top_k(&student, &ids, &kept, log_tail, tail, t, scale, &mut grad);
                    let (log_tail, bucket) = (f64::from(log_tail), tail == Tail::Bucket);
                    let plain = |s: &[f64]| plain::kl_top_k(s, &ids, &wide(&kept), log_tail, bucket, f64::from(t));
                    close(loss, plain(&wide(&student)), 1e-5);
                    compare(&grad, &finite_difference(&student, plain), scale);
                }
            }
        }
        let mut grad = vec![1.0; n];
        let loss = cross_entropy(&student, 0, 0.5, &mut grad);
        close(loss, plain::cross_entropy(&wide(&student), 0), 1e-5);
        compare(&grad, &finite_difference(&student, |s| plain::cross_entropy(s, 0)), 0.5);
    }
}

#[track_caller]
fn compare(grad: &[f32], truth: &[f64], scale: f32) {
    for (i, (got, want)) in grad.iter().zip(truth).enumerate() {
        let got = f64::from(*got) - 1.0;
        let want = f64::from(scale) * want;
        assert!(
            (got - want).abs() < 2e-6,
            "entry {i} of {}: {got} is not {want}",
            grad.len()
        );
    }
}

#[test]
fn the_bucket_lies_below_dense_and_rises_to_it() {
    let (student, teacher) = pair();
    let mut grad = vec![0.0; 16];
    let dense = kl_dense(&student, &teacher, 2.0, 1.0, &mut grad);
    let mut last = 0.0;
    for k in 1..=16 {
        let (ids, kept, log_tail) = top(&teacher, k, 2.0);
        let loss = kl_top_k(&student, &ids, &kept, log_tail, Tail::Bucket, 2.0, 1.0, &mut grad);
        assert!(
            loss > last - 1e-6 && loss <= dense + 1e-6,
            "k {k}: {last} {loss} {dense}"
        );
        last = loss;
    }
    close(last, dense, 1e-6);
}

#[test]
fn a_vocabulary_of_real_size_keeps_its_precision() {
    let n = 49_152;
    let student: Vec<f32> = logits(n, 0.37, 4.0);
    let teacher: Vec<f32> = logits(n, 0.11, 9.0);
    let (ids, kept, log_tail) = {
        let mut ids: Vec<u32> = (0..n as u32).collect();
        ids.sort_by(|a, b| teacher[*b as usize].total_cmp(&teacher[*a as usize]));
        let log_p = plain::log_softmax(&wide(&teacher), 2.0);
        let rest: f64 = ids[64..].iter().map(|i| log_p[*i as usize].exp()).sum();
        ids.truncate(64);
        let kept: Vec<f32> = ids.iter().map(|i| teacher[*i as usize]).collect();
        (ids, kept, rest.ln() as f32)
    };
    let mut grad = vec![0.0; n];
    let got = kl_top_k(&student, &ids, &kept, log_tail, Tail::Bucket, 2.0, 1.0, &mut grad);
    let want = plain::kl_top_k(&wide(&student), &ids, &wide(&kept), f64::from(log_tail), true, 2.0);
    close(got, want, 1e-6);
    assert!(
        grad.iter().map(|g| f64::from(*g)).sum::<f64>().abs() < 1e-5,
        "a softmax's gradient sums to 0"
    );
    close(
        kl_dense(&student, &teacher, 2.0, 1.0, &mut grad),
        plain::kl_dense(&wide(&student), &wide(&teacher), 2.0),
        1e-6,
    );
    close(
        cross_entropy(&student, 7, 1.0, &mut grad),
        plain::cross_entropy(&wide(&student), 7),
        1e-6,
    );
}

#[test]
fn far_apart_logits_keep_a_finite_tail() {
    // The student puts all but e^-500 on the kept id; the teacher has a tenth outside.
    let mut student = vec![0.0; 40];
    student[3] = 500.0;
    let mut grad = vec![0.0; 40];
    let loss = kl_top_k(&student, &[3], &[1.0], 0.1f32.ln(), Tail::Bucket, 1.0, 1.0, &mut grad);
    let want = plain::kl_top_k(&wide(&student), &[3], &[1.0], f64::from(0.1f32.ln()), true, 1.0);
    assert!(want > 40.0);
    close(loss, want, 1e-6);
    close(f64::from(grad[3]), 0.1, 1e-6);
}

#[test]
fn what_is_not_a_number_makes_the_loss_not_a_number() {
    let teacher = logits(40, 1.7, 3.0);
    let (ids, kept, log_tail) = top(&teacher, 4, 1.0);
    let outside = (0..40).find(|i| !ids.contains(&(*i as u32))).unwrap();
    for bad in [f32::NAN, f32::INFINITY] {
        for at in [outside, ids[0] as usize, 39] {
            let mut student = logits(40, 0.9, 2.0);
            student[at] = bad;
            let mut grad = vec![0.0; 40];
            for tail in [Tail::Bucket, Tail::Renormalize] {
                assert!(
                    kl_top_k(&student, &ids, &kept, log_tail, tail, 2.0, 1.0, &mut grad).is_nan(),
                    "{bad} at {at}"
                );
            }
            assert!(kl_dense(&student, &teacher, 2.0, 1.0, &mut grad).is_nan());
            assert!(kl_dense(&teacher, &student, 2.0, 1.0, &mut grad).is_nan());
            assert!(cross_entropy(&student, 1, 1.0, &mut grad).is_nan());
        }
    }
    let nothing = vec![f32::NEG_INFINITY; 5];
    assert!(kl_dense(&nothing, &nothing, 1.0, 1.0, &mut [0.0; 5]).is_nan());
    // Every id is kept, yet the teacher says that a tenth is outside: no student can match that.
    let loss = kl_top_k(
        &[0.0, 1.0],
        &[0, 1],
        &[0.0, 1.0],
        0.1f32.ln(),
        Tail::Bucket,
        1.0,
        1.0,
        &mut [0.0; 2],
    );
    assert_eq!(loss, f64::INFINITY);
}
