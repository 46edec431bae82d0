//! What the crate promises, against PyTorch and against itself.

mod checkpoints;
mod decoder;
mod fidelity;
mod gradients;
mod support;
mod threads;
mod tokenizers;
