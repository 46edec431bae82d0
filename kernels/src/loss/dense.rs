//! Divergence from a teacher whose every logit is known.

use crate::dispatch::{self, Kernel};
use crate::vector::{self, LANES};

/// `T^2 KL(p || q)` with `p = softmax(teacher / T)` and `q = softmax(student / T)`: the soft term of Hinton, Vinyals
/// and Dean, "Distilling the Knowledge in a Neural Network" (2015), section 2, whose factor `T^2` keeps the size of
/// the gradient, `T (q - p)`, independent of `T`.
///
/// An id that is minus infinity on either side is outside the softmax on both, and gets no gradient. Without an id
/// that both sides have, the loss is NaN.
///
/// # Panics
/// If the slices differ in length.
pub fn kl_dense(student: &[f32], teacher: &[f32], temperature: f32, scale: f32, grad: &mut [f32]) -> f64 {
    assert_eq!(student.len(), teacher.len(), "student and teacher have as many logits");
    assert_eq!(student.len(), grad.len(), "one gradient per logit");
    dispatch::run(KlDense {
        student,
        teacher,
        temperature,
        scale,
        grad,
    })
}

struct KlDense<'a> {
    student: &'a [f32],
    teacher: &'a [f32],
    temperature: f32,
    scale: f32,
    grad: &'a mut [f32],
}

impl Kernel for KlDense<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<const FUSED: bool>(self) -> f64 {
        let Self {
            student,
            teacher,
            temperature,
            scale,
            grad,
        } = self;
        let inverse = 1.0 / temperature;
        let largest_student = largest_shared(student, teacher);
        let largest_teacher = largest_shared(teacher, student);
        let student_sum = vector::sum_pairs(student, teacher, |s, t| {
            if is_shared(s, t) {
                vector::exp::<FUSED>((s - largest_student) * inverse)
            } else {
                0.0
            }
        });
        let teacher_sum = vector::sum_pairs(student, teacher, |s, t| {
            if is_shared(s, t) {
                vector::exp::<FUSED>((t - largest_teacher) * inverse)
            } else {
                0.0
            }
        });
        if !(student_sum > 0.0 && teacher_sum > 0.0) {
            return f64::NAN;
        }
        let log_ratio = (student_sum.ln() - teacher_sum.ln()) as f32;
        let (student_factor, teacher_factor) = ((1.0 / student_sum) as f32, (1.0 / teacher_sum) as f32);
        let kl = vector::sum_pairs(student, teacher, |s, t| {
            let (s, log_p) = ((s - largest_student) * inverse, (t - largest_teacher) * inverse);
            let p = vector::exp::<FUSED>(log_p) * teacher_factor;
            if p > 0.0 && s > f32::NEG_INFINITY {
                p * (log_p - s + log_ratio)
            } else {
                0.0
            }
        });
        let strength = scale * temperature;
        let add = |s: f32, t: f32, grad: f32| {
            let q = vector::exp::<FUSED>((s - largest_student) * inverse) * student_factor;
            let p = vector::exp::<FUSED>((t - largest_teacher) * inverse) * teacher_factor;
            if is_shared(s, t) {
                vector::mul_add::<FUSED>(strength, q - p, grad)
            } else {
                grad
            }
        };
        for ((s, t), grad) in student.iter().zip(teacher).zip(grad) {
            *grad = add(*s, *t, *grad);
        }
        f64::from(temperature) * f64::from(temperature) * kl
    }
}

#[inline(always)]
fn is_shared(a: f32, b: f32) -> bool {
    (a != f32::NEG_INFINITY) & (b != f32::NEG_INFINITY)
}

/// Largest entry of `x` among the ids that `other` has too.
#[inline(always)]
fn largest_shared(x: &[f32], other: &[f32]) -> f32 {
    let mut largest = [f32::NEG_INFINITY; LANES];
    vector::each_pair(x, other, |x, other| {
        for lane in 0..LANES {
            let better = (x[lane] > largest[lane]) & (other[lane] != f32::NEG_INFINITY);
            largest[lane] = if better { x[lane] } else { largest[lane] };
        }
    });
    largest
        .into_iter()
        .fold(f32::NEG_INFINITY, |a, b| if b > a { b } else { a })
}
