//! Follows a job to its end.

use super::{Error, Result, print};
use crate::grpc::Remote;
use crate::jobs::{Job, JobState};
use decant_cli::{Progress, tell};

/// Shows how a job goes on, and prints where its dataset is once it is whole.
pub(super) async fn to_the_end(remote: &mut Remote, id: &str) -> Result<()> {
    let mut watching = remote.watch(id).await?;
    let mut shown = Shown::default();
    while let Some(job) = watching.next().await? {
        shown.show(&job);
        match job.state {
            JobState::Succeeded => {
                return print(&job.output);
            }
            JobState::Failed(reason) => return Err(Error::Failed { id: job.id, reason }),
            JobState::Cancelled => return Err(Error::Cancelled { id: job.id }),
            JobState::Pending | JobState::Planning | JobState::Running | JobState::Sealing => {}
        }
    }
    Err(Error::Left { id: id.to_owned() })
}

/// What was shown last: a line for a state, a bar while the teacher runs.
#[derive(Default)]
struct Shown {
    state: Option<JobState>,
    bar: Option<Progress>,
}

impl Shown {
    fn show(&mut self, job: &Job) {
        let progress = job.progress;
        if job.state == JobState::Running {
            let begin = || {
                let total = Some(progress.positions_total);
                Progress::new(total, "positions", "capturing").already(progress.positions_done)
            };
            self.bar.get_or_insert_with(begin).set(progress.positions_done);
        } else if let Some(bar) = self.bar.take() {
            bar.set(progress.positions_done);
            bar.finish();
        }
        if self.state.as_ref() != Some(&job.state) {
            self.say(job);
            self.state = Some(job.state.clone());
        }
    }

    fn say(&self, job: &Job) {
        let id = &job.id;
        match job.state {
            JobState::Pending => tell(format!("job {id} waits for the jobs before it")),
            JobState::Planning => tell(format!("job {id} reads and cuts its inputs")),
            JobState::Sealing => tell(format!("job {id} seals its dataset")),
            JobState::Succeeded => tell(format!("job {id} is done")),
            JobState::Running | JobState::Failed(_) | JobState::Cancelled => {}
        }
    }
}
