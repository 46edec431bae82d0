//! What the command lines share: configuration layers, progress, exit codes.
//!
//! A value is looked for in the flags, then in `DECANT_*` environment variables, then in a TOML file, then in the
//! built-in default ([`config`]). Results go to stdout ([`print()`]), everything else to stderr ([`tell`]). Long work says how
//! far it is ([`Progress`]). A command that fails says why in one
//! line and tells its caller, by the exit code, whether trying again can help ([`exit`]). Whoever runs models keeps the
//! memory of one pass for the next ([`keep_freed_memory`]).

pub mod config;
mod ending;
mod memory;
mod nearest;
mod output;
mod progress;

pub use ending::{Code, Usage, error_line, exit, exit_by};
pub use memory::keep_freed_memory;
pub use nearest::nearest;
pub use output::{print, tell};
pub use progress::Progress;
