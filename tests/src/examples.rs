//! The commands of an example's README, run as a user would paste them.

use crate::{Program, binaries, repository};
use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

/// Runs every block of `sh` in the README of `examples/<name>`, as one script, in `folder`.
///
/// The folder gets a link to `examples`, and the programs under test are on the path. A server listens on a port of its
/// own, by the environment, as do other overrides of `settings`.
pub fn run(name: &str, folder: &Path, settings: &[(&str, &str)]) {
    std::os::unix::fs::symlink(repository().join("examples"), folder.join("examples")).expect("the folder is empty");
    let address = free_address();
    let mut program = Program::at("bash")
        .current_dir(folder)
        .args("-euo pipefail -c")
        .arg(script(name))
        .env("PATH", path())
        .env("DECANT_LISTEN", address.to_string())
        .env("DECANT_SERVER", format!("http://{address}"));
    for (name, value) in settings {
        program = program.env(name, value);
    }
    program.succeed();
}

/// The fenced blocks of `sh`, one after another. A server that a failing script leaves behind ends with it.
fn script(example: &str) -> String {
    let readme = repository().join("examples").join(example).join("README.md");
    let text = std::fs::read_to_string(&readme).unwrap_or_else(|error| panic!("{}: {error}", readme.display()));
    let mut script = "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n".to_owned();
    let (mut inside, mut blocks) = (false, 0);
    for line in text.lines() {
        match line {
            "```sh" => (inside, blocks) = (true, blocks + 1),
            "```" => inside = false,
            line if inside => script.extend([line, "\n"]),
            _ => {}
        }
    }
    assert!(blocks > 0, "{} has no block of sh", readme.display());
    script
}

/// `PATH` with the programs under test first.
fn path() -> OsString {
    let programs = binaries::path("teacher-server").parent().map(PathBuf::from);
    let old = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(programs.into_iter().chain(std::env::split_paths(&old))).expect("paths hold no colon")
}

/// An address on loopback that nobody listens on.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    listener.expect("loopback has a free port")
}
