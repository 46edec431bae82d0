//! Divergence from a teacher whose largest entries are known, and the mass outside them.

use super::with_copy;
use crate::dispatch::{self, Kernel};
use crate::softmax::log_add_exp;
use crate::vector;

/// What becomes of the teacher's mass outside the kept entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// It is one more outcome, on both sides: zero loss and gradient where student and teacher agree.
    Bucket,
    /// It is spread over the kept entries. A student equal to its teacher then has the loss `-T^2 ln(kept mass)` and
    /// is pushed to be surer than its teacher.
    Renormalize,
}

/// `T^2 KL(p || q)` at temperature T over the kept entries `ids`, whose teacher logits are `teacher`.
///
/// `log_tail` is the log of the teacher's mass outside them at this temperature, so that
/// `p_i = (1 - exp(log_tail)) softmax(teacher / T)_i`. With [`Tail::Bucket`] the outside is one more outcome, with
/// `p_t = exp(log_tail)` against the student's own mass outside `ids`; the gradient is `T (q_j - p_j)` for a kept id
/// and `T q_j (1 - p_t / q_t)` for another. With [`Tail::Renormalize`] `p = softmax(teacher / T)` over the kept
/// entries, and the gradient is `T (q_j - p_j)` with `p_j = 0` elsewhere.
///
/// A student logit of minus infinity is outside the softmax; on a kept id it makes the loss infinite.
///
/// # Panics
/// If `ids` and `teacher`, or `student` and `grad`, differ in length, or an id is not below the row's length. Ids
/// must be distinct.
#[allow(clippy::too_many_arguments)]
pub fn kl_top_k(
    student: &[f32],
    ids: &[u32],
    teacher: &[f32],
    log_tail: f32,
    tail: Tail,
    temperature: f32,
    scale: f32,
    grad: &mut [f32],
) -> f64 {
    assert_eq!(ids.len(), teacher.len(), "one teacher logit per kept id");
    assert_eq!(student.len(), grad.len(), "one gradient per logit");
    let log_tail = match tail {
        Tail::Bucket => f64::from(log_tail),
        Tail::Renormalize => f64::NEG_INFINITY,
    };
    with_copy(student, |rest| {
        for id in ids {
            rest[*id as usize] = f32::NEG_INFINITY;
        }
        dispatch::run(KlTopK {
            student,
            rest,
            ids,
            teacher,
            log_tail,
            tail,
            temperature,
            scale,
            grad,
        })
    })
}

struct KlTopK<'a> {
    student: &'a [f32],
    /// The student's logits outside the kept entries.
    rest: &'a mut [f32],
    ids: &'a [u32],
    teacher: &'a [f32],
    log_tail: f64,
    tail: Tail,
    temperature: f32,
    scale: f32,
    grad: &'a mut [f32],
}

impl Kernel for KlTopK<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<const FUSED: bool>(self) -> f64 {
        let temperature = f64::from(self.temperature);
        let strength = f64::from(self.scale) * temperature;
        // The rest has its own maximum, so that it does not underflow beside much larger kept entries.
        let largest = vector::max(self.rest);
        let inverse = 1.0 / self.temperature;
        let rest_sum = if largest == f32::NEG_INFINITY {
            self.rest.fill(0.0);
            if self.student.iter().any(|logit| logit.is_nan()) {
                f64::NAN
            } else {
                0.0
            }
        } else {
            vector::sum_replaced(self.rest, |logit| vector::exp::<FUSED>((logit - largest) * inverse))
        };
        let log_rest = f64::from(largest) / temperature + rest_sum.ln();
        let kept = || {
            self.ids
                .iter()
                .map(|id| f64::from(self.student[*id as usize]) / temperature)
        };
        let log_mass = log_add_exp(
            log_sum_exp(kept()),
            if rest_sum == 0.0 { f64::NEG_INFINITY } else { log_rest },
        );
        let log_kept_mass = (-self.log_tail.exp_m1()).ln();
        let teacher_mass = log_sum_exp(self.teacher.iter().map(|z| f64::from(*z) / temperature));

        let mut kl = 0.0;
        for ((id, z), student) in self.ids.iter().zip(self.teacher).zip(kept()) {
            let log_p = f64::from(*z) / temperature - teacher_mass + log_kept_mass;
            let log_q = student - log_mass;
            let p = log_p.exp();
            // A probability of exactly 0 has no say, also where the student's is 0; NaN has one.
            if p != 0.0 {
                kl += p * (log_p - log_q);
            }
            self.grad[*id as usize] += (strength * (log_q.exp() - p)) as f32;
        }
        let rest_mass = (log_rest - log_mass).exp();
        let tail_mass = match self.tail {
            Tail::Bucket => self.log_tail.exp(),
            Tail::Renormalize => 0.0,
        };
        if tail_mass > 0.0 {
            kl += tail_mass * (self.log_tail - (log_rest - log_mass));
        }
        if rest_sum != 0.0 {
            let factor = (strength * (rest_mass - tail_mass) / rest_sum) as f32;
            for (grad, exponential) in self.grad.iter_mut().zip(self.rest.iter()) {
                *grad = vector::mul_add::<FUSED>(factor, *exponential, *grad);
            }
        }
        temperature * temperature * kl
    }
}

fn log_sum_exp(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = values.clone().fold(f64::NEG_INFINITY, f64::max);
    if largest == f64::NEG_INFINITY {
        return largest;
    }
    largest + values.map(|value| (value - largest).exp()).sum::<f64>().ln()
}
