//! One job in the registry: what others see of it, and what its changes go through.

use super::error::{Error, Result};
use super::job::{Job, JobProgress, JobState};
use super::records::{Asked, Recorded, Records};
use super::{Shared, lock};
use crate::capture::CancelFlag;
use decant_data::Store;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};
use tokio::sync::watch;

pub(super) struct Entry {
    /// As others see it.
    pub(super) job: watch::Sender<Job>,
    pub(super) control: Mutex<Control>,
}

/// Held while a job changes from waiting to running, to its end, or back to waiting.
pub(super) struct Control {
    /// Stops the run that is waiting or under way.
    pub(super) cancel: CancelFlag,
    /// Whether a caller asked for that, rather than the server's own end.
    pub(super) by_caller: bool,
    /// Number of the job's next event.
    pub(super) events: u32,
}

impl Entry {
    /// A job as its records tell it.
    pub(super) fn recorded(recorded: Recorded) -> Arc<Self> {
        let Recorded {
            id,
            created_ms,
            asked,
            state,
            progress,
            events,
        } = recorded;
        let created = UNIX_EPOCH + Duration::from_millis(created_ms);
        let Asked { output, request, .. } = asked;
        let job = Job {
            id,
            state,
            request: Arc::new(request),
            output,
            progress,
            created,
        };
        let control = Control {
            cancel: CancelFlag::new(),
            by_caller: false,
            events,
        };
        Arc::new(Self {
            job: watch::Sender::new(job),
            control: Mutex::new(control),
        })
    }

    /// Queues a job again that has ended without its dataset; leaves it alone otherwise.
    pub(super) fn ask_again(self: &Arc<Self>, shared: &Shared, records: &Records, asked: Asked) -> Result<()> {
        let mut control = lock(&self.control);
        let job = self.job.borrow().clone();
        let whole = !job.state.is_final() || job.state == JobState::Succeeded && is_sealed(&job.output)?;
        if whole && job.output != asked.output {
            return Err(Error::Elsewhere {
                id: job.id,
                output: job.output,
            });
        }
        if whole {
            return Ok(());
        }
        let queue = lock(&shared.queue);
        let queue = queue.as_ref().ok_or(Error::Stopping)?;
        control.events = records.ask_again(&job.id, control.events, asked.clone())?;
        control.cancel = CancelFlag::new();
        control.by_caller = false;
        self.job.send_modify(|job| {
            job.state = JobState::Pending;
            job.progress = JobProgress::default();
            job.request = Arc::new(asked.request);
            job.output = asked.output;
        });
        queue.send(Arc::clone(self)).map_err(|_| Error::Stopping)
    }

    /// Says, and records, that a job has ended.
    pub(super) fn end(&self, shared: &Shared, control: &mut Control, state: JobState) -> Result<()> {
        let (id, progress) = {
            let job = self.job.borrow();
            (job.id.clone(), job.progress)
        };
        self.job.send_modify(|job| job.state = state.clone());
        if let Some(records) = &shared.records {
            control.events = records.end(&id, control.events, &state, progress)?;
        }
        Ok(())
    }
}

fn is_sealed(output: &str) -> Result<bool> {
    Ok(Store::open(output)?.exists("manifest.json")?)
}
