//! Cross-entropy with one true class.

use super::with_copy;
use crate::dispatch::{self, Kernel};
use crate::vector;

/// Cross-entropy `-ln softmax(student)[label]`; gradient `softmax(student) - onehot(label)`.
///
/// An id of minus infinity is outside the softmax; as the label it makes the loss infinite.
///
/// # Panics
/// If `label` is not below the row's length, or `grad` has another length.
pub fn cross_entropy(student: &[f32], label: usize, scale: f32, grad: &mut [f32]) -> f64 {
    assert_eq!(student.len(), grad.len(), "one gradient per logit");
    let target = student[label];
    with_copy(student, |scratch| {
        dispatch::run(CrossEntropy {
            scratch,
            target,
            label,
            scale,
            grad,
        })
    })
}

struct CrossEntropy<'a> {
    scratch: &'a mut [f32],
    target: f32,
    label: usize,
    scale: f32,
    grad: &'a mut [f32],
}

impl Kernel for CrossEntropy<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<const FUSED: bool>(self) -> f64 {
        let largest = vector::max(self.scratch);
        let sum = vector::sum_replaced(self.scratch, |logit| vector::exp::<FUSED>(logit - largest));
        let factor = (f64::from(self.scale) / sum) as f32;
        for (grad, exponential) in self.grad.iter_mut().zip(self.scratch.iter()) {
            *grad = vector::mul_add::<FUSED>(factor, *exponential, *grad);
        }
        self.grad[self.label] -= self.scale;
        sum.ln() + (f64::from(largest) - f64::from(self.target))
    }
}
