//! Between the messages of `decant.v1` and our own types.

mod codec;
mod job;
mod plan;
mod teacher;

pub(super) use codec::{codec, example};
pub(super) use job::{job, job_message};
pub(super) use plan::{plan_message, plan_request};
pub(super) use teacher::teacher_message;
