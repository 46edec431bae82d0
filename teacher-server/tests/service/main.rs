//! The service over loopback, in this process, over tiny teachers with random weights.

#[path = "../capture/fixtures.rs"]
#[allow(dead_code)] // what the tests of the capture need
mod fixtures;

mod commands;
mod ending;
mod identity;
mod jobs;
mod score;
mod support;
