//! What the quickstart's runs came to: a table on stdout, and `report.json` beside the runs.
//!
//! Reads, under the folder given: `away/teacher` (the teacher's run) and `runs/<kind>-<seed>`, each with the trainer's
//! `report.json` and, in `test.json`, what `student-trainer eval --json` said on the test part; and the dataset in `cache`.

use decant_data::{Reader, Store};
use serde_json::{Value, json};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The students, and what the table calls them.
const STUDENTS: [(&str, &str); 3] = [
    ("hard_only", "hard only"),
    ("argmax", "argmax"),
    ("distilled", "distilled"),
];

/// Runs that differ in their seeds alone.
struct Group {
    name: &'static str,
    accuracies: Vec<f64>,
    labels: u64,
    parameters: u64,
}

impl Group {
    fn read(name: &'static str, runs: &[PathBuf]) -> Result<Self> {
        let mut group = Self {
            name,
            accuracies: Vec::new(),
            labels: 0,
            parameters: 0,
        };
        for run in runs {
            let (report, test) = (read_json(&run.join("report.json"))?, read_json(&run.join("test.json"))?);
            let missing = |key: &str| format!("{}: {key} is missing", run.display());
            group
                .accuracies
                .push(test["accuracy"].as_f64().ok_or_else(|| missing("accuracy"))?);
            group.labels = report["labels"].as_u64().ok_or_else(|| missing("labels"))?;
            group.parameters = report["parameters"].as_u64().ok_or_else(|| missing("parameters"))?;
        }
        match group.accuracies.is_empty() {
            true => Err(format!("there is no run of {name}").into()),
            false => Ok(group),
        }
    }

    fn mean(&self) -> f64 {
        self.accuracies.iter().sum::<f64>() / self.accuracies.len() as f64
    }

    /// Standard deviation over the seeds, with n - 1; 0 for one seed.
    fn std(&self) -> f64 {
        let mean = self.mean();
        let squares: f64 = self.accuracies.iter().map(|accuracy| (accuracy - mean).powi(2)).sum();
        (squares / (self.accuracies.len() - 1).max(1) as f64).sqrt()
    }

    fn json(&self) -> Value {
        json!({"mean": self.mean(), "std": self.std(), "seeds": self.accuracies.len()})
    }

    fn line(&self) -> String {
        let spread = match self.accuracies.len() {
            1 => "     ".to_owned(),
            _ => format!("± {:.2}", 100.0 * self.std()),
        };
        let (name, mean) = (self.name, 100.0 * self.mean());
        let (seeds, labels, parameters) = (self.accuracies.len(), self.labels, self.parameters);
        format!("{name:<10}  {mean:6.2} {spread} %  {seeds:>5}  {labels:>6}  {parameters:>10}")
    }
}

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("usage: quickstart-report FOLDER");
        return ExitCode::from(2);
    };
    match run(Path::new(&folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(folder: &Path) -> Result<()> {
    let teacher = Group::read("teacher", &[folder.join("away/teacher")])?;
    let mut report = json!({"teacher_accuracy": teacher.json()});
    println!("            test accuracy   seeds  labels  parameters");
    println!("{}", teacher.line());
    for (kind, name) in STUDENTS {
        let group = Group::read(name, &runs(&folder.join("runs"), kind)?)?;
        println!("{}", group.line());
        report[format!("{kind}_accuracy")] = group.json();
    }

    let cache = folder.join("cache");
    let reader = Reader::open(&Store::open(&cache.to_string_lossy())?)?;
    let manifest = reader.manifest();
    let examples: u64 = manifest.splits.iter().map(|split| split.examples).sum();
    let bytes: u64 = manifest.files.iter().map(|file| file.object.bytes).sum();
    report["cache_bytes"] = bytes.into();
    report["examples"] = examples.into();
    println!(
        "\nthe dataset in {}: {examples} examples, {bytes} bytes",
        cache.display()
    );
    println!("labels: true labels that a model saw; argmax and distilled saw the teacher's word alone");

    let path = folder.join("report.json");
    std::fs::write(&path, format!("{report:#}\n")).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(())
}

/// The runs of one kind, by name.
fn runs(folder: &Path, kind: &str) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let of_kind = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| {
            name.strip_prefix(kind)
                .and_then(|rest| rest.strip_prefix('-'))
                .is_some()
        });
        if of_kind && path.is_dir() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn read_json(path: &Path) -> Result<Value> {
    let read = || -> Result<Value> { Ok(serde_json::from_slice(&std::fs::read(path)?)?) };
    read().map_err(|error| format!("{}: {error}", path.display()).into())
}
