//! Losses over one row of student logits, with their gradients.
//!
//! Each function adds `scale * d(loss)/d(student logits)` to `grad` and returns the loss itself, unscaled, in nats.
//! Slices that belong together must have one length. NaN or plus infinity anywhere makes the loss NaN.

mod dense;
mod hard;
mod top_k;

pub use dense::kl_dense;
pub use hard::cross_entropy;
pub use top_k::{Tail, kl_top_k};

use std::cell::RefCell;

thread_local! {
    /// A row of exponentials: computed for the normaliser, used again for the gradient.
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Lends a copy of `row` that a kernel may overwrite.
fn with_copy<R>(row: &[f32], body: impl FnOnce(&mut [f32]) -> R) -> R {
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.clear();
        scratch.extend_from_slice(row);
        body(scratch)
    })
}
