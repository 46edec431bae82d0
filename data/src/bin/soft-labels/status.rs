//! `soft-labels status`: how far a plan is.

use decant_data::{Build, Dataset, Result};
use serde::Serialize;

use crate::words;

/// How far a dataset is, as `--json` prints it.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) dataset: String,
    pub(crate) plan: String,
    pub(crate) sealed: bool,
    pub(crate) shards: u32,
    pub(crate) missing: Vec<u32>,
    pub(crate) examples: u64,
    pub(crate) examples_planned: u64,
    pub(crate) soft_targets: u64,
    pub(crate) soft_targets_planned: u64,
    pub(crate) bytes: u64,
    pub(crate) builds: Vec<Build>,
}

pub(crate) fn report(dataset: &Dataset) -> Result<Report> {
    let status = dataset.status()?;
    Ok(Report {
        dataset: dataset.store().url().to_owned(),
        plan: status.plan,
        sealed: status.sealed,
        shards: status.shards,
        missing: status.missing,
        examples: status.rows,
        examples_planned: dataset.plan().examples(),
        soft_targets: status.positions,
        soft_targets_planned: dataset.plan().positions(),
        bytes: status.bytes,
        builds: status.builds,
    })
}

pub(crate) fn text(report: &Report) -> String {
    let committed = u64::from(report.shards) - report.missing.len() as u64;
    let of = |done, planned| format!("{} of {}", words::count(done), words::count(planned));
    let mut text = format!(
        "{}, plan {}: {}\n  shards        {} committed\n  examples      {}\n  soft targets  {}\n  tables        {}\n",
        report.dataset,
        report.plan,
        stage(report),
        of(committed, report.shards.into()),
        of(report.examples, report.examples_planned),
        of(report.soft_targets, report.soft_targets_planned),
        words::bytes(report.bytes),
    );
    for build in &report.builds {
        text.push_str(&format!("  built by      {}\n", words::build(build)));
    }
    if !report.missing.is_empty() {
        text.push_str(&format!("  missing       {}\n", ranges(&report.missing)));
    }
    text
}

fn stage(report: &Report) -> &'static str {
    match (report.sealed, report.missing.is_empty()) {
        (true, _) => "sealed",
        (false, true) => "every shard is committed, not sealed",
        (false, false) => "shards are missing",
    }
}

/// `0-3, 7, 9-11`
fn ranges(numbers: &[u32]) -> String {
    let runs = numbers.chunk_by(|a, b| a + 1 == *b).map(|run| match run {
        [first, .., last] => format!("{first}-{last}"),
        run => run.iter().map(u32::to_string).collect(),
    });
    runs.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    #[test]
    fn missing_shards_are_listed_as_ranges() {
        assert_eq!(super::ranges(&[0, 1, 2, 3, 7, 9, 10]), "0-3, 7, 9-10");
    }
}
