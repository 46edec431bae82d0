//! Trains a student from cached soft targets, or from raw inputs with hard targets alone; no teacher is loaded.
//!
//! ```text
//! sealed dataset -> fit check -> examples by id -> shuffle, pack, lay out -> student body
//!     -> head + loss in row chunks -> gradients -> clip, AdamW -> checkpoint, metrics
//! ```
//!
//! The loss is `soft_weight T^2 KL(teacher || student) + hard_weight cross-entropy`, each term the mean over the
//! positions of the whole optimizer step where it is defined ([`step`]). A run is a function of its configuration,
//! student and data: interrupted and taken up again from a [`checkpoint`], it ends with the same weights, bit for bit,
//! on the same build, number of threads and kernel path.
//!
//! The training split is held in memory, its images decoded and its soft targets as they are stored.

pub mod batch;
pub mod checkpoint;
pub mod config;
pub mod data;
mod error;
pub mod evaluate;
pub mod examples;
pub mod fit;
pub mod gradients;
pub mod head;
pub mod loader;
pub mod metrics;
pub mod objective;
pub mod optimizer;
pub mod order;
pub mod run;
pub mod schedule;
pub mod step;
pub mod student;
mod tensor;
mod train;
pub mod unigram;

pub use config::{Config, Overrides};
pub use error::{Error, Kind, Result};
pub use train::{Report, train};
