//! CPU kernels over plain `f32` slices: what a row of logits keeps, softmax, distillation losses, the layers of models,
//! products and the optimizer.
//!
//! Every body is ordinary Rust written so that the compiler vectorises it, compiled once per instruction set and
//! chosen at run time ([`kernel_path`]). Sums run in a fixed number of `f32` lanes, flushed to `f64` block by block,
//! in an order that depends on the length of the row alone: no result depends on the number of threads. Two kernel
//! paths may differ in the last bits, because only some of them fuse a multiplication with an addition.
//!
//! A logit of minus infinity marks an id that the tokenizer does not have: it is outside the softmax.

mod dispatch;
pub mod layers;
pub mod loss;
pub mod optimizer;
pub mod product;
pub mod select;
pub mod softmax;
mod vector;

pub use dispatch::{KERNEL_PATH_VARIABLE, UnknownKernelPath, check_environment, kernel_path};
