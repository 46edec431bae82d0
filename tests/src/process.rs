//! Programs run to their end.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, ExitStatus};

/// A program of the workspace about to run, with nothing of this process's `DECANT_*` configuration.
pub struct Program(Command);

/// How a program ended and what it said.
#[derive(Debug)]
pub struct Outcome {
    /// The command line.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Its results.
    pub stdout: String,
    /// Everything else that it said.
    pub stderr: String,
}

impl Program {
    /// `teacher-server`.
    pub fn teacher_server() -> Self {
        Self::at(crate::binaries::path("teacher-server"))
    }

    /// `student-trainer`.
    pub fn student_trainer() -> Self {
        Self::at(crate::binaries::path("student-trainer"))
    }

    /// `soft-labels`.
    pub fn soft_labels() -> Self {
        Self::at(crate::binaries::path("soft-labels"))
    }

    /// Any program, started in the root of the repository.
    pub fn at(path: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(path);
        command.current_dir(crate::repository());
        // the kernel path is a property of the machine that tests are run for, not configuration of one program
        let ours = |name: &OsStr| {
            name.to_str()
                .is_some_and(|name| name.starts_with("DECANT_") && name != "DECANT_KERNEL_PATH")
        };
        for (name, _) in std::env::vars_os().filter(|(name, _)| ours(name)) {
            command.env_remove(name);
        }
        Self(command)
    }

    /// Adds arguments, cut at white space.
    pub fn args(mut self, words: &str) -> Self {
        self.0.args(words.split_whitespace());
        self
    }

    /// Adds one argument as it is.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.0.arg(arg);
        self
    }

    /// Sets a variable of its environment.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    /// Starts it in this folder instead.
    pub fn current_dir(mut self, folder: &Path) -> Self {
        self.0.current_dir(folder);
        self
    }

    /// The command, for those who start it themselves.
    pub fn into_command(self) -> Command {
        self.0
    }

    /// Runs it to its end.
    pub fn run(mut self) -> Outcome {
        let command = format!("{:?}", self.0);
        let output = self
            .0
            .output()
            .unwrap_or_else(|error| panic!("cannot start {command}: {error}"));
        Outcome {
            command,
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs it to its end, which must be success.
    pub fn succeed(self) -> Outcome {
        let outcome = self.run();
        assert!(outcome.status.success(), "{outcome}");
        outcome
    }

    /// Runs it to its end, which must be a refusal as users should see one: an exit code that a shell sees, and one
    /// line on stderr that starts with `error: ` and holds each of `says`.
    pub fn refuse(self, says: &[&str]) -> Outcome {
        let outcome = self.run();
        assert!(
            outcome.status.code().is_some_and(|code| code != 0 && code != 101),
            "{outcome}"
        );
        let errors: Vec<&str> = outcome
            .stderr
            .lines()
            .filter(|line| line.starts_with("error: "))
            .collect();
        assert_eq!(errors.len(), 1, "one line of error was expected\n{outcome}");
        for word in says {
            assert!(errors[0].contains(word), "the error does not say {word:?}\n{outcome}");
        }
        assert!(!outcome.stderr.contains("panicked"), "{outcome}");
        outcome
    }
}

impl Outcome {
    /// Its results as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("not JSON: {error}\n{self}"))
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            command,
            status,
            stdout,
            stderr,
        } = self;
        write!(f, "{command}\n{status}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}
