//! The calls of `TeacherService`, each a few lines over [`Ready`].

use super::stopping::Stopping;
use super::{Ready, convert, deadline, score, status};
use crate::jobs::Job;
use decant_proto::v1::teacher_service_server::TeacherService;
use decant_proto::{MAX_MESSAGE_BYTES, v1};
use prost::Message as _;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

/// `Score` streams that are open at once.
pub(super) const MAX_SCORE_STREAMS: usize = 16;

/// Jobs of one page, at most.
const PAGE: usize = 100;

/// Room of a page for everything but its jobs.
const PAGE_FRAME_BYTES: usize = 1024;

/// Shortest time between two messages of a `WatchJob`.
const WATCH_EVERY: Duration = Duration::from_millis(250);

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The service: what it offers once it is there, and whether it is ending.
pub(super) struct Service {
    ready: Arc<OnceLock<Arc<Ready>>>,
    stopping: Stopping,
    streams: Arc<Semaphore>,
}

impl Service {
    pub(super) fn new(ready: Arc<OnceLock<Arc<Ready>>>, stopping: Stopping) -> Self {
        Self {
            ready,
            stopping,
            streams: Arc::new(Semaphore::new(MAX_SCORE_STREAMS)),
        }
    }

    fn ready(&self) -> Result<Arc<Ready>, Status> {
        if self.stopping.has_begun() {
            return Err(status::stopping());
        }
        self.ready.get().cloned().ok_or_else(status::loading)
    }

    /// Runs a call that reads or writes files where that is allowed.
    async fn blocking<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Ready) -> crate::jobs::Result<T> + Send + 'static,
    ) -> Result<T, Status> {
        let ready = self.ready()?;
        let called = tokio::task::spawn_blocking(move || call(&ready)).await;
        let result =
            called.map_err(|_| Status::internal("the call ended in a bug of the server; its log says where"))?;
        result.map_err(|error| status::of_job(&error))
    }
}

#[tonic::async_trait]
impl TeacherService for Service {
    type ScoreStream = Answers<v1::ScoreResponse>;
    type WatchJobStream = Answers<v1::WatchJobResponse>;

    async fn get_teacher(
        &self,
        _request: Request<v1::GetTeacherRequest>,
    ) -> Result<Response<v1::GetTeacherResponse>, Status> {
        let teacher = convert::teacher_message(&self.ready()?.teacher);
        Ok(Response::new(v1::GetTeacherResponse { teacher: Some(teacher) }))
    }

    async fn score(
        &self,
        request: Request<Streaming<v1::ScoreRequest>>,
    ) -> Result<Response<Self::ScoreStream>, Status> {
        let ready = self.ready()?;
        let permit = Arc::clone(&self.streams).try_acquire_owned().map_err(|_| {
            Status::resource_exhausted(format!(
                "{MAX_SCORE_STREAMS} Score streams are open already; try again later"
            ))
        })?;
        let deadline = deadline::of(request.metadata())?;
        let (sender, receiver) = mpsc::channel(score::ANSWERS);
        let stopping = self.stopping.clone();
        tokio::spawn(async move {
            score::run(ready.teacher.clone(), request.into_inner(), sender, stopping).await;
            drop(permit);
        });
        Ok(Response::new(Box::pin(deadline::stream(receiver, deadline))))
    }

    async fn create_job(
        &self,
        request: Request<v1::CreateJobRequest>,
    ) -> Result<Response<v1::CreateJobResponse>, Status> {
        let plan = request
            .into_inner()
            .plan
            .ok_or_else(|| Status::invalid_argument("the request holds no plan"))?;
        let (request, output) = convert::plan_request(plan)?;
        let job = self.blocking(move |ready| ready.jobs.create(request, &output)).await?;
        Ok(Response::new(v1::CreateJobResponse {
            job: Some(convert::job_message(&job)),
        }))
    }

    async fn get_job(&self, request: Request<v1::GetJobRequest>) -> Result<Response<v1::GetJobResponse>, Status> {
        let id = request.into_inner().id;
        let job = self.ready()?.jobs.get(&id).map_err(|error| status::of_job(&error))?;
        Ok(Response::new(v1::GetJobResponse {
            job: Some(convert::job_message(&job)),
        }))
    }

    async fn list_jobs(&self, request: Request<v1::ListJobsRequest>) -> Result<Response<v1::ListJobsResponse>, Status> {
        let v1::ListJobsRequest { page_size, page_token } = request.into_inner();
        // jobs are never removed and new ones come last, so a count is a place that stays
        let start = match page_token.as_str() {
            "" => 0,
            token => token
                .parse::<usize>()
                .map_err(|_| Status::invalid_argument("page_token is not one of this server's"))?,
        };
        let size = match page_size as usize {
            0 => PAGE,
            size => size.min(PAGE),
        };
        let jobs = self.ready()?.jobs.list();
        let page = page(jobs.iter().skip(start).take(size).map(convert::job_message));
        let next = start.saturating_add(page.len());
        let next_page_token = if next < jobs.len() {
            next.to_string()
        } else {
            String::new()
        };
        Ok(Response::new(v1::ListJobsResponse {
            jobs: page,
            next_page_token,
        }))
    }

    async fn cancel_job(
        &self,
        request: Request<v1::CancelJobRequest>,
    ) -> Result<Response<v1::CancelJobResponse>, Status> {
        let id = request.into_inner().id;
        let job = self.blocking(move |ready| ready.jobs.cancel(&id)).await?;
        Ok(Response::new(v1::CancelJobResponse {
            job: Some(convert::job_message(&job)),
        }))
    }

    async fn watch_job(&self, request: Request<v1::WatchJobRequest>) -> Result<Response<Self::WatchJobStream>, Status> {
        let ready = self.ready()?;
        let deadline = deadline::of(request.metadata())?;
        let job = ready
            .jobs
            .watch(&request.into_inner().id)
            .map_err(|error| status::of_job(&error))?;
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(watch_job(job, sender, self.stopping.clone()));
        Ok(Response::new(Box::pin(deadline::stream(receiver, deadline))))
    }
}

/// As many jobs as one message holds, and at least one.
fn page(jobs: impl Iterator<Item = v1::Job>) -> Vec<v1::Job> {
    let mut bytes = 0;
    let mut page = Vec::new();
    for job in jobs {
        // a field's tag and length come before it
        bytes += job.encoded_len() + 8;
        if bytes > MAX_MESSAGE_BYTES - PAGE_FRAME_BYTES && !page.is_empty() {
            break;
        }
        page.push(job);
    }
    page
}

/// Sends a job as it moves on, until it has ended, nobody listens, or the server stops.
async fn watch_job(
    mut job: watch::Receiver<Job>,
    answers: mpsc::Sender<Result<v1::WatchJobResponse, Status>>,
    mut stopping: Stopping,
) {
    loop {
        let now = job.borrow_and_update().clone();
        let message = v1::WatchJobResponse {
            job: Some(convert::job_message(&now)),
        };
        if answers.send(Ok(message)).await.is_err() || now.state.is_final() {
            return;
        }
        tokio::select! {
            moved = async { tokio::time::sleep(WATCH_EVERY).await; job.changed().await } => if moved.is_err() { return },
            () = answers.closed() => return,
            () = stopping.begun() => {
                let _ = answers.send(Err(status::stopping())).await; // the caller may have gone
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_one_message_however_long_its_jobs_are() {
        let job = |failure: usize| v1::Job {
            failure: "x".repeat(failure),
            ..Default::default()
        };
        let size = |jobs: &[v1::Job]| {
            let response = v1::ListJobsResponse {
                jobs: jobs.to_vec(),
                next_page_token: usize::MAX.to_string(),
            };
            response.encoded_len()
        };
        let jobs = vec![job(900_000); 5];
        let first = page(jobs.iter().cloned());
        assert_eq!(first.len(), 2);
        assert!(size(&first) <= MAX_MESSAGE_BYTES);
        assert_eq!(page(vec![job(10); 100].into_iter()).len(), 100);
        assert_eq!(page(vec![job(3_000_000); 2].into_iter()).len(), 1);
        assert!(page(std::iter::empty()).is_empty());
    }
}
