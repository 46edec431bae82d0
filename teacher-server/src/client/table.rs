//! Jobs for people, and for scripts.

use crate::jobs::{Job, JobState};

const HEADS: [&str; 5] = ["JOB", "STATE", "SHARDS", "POSITIONS", "OUTPUT"];

/// A table with one line a job, and its reason under each that failed.
pub(super) fn table(jobs: &[Job]) -> String {
    let rows: Vec<[String; 5]> = jobs.iter().map(cells).collect();
    let mut widths = HEADS.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.len());
        }
    }
    let mut text = line(&HEADS.map(str::to_owned), &widths);
    for (job, row) in jobs.iter().zip(&rows) {
        text.push_str(&line(row, &widths));
        if let JobState::Failed(reason) = &job.state {
            text.push_str(&format!("  {reason}\n"));
        }
    }
    text
}

/// One job in one line.
pub(super) fn row(job: &Job) -> String {
    cells(job).join("  ")
}

/// One job as a JSON object in one line.
pub(super) fn json(job: &Job) -> String {
    let failure = match &job.state {
        JobState::Failed(reason) => Some(reason.as_str()),
        _ => None,
    };
    serde_json::json!({
        "id": job.id,
        "state": job.state.name(),
        "failure": failure,
        "output": job.output,
        "progress": job.progress,
    })
    .to_string()
}

fn cells(job: &Job) -> [String; 5] {
    let progress = job.progress;
    [
        job.id.clone(),
        job.state.name().to_owned(),
        format!("{}/{}", progress.shards_done, progress.shards_total),
        format!("{}/{}", progress.positions_done, progress.positions_total),
        job.output.clone(),
    ]
}

fn line(cells: &[String; 5], widths: &[usize; 5]) -> String {
    let padded: Vec<String> = cells
        .iter()
        .zip(widths)
        .map(|(cell, &width)| format!("{cell:width$}"))
        .collect();
    format!("{}\n", padded.join("  ").trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::JobProgress;
    use crate::planning::PlanRequest;
    use std::sync::Arc;

    fn job(state: JobState, shards_done: u64) -> Job {
        Job {
            id: "00112233".to_owned(),
            state,
            request: Arc::new(PlanRequest::new(Vec::new())),
            output: "/data/out".to_owned(),
            progress: JobProgress {
                shards_done,
                shards_total: 10,
                ..JobProgress::default()
            },
            created: std::time::UNIX_EPOCH,
        }
    }

    #[test]
    fn columns_line_up_and_a_failure_says_why() {
        let failed = JobState::Failed("no space left".to_owned());
        let text = table(&[job(JobState::Running, 3), job(failed, 10)]);
        assert_eq!(
            text,
            "JOB       STATE    SHARDS  POSITIONS  OUTPUT\n\
             00112233  RUNNING  3/10    0/0        /data/out\n\
             00112233  FAILED   10/10   0/0        /data/out\n  no space left\n"
        );
    }

    #[test]
    fn json_is_one_line_that_reads_back() {
        let line = json(&job(JobState::Failed("a \"b\"\nc".to_owned()), 1));
        assert!(!line.contains('\n'));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (&value["state"], &value["failure"]),
            (&"FAILED".into(), &"a \"b\"\nc".into())
        );
        assert_eq!(value["progress"]["shards_total"], 10);
    }
}
