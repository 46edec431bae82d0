//! The programs of this workspace, built from the sources that the tests were built from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Path of a program, which is built first: a test never runs what an earlier build left behind.
pub fn path(name: &str) -> &'static Path {
    static BUILT: OnceLock<BTreeMap<String, PathBuf>> = OnceLock::new();
    let built = BUILT.get_or_init(build);
    built
        .get(name)
        .unwrap_or_else(|| panic!("the workspace has no program {name}; it has {:?}", built.keys()))
}

/// Builds into the same target folder and profile as the running test, so that little is built twice.
fn build() -> BTreeMap<String, PathBuf> {
    let test = std::env::current_exe().expect("the system knows the running program");
    let profile_folder = test.ancestors().nth(2).expect("tests lie in <target>/<profile>/deps");
    let profile = match profile_folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let target = profile_folder
        .parent()
        .expect("the profile's folder lies in the target folder");

    let output = Command::new(env!("CARGO"))
        .current_dir(crate::repository())
        .args([
            "build",
            "--workspace",
            "--bins",
            "--quiet",
            "--message-format",
            "json-render-diagnostics",
        ])
        .args(["--profile", profile, "--target-dir"])
        .arg(target)
        .output()
        .expect("cargo starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo build of the programs failed:\n{errors}");
    output.stdout.split(|byte| *byte == b'\n').filter_map(program).collect()
}

/// Name and path of the program that one message of cargo is about.
fn program(message: &[u8]) -> Option<(String, PathBuf)> {
    let message: serde_json::Value = serde_json::from_slice(message).ok()?;
    let path = message["executable"].as_str()?;
    Some((message["target"]["name"].as_str()?.to_owned(), path.into()))
}
