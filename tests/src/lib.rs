//! What the end-to-end tests share: the binaries of this workspace, a running server, tiny models and data.
//!
//! The tests run the programs as users do, in processes of their own, and look at what they print and leave on disk.
//! What a test cannot go on after is a panic, with all that the process said.

pub mod binaries;
pub mod examples;
pub mod fixtures;
pub mod process;
pub mod server;

use std::path::{Path, PathBuf};

pub use process::{Outcome, Program};
pub use server::Server;

/// The root of the repository.
pub fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent()
        .expect("this crate lies in a folder of the repository")
        .to_owned()
}

/// A folder under the real models and data, from `tests/assets/fetch`; `None` (and a line that says so) without them.
pub fn asset(name: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("DECANT_ASSETS") else {
        eprintln!("SKIPPED: DECANT_ASSETS is not set, so there is no {name}; see tests/assets/fetch");
        return None;
    };
    let path = Path::new(&folder).join(name);
    assert!(
        path.exists(),
        "DECANT_ASSETS is set, but {} is not there; run tests/assets/fetch",
        path.display()
    );
    Some(path)
}
