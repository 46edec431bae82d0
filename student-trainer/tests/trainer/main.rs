//! The trainer on tiny students and data: what it learns, what it refuses, and that nothing depends on interruptions,
//! portions or on whether the teacher is at hand.

mod exact;
mod layers;
mod learns;
mod refuses;
mod resumes;
mod support;
