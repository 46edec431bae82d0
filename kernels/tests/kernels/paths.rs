//! Each kernel path, in its own process: the path is chosen once, at first use.

use std::process::Command;

use decant_kernels::{KERNEL_PATH_VARIABLE, check_environment, kernel_path};

/// Runs this binary again on another path; what it printed.
fn again(path: &str, arguments: &[&str]) -> String {
    let this = std::env::current_exe().unwrap();
    let run = Command::new(this)
        .args(arguments)
        .env(KERNEL_PATH_VARIABLE, path)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(run.status.success(), "on {path}:\n{text}");
    text
}

fn lower_paths() -> &'static [&'static str] {
    match kernel_path() {
        "avx512" => &["avx2", "portable"],
        "avx2" => &["portable"],
        _ => &[],
    }
}

#[test]
fn the_other_tests_pass_on_each_lower_path() {
    for path in lower_paths() {
        let text = again(path, &["--skip", "paths::"]);
        assert!(!text.contains("running 0 tests"), "{text}");
    }
}

#[test]
fn the_environment_lowers_the_path() {
    let tell = |path| again(path, &["--exact", "paths::tell", "--nocapture"]);
    for path in lower_paths() {
        let told = tell(path);
        assert!(told.contains(&format!("path {path}, known: true")), "{told}");
    }
    assert!(tell("sse9").contains("path portable, known: false"));
}

#[test]
fn tell() {
    println!("path {}, known: {}", kernel_path(), check_environment().is_ok());
}
