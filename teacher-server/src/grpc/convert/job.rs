//! Jobs and how far they are.

use super::plan::{plan_message, plan_request};
use crate::jobs::{Job, JobProgress, JobState};
use decant_proto::v1;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tonic::Status;

/// The message for a job.
pub(in crate::grpc) fn job_message(job: &Job) -> v1::Job {
    let (state, failure) = match &job.state {
        JobState::Pending => (v1::JobState::Pending, ""),
        JobState::Planning => (v1::JobState::Planning, ""),
        JobState::Running => (v1::JobState::Running, ""),
        JobState::Sealing => (v1::JobState::Sealing, ""),
        JobState::Succeeded => (v1::JobState::Succeeded, ""),
        JobState::Failed(reason) => (v1::JobState::Failed, reason.as_str()),
        JobState::Cancelled => (v1::JobState::Cancelled, ""),
    };
    let JobProgress {
        shards_done,
        shards_total,
        examples_done,
        examples_total,
        positions_done,
        positions_total,
        positions_per_second,
    } = job.progress;
    v1::Job {
        id: job.id.clone(),
        state: state.into(),
        failure: failure.to_owned(),
        plan: Some(plan_message(&job.request, &job.output)),
        progress: Some(v1::JobProgress {
            shards_done,
            shards_total,
            examples_done,
            examples_total,
            positions_done,
            positions_total,
            positions_per_second,
        }),
        create_time: Some(timestamp(job.created)),
    }
}

/// A job, as a server tells it.
pub(in crate::grpc) fn job(message: v1::Job) -> Result<Job, Status> {
    let number = message.state;
    let state = match v1::JobState::try_from(number) {
        Ok(v1::JobState::Pending) => JobState::Pending,
        Ok(v1::JobState::Planning) => JobState::Planning,
        Ok(v1::JobState::Running) => JobState::Running,
        Ok(v1::JobState::Sealing) => JobState::Sealing,
        Ok(v1::JobState::Succeeded) => JobState::Succeeded,
        Ok(v1::JobState::Failed) => JobState::Failed(message.failure),
        Ok(v1::JobState::Cancelled) => JobState::Cancelled,
        Ok(v1::JobState::Unspecified) | Err(_) => {
            return Err(Status::internal(format!(
                "the server is newer: job state {number} is not known here"
            )));
        }
    };
    let (request, output) = plan_request(message.plan.unwrap_or_default())?;
    let progress = message.progress.unwrap_or_default();
    Ok(Job {
        id: message.id,
        state,
        request: Arc::new(request),
        output,
        progress: JobProgress {
            shards_done: progress.shards_done,
            shards_total: progress.shards_total,
            examples_done: progress.examples_done,
            examples_total: progress.examples_total,
            positions_done: progress.positions_done,
            positions_total: progress.positions_total,
            positions_per_second: progress.positions_per_second,
        },
        created: message.create_time.map_or(UNIX_EPOCH, time),
    })
}

fn timestamp(time: SystemTime) -> prost_types::Timestamp {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    prost_types::Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(since.subsec_nanos()).unwrap_or_default(),
    }
}

fn time(timestamp: prost_types::Timestamp) -> SystemTime {
    let seconds = Duration::from_secs(u64::try_from(timestamp.seconds).unwrap_or_default());
    let nanos = Duration::from_nanos(u64::try_from(timestamp.nanos).unwrap_or_default());
    UNIX_EPOCH.checked_add(seconds + nanos).unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planning::{PlanRequest, Source};

    #[test]
    fn a_job_survives_the_way() {
        let source = Source {
            split: "train".to_owned(),
            path: "/data/a.txt".into(),
        };
        let job_there = Job {
            id: "00ff".to_owned(),
            state: JobState::Failed("no space".to_owned()),
            request: Arc::new(PlanRequest::new(vec![source])),
            output: "/data/out".to_owned(),
            progress: JobProgress {
                shards_done: 1,
                examples_total: 2,
                positions_per_second: 3.5,
                ..Default::default()
            },
            created: UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
        };
        assert_eq!(job(job_message(&job_there)).unwrap(), job_there);
    }
}
