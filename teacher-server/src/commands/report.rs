//! What the commands tell people: results on stdout, progress on stderr.

use crate::capture::{Step, Worked};
use crate::{Error, Result};
use decant_cli::Progress;
use decant_data::{Dataset, Manifest, Plan, Task};

/// One line about a plan, with everything that was not taken as it was.
pub(super) fn planned(dataset: &Dataset) -> Result<()> {
    let plan = dataset.plan();
    let (examples, positions, shards) = (plan.examples(), plan.positions(), plan.shards.len());
    let mut line = format!(
        "plan {}: {examples} examples, {positions} positions, {shards} shards",
        plan.id
    );
    let counts = plan.counts;
    for (count, what) in [
        (counts.blank, "blank lines skipped"),
        (counts.truncated, "examples truncated"),
        (counts.too_short, "examples left out, shorter than 2 tokens"),
    ] {
        if count > 0 {
            line.push_str(&format!(", {count} {what}"));
        }
    }
    print(line)
}

fn print(line: String) -> Result<()> {
    decant_cli::print(line).map_err(Error::Output)
}

/// Says so when there is nothing to do for anyone.
pub(super) fn already_sealed(dataset: &Dataset) -> Result<bool> {
    let status = dataset.status()?;
    if status.sealed {
        let (url, rows) = (dataset.store().url(), status.rows);
        print(format!("{url} is sealed already: {rows} rows; nothing to do"))?;
    }
    Ok(status.sealed)
}

/// Says so when every shard has a marker.
pub(super) fn nothing_left(dataset: &Dataset) -> Result<bool> {
    let status = dataset.status()?;
    let done = status.missing.is_empty();
    if done {
        let (url, shards) = (dataset.store().url(), status.shards);
        let next = if status.sealed {
            "it is sealed".to_owned()
        } else {
            format!("soft-labels seal {url} makes it whole")
        };
        print(format!(
            "every one of {shards} shards is committed already, nothing to do; {next}"
        ))?;
    }
    Ok(done)
}

/// One line about what this worker did.
pub(super) fn worked(worked: &Worked) -> Result<()> {
    let Worked {
        committed,
        by_others,
        done,
    } = worked;
    let Step { examples, positions } = done;
    print(format!(
        "committed {committed} shards: {examples} examples, {positions} positions; {by_others} were committed before"
    ))
}

/// One line about the whole dataset.
pub(super) fn sealed(dataset: &Dataset, manifest: &Manifest) -> Result<()> {
    let bytes: u64 = manifest.files.iter().map(|file| file.object.bytes).sum();
    print(format!(
        "sealed {}: {} files, {bytes} bytes",
        dataset.store().url(),
        manifest.files.len()
    ))
}

/// The progress of a capture: positions for language models, images otherwise.
pub(super) struct Capturing {
    progress: Progress,
    task: Task,
}

impl Capturing {
    pub(super) fn begin(plan: &Plan, missing: &[u32]) -> Self {
        let task = plan.spec.task;
        let left = |step: &Step| units(task, step);
        let total = plan
            .shards
            .iter()
            .filter(|shard| missing.contains(&shard.index))
            .map(|shard| {
                left(&Step {
                    examples: shard.examples,
                    positions: shard.positions,
                })
            })
            .sum();
        let unit = if task == Task::CausalLm {
            "positions"
        } else {
            "examples"
        };
        Self {
            progress: Progress::new(Some(total), unit, "capturing"),
            task,
        }
    }

    pub(super) fn add(&self, step: Step) {
        self.progress.add(units(self.task, &step));
    }

    pub(super) fn finish(&self) {
        self.progress.finish();
    }
}

fn units(task: Task, step: &Step) -> u64 {
    if task == Task::CausalLm {
        step.positions
    } else {
        step.examples
    }
}

/// The stages of sealing, each with its own bar.
#[derive(Default)]
pub(super) struct Stages(Option<Progress>);

impl decant_data::Progress for Stages {
    fn begin(&mut self, what: &str, unit: &str, total: u64) {
        self.0 = Some(Progress::new(Some(total), unit, what));
    }

    fn advance(&mut self, by: u64) {
        if let Some(progress) = &self.0 {
            progress.add(by);
        }
    }

    fn note(&mut self, message: &str) {
        decant_cli::tell(message);
    }
}
