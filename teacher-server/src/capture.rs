//! Capturing: from the inputs of a shard to its committed table.
//!
//! ```text
//! inputs -> batches -> prepare (thread) -> teacher (thread) -> input order -> attempt -> commit
//! ```
//!
//! Each arrow is a bounded channel or a call. The batches are cut by the plan's budget alone (`batches`); images are
//! decoded and tokens copied beside the device, not before it; rows go back into the order of the inputs and into the
//! attempt as soon as their turn comes.

mod batches;
mod cancel;
mod prepare;
mod shard;
mod worker;

pub use cancel::CancelFlag;
pub use shard::{Captured, Step, run_shard};
pub use worker::{Start, Worked, check_teacher, run_all};
