//! The rules of the house that a program can check: who may know whom, and what lies where.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// For each crate, the crates of this workspace that it may depend on.
const MAY_KNOW: [(&str, &[&str]); 7] = [
    ("decant-proto", &[]),
    ("decant-kernels", &[]),
    ("decant-cli", &[]),
    ("decant-data", &["decant-cli"]),
    ("decant-models", &["decant-kernels"]),
    (
        "teacher-server",
        &[
            "decant-proto",
            "decant-data",
            "decant-models",
            "decant-kernels",
            "decant-cli",
        ],
    ),
    (
        "student-trainer",
        &["decant-data", "decant-models", "decant-kernels", "decant-cli"],
    ),
];

/// Crates that nothing of this workspace may link.
const NOWHERE: [&str; 1] = ["candle-nn"];

/// For each crate, what must not be linked into it, not even by another dependency.
const NEVER_LINKS: [(&str, &[&str]); 6] = [
    ("decant-proto", &["candle-core", "arrow-array", "parquet"]),
    (
        "decant-kernels",
        &["candle-core", "arrow-array", "parquet", "tonic", "tokio"],
    ),
    (
        "decant-cli",
        &["candle-core", "arrow-array", "parquet", "tonic", "tokio"],
    ),
    ("decant-data", &["candle-core", "tonic"]),
    ("decant-models", &["arrow-array", "parquet", "tonic", "tokio"]),
    ("student-trainer", &["teacher-server", "decant-proto", "tonic", "hyper"]),
];

/// The workspace as cargo sees it.
struct Workspace(Value);

impl Workspace {
    fn read() -> Self {
        let output = Command::new(env!("CARGO"))
            .current_dir(decant_tests::repository())
            .args(["metadata", "--format-version", "1", "--locked"])
            .output()
            .expect("cargo starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self(serde_json::from_slice(&output.stdout).expect("cargo writes JSON"))
    }

    fn list(value: &Value) -> impl Iterator<Item = &Value> {
        value.as_array().into_iter().flatten()
    }

    /// Name of each package by its id.
    fn names(&self) -> BTreeMap<&str, &str> {
        Self::list(&self.0["packages"])
            .filter_map(|package| Some((package["id"].as_str()?, package["name"].as_str()?)))
            .collect()
    }

    fn members(&self) -> BTreeSet<&str> {
        let names = self.names();
        Self::list(&self.0["workspace_members"])
            .filter_map(|id| names.get(id.as_str()?).copied())
            .collect()
    }

    /// Names of the packages that a package links: not those of its tests or its build script alone.
    fn links(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let names = self.names();
        let linked = |dependency: &&Value| Self::list(&dependency["dep_kinds"]).any(|kind| kind["kind"].is_null());
        let name = |id: &Value| names.get(id.as_str()?).copied();
        Self::list(&self.0["resolve"]["nodes"])
            .filter_map(|node| {
                let dependencies = Self::list(&node["deps"]).filter(linked);
                Some((
                    name(&node["id"])?,
                    dependencies.filter_map(|dependency| name(&dependency["pkg"])).collect(),
                ))
            })
            .collect()
    }
}

/// All that `package` links, directly or not, with who brought each in.
fn closure<'a>(links: &BTreeMap<&'a str, BTreeSet<&'a str>>, package: &'a str) -> BTreeMap<&'a str, &'a str> {
    let mut found = BTreeMap::new();
    let mut open = vec![package];
    while let Some(by) = open.pop() {
        for linked in links.get(by).into_iter().flatten() {
            if found.insert(*linked, by).is_none() {
                open.push(linked);
            }
        }
    }
    found
}

#[test]
fn crates_know_only_whom_they_may() {
    let workspace = Workspace::read();
    let members = workspace.members();
    let links = workspace.links();
    let rules: BTreeMap<&str, &[&str]> = MAY_KNOW.into_iter().collect();
    for member in &members {
        if *member == "decant-tests" {
            continue; // may know anything
        }
        let may = rules
            .get(member)
            .unwrap_or_else(|| panic!("there is no rule for the crate {member}"));
        for linked in links[member].intersection(&members) {
            assert!(
                may.contains(linked),
                "{member} must not depend on {linked}; it may on {may:?}"
            );
        }
    }
}

#[test]
fn nothing_links_what_it_must_not() {
    let workspace = Workspace::read();
    let links = workspace.links();
    let rules: BTreeMap<&str, &[&str]> = NEVER_LINKS.into_iter().collect();
    for member in workspace.members() {
        let linked = closure(&links, member);
        for name in rules.get(member).into_iter().copied().flatten().chain(&NOWHERE) {
            assert!(
                !linked.contains_key(name),
                "{member} must not link {name}, which {} brings in",
                linked[name]
            );
        }
    }
}

/// Every Rust source of the workspace, by its path from the root of the repository.
fn sources() -> Vec<(PathBuf, String)> {
    let root = decant_tests::repository();
    let output = Command::new("find")
        .current_dir(&root)
        .args([
            ".", "(", "-name", "target", "-o", "-name", ".git", ")", "-prune", "-o", "-name", "*.rs", "-print",
        ])
        .output()
        .expect("find starts");
    let paths = String::from_utf8(output.stdout).expect("paths here are UTF-8");
    let read = |path: &str| {
        let path = Path::new(path.trim_start_matches("./")).to_owned();
        let text = std::fs::read_to_string(root.join(&path)).expect("a source can be read");
        (path, text)
    };
    paths.lines().map(read).collect()
}

/// Whether a line of code (not of comment) uses the crate `name`.
fn uses(line: &str, name: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let path = format!("{name}::");
    code.match_indices(&path).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|before| before.is_alphanumeric() || before == '_' || before == ':')
    })
}

#[test]
fn crates_that_have_one_place_stay_there() {
    let grpc = |path: &Path| {
        ["proto", "teacher-server/src/grpc", "teacher-server/src/grpc.rs"]
            .iter()
            .any(|place| path.starts_with(place))
    };
    let program = |path: &Path| path.ends_with("main.rs");
    for (path, text) in sources() {
        let code = path.components().nth(1).is_some_and(|part| part.as_os_str() == "src");
        if !code || path.starts_with("tests") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let place = format!("{}:{}", path.display(), number + 1);
            assert!(
                !uses(line, "tonic") || grpc(&path),
                "{place} uses tonic outside its place"
            );
            assert!(
                !uses(line, "anyhow") || program(&path),
                "{place} uses anyhow outside its place"
            );
        }
    }
}

#[test]
fn no_source_is_too_long() {
    let sources = sources();
    assert!(sources.len() > 50, "the sources were not found: {}", sources.len());
    for (path, text) in &sources {
        let lines = text.lines().count();
        assert!(lines <= 800, "{} has {lines} lines; cut it by purpose", path.display());
    }
    let mut lengths: Vec<usize> = sources.iter().map(|(_, text)| text.lines().count()).collect();
    lengths.sort_unstable();
    let median = lengths[lengths.len() / 2];
    assert!(median < 200, "the median source has {median} lines");
}
