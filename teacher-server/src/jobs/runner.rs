//! The thread that runs jobs, one after another.

use super::error::{Error, Result};
use super::job::{Job, JobProgress, JobState};
use super::{Entry, Shared, lock};
use crate::capture::{self, CancelFlag, Step};
use crate::planning;
use decant_data::{Dataset, Store};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::Instant;

/// Runs jobs as they come, until the server stops.
pub(super) fn run_all(shared: &Shared, queue: &mpsc::Receiver<Arc<Entry>>) {
    for entry in queue {
        if shared.stopping.load(Ordering::Acquire) {
            return;
        }
        if let Some(cancel) = begin(&entry) {
            let job = entry.job.borrow().clone();
            // a bug in one job is that job's failure; the next may be fine
            let result = catch_unwind(AssertUnwindSafe(|| run(shared, &entry, &job, &cancel)));
            end(shared, &entry, result.unwrap_or_else(|_| Err(Error::Panicked)));
        }
    }
}

/// Takes a job from waiting to planning; none if it was cancelled in the meantime.
fn begin(entry: &Entry) -> Option<CancelFlag> {
    let control = lock(&entry.control);
    if entry.job.borrow().state != JobState::Pending {
        return None;
    }
    enter(entry, JobState::Planning);
    Some(control.cancel.clone())
}

/// Plan, one capture a shard, seal. Each step finds what an earlier run has done.
fn run(shared: &Shared, entry: &Entry, job: &Job, cancel: &CancelFlag) -> Result<()> {
    // a job may be older than the roots, and a link than the job
    let (request, output) = shared.resolve((*job.request).clone(), &job.output)?;
    let profile = shared.teacher.profile();
    let spec = planning::freeze(&request, profile)?;
    // before anything is written: another plan there would be in this job's way for ever
    if spec.id() != job.id {
        return Err(Error::Changed {
            id: job.id.clone(),
            now: spec.id(),
        });
    }
    let store = Store::open(&output)?;
    let dataset = planning::plan_frozen(spec, &request.sources, profile, &store, cancel, &mut |_| {})?;
    let plan = dataset.plan();

    capture::check_teacher(&plan.spec, profile)?;
    set_progress(entry, committed(&dataset)?);
    enter(entry, JobState::Running);
    let started = Instant::now();
    let mut done = Step::default();
    for shard in dataset.missing()? {
        stop_if(cancel)?;
        capture::run_shard(&shared.teacher, &dataset, shard, cancel, &mut |step| {
            done.examples += step.examples;
            done.positions += step.positions;
            let rate = done.positions as f64 / started.elapsed().as_secs_f64().max(1e-9);
            entry.job.send_modify(|job| {
                job.progress.examples_done += step.examples;
                job.progress.positions_done += step.positions;
                job.progress.positions_per_second = rate;
            });
        })?;
        // read back: what another worker has committed in the meantime counts too
        let rate = entry.job.borrow().progress.positions_per_second;
        set_progress(
            entry,
            JobProgress {
                positions_per_second: rate,
                ..committed(&dataset)?
            },
        );
    }

    stop_if(cancel)?;
    enter(entry, JobState::Sealing);
    decant_data::seal(&store, &mut ())?;
    Ok(())
}

/// Says how a run ended. One that the server's own end stopped goes back to waiting, for the next server.
fn end(shared: &Shared, entry: &Entry, result: Result<()>) {
    let mut control = lock(&entry.control);
    let id = entry.job.borrow().id.clone();
    let state = match result {
        Ok(()) => JobState::Succeeded,
        Err(Error::Work(crate::Error::Cancelled)) if control.by_caller => JobState::Cancelled,
        Err(_) if shared.stopping.load(Ordering::Acquire) && !control.by_caller => {
            return enter(entry, JobState::Pending);
        }
        Err(error) => JobState::Failed(decant_cli::error_line(&error).trim_start_matches("error: ").to_owned()),
    };
    match &state {
        JobState::Failed(reason) => tracing::warn!(job = id, reason, "failed"),
        state => tracing::info!(job = id, state = state.name(), "ended"),
    }
    if let Err(error) = entry.end(shared, &mut control, state) {
        tracing::error!(job = id, %error, "how the job ended cannot be recorded; it will run again after a restart");
    }
}

fn enter(entry: &Entry, state: JobState) {
    entry.job.send_modify(|job| job.state = state);
}

fn set_progress(entry: &Entry, progress: JobProgress) {
    entry.job.send_modify(|job| job.progress = progress);
}

fn stop_if(cancel: &CancelFlag) -> Result<()> {
    match cancel.is_cancelled() {
        true => Err(crate::Error::Cancelled.into()),
        false => Ok(()),
    }
}

/// What is committed, of what. By one listing: what a shard holds is in the plan, and its marker need not be read.
fn committed(dataset: &Dataset) -> Result<JobProgress> {
    let (plan, missing) = (dataset.plan(), dataset.missing()?);
    let mut progress = JobProgress {
        shards_total: plan.shards.len() as u64,
        examples_total: plan.examples(),
        positions_total: plan.positions(),
        ..JobProgress::default()
    };
    for shard in &plan.shards {
        if missing.binary_search(&shard.index).is_err() {
            progress.shards_done += 1;
            progress.examples_done += shard.examples;
            progress.positions_done += shard.positions;
        }
    }
    Ok(progress)
}
