//! Runs a teacher over examples and keeps its soft targets, in one process or behind gRPC.
//!
//! A capture takes three steps, each of which can be killed and run again: [`planning::plan`] freezes inputs, shard
//! cuts, teacher and codec; [`capture::run_all`] asks the [`teacher::Teacher`] about every shard without a marker;
//! `decant_data::seal` makes the dataset whole. [`commands`] are the subcommands of `teacher-server` that take these
//! steps in one process; [`grpc`] offers them, and single answers, to others, who use [`client`].

#![deny(unsafe_code)]

pub mod args;
pub mod capture;
pub mod client;
pub mod commands;
mod error;
pub mod grpc;
pub mod jobs;
pub mod planning;
mod signals;
pub mod teacher;

pub use error::{Error, Result};
