//! A server in this process and clients for it.

use crate::fixtures;
use decant_proto::v1;
use decant_proto::v1::teacher_service_client::TeacherServiceClient;
use std::path::{Path, PathBuf};
use std::time::Duration;
use teacher_server::grpc::{self, Ready, Settings};
use teacher_server::jobs::Roots;
use teacher_server::teacher::Profile;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::Code;
use tonic::transport::Channel;

pub(crate) type Client = TeacherServiceClient<Channel>;

/// How long anything that should happen soon may take before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(120);

/// A teacher, a root, and what lies under it.
pub(crate) struct Place {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) model: PathBuf,
    pub(crate) root: PathBuf,
}

impl Place {
    pub(crate) fn with(model: impl FnOnce(&Path) -> PathBuf) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let model = model(dir.path());
        let root = dir.path().canonicalize().unwrap().join("root");
        std::fs::create_dir(&root).unwrap();
        Self { dir, model, root }
    }

    pub(crate) fn decoder() -> Self {
        Self::with(|dir| fixtures::decoder(dir, 1))
    }

    /// A decoder and `count` documents in `documents.jsonl` under the root.
    pub(crate) fn documents(count: usize) -> Self {
        let place = Self::decoder();
        fixtures::documents(&place.root.join("documents.jsonl"), count);
        place
    }

    pub(crate) async fn serve(&self) -> Server {
        Server::start(&self.model, &self.root, Settings::default()).await
    }
}

/// A server that serves.
pub(crate) struct Server {
    pub(crate) url: String,
    shutdown: oneshot::Sender<()>,
    task: JoinHandle<grpc::Result<()>>,
}

impl Server {
    /// Starts a server and waits until it serves.
    pub(crate) async fn start(model: &Path, root: &Path, settings: Settings) -> Self {
        let (model, roots) = (model.to_owned(), Roots::new(&[root.to_str().unwrap()]).unwrap());
        let token = settings.token.is_some() || settings.tls.is_some();
        let server = Self::start_with(settings, move || {
            let profile = Profile::open(&model, "f32", "cpu").map_err(teacher_server::Error::from)?;
            Ready::start(profile, roots)
        })
        .await;
        if !token {
            server.client().await;
        }
        server
    }

    /// Starts a server that becomes ready as `start` says.
    pub(crate) async fn start_with(
        settings: Settings,
        start: impl FnOnce() -> grpc::Result<Ready> + Send + 'static,
    ) -> Self {
        let listener = grpc::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let scheme = if settings.tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let (shutdown, told) = oneshot::channel();
        let told = async move { drop(told.await) };
        let task = tokio::spawn(grpc::run(listener, settings, start, told));
        Self { url, shutdown, task }
    }

    /// A client, once the server serves.
    pub(crate) async fn client(&self) -> Client {
        let mut client = self.early_client().await;
        until("the server serves", async || {
            match client.get_teacher(v1::GetTeacherRequest {}).await {
                Ok(_) => Some(()),
                Err(status) if status.code() == Code::Unavailable => None,
                Err(status) => panic!("{status}"),
            }
        })
        .await;
        client
    }

    /// A client, though the teacher may still load.
    pub(crate) async fn early_client(&self) -> Client {
        TeacherServiceClient::connect(self.url.clone()).await.unwrap()
    }

    /// Begins the shutdown.
    pub(crate) fn begin_end(self) -> JoinHandle<grpc::Result<()>> {
        self.shutdown.send(()).unwrap();
        self.task
    }

    /// Stops the server and waits for its end.
    pub(crate) async fn end(self) {
        tokio::time::timeout(PATIENCE, self.begin_end())
            .await
            .expect("the server ends")
            .unwrap()
            .unwrap();
    }

    /// Waits for a server that ends by itself.
    pub(crate) async fn ended(self) -> grpc::Result<()> {
        let Self {
            task, shutdown: _told, ..
        } = self;
        tokio::time::timeout(PATIENCE, task)
            .await
            .expect("the server ends")
            .unwrap()
    }
}

/// Asks again and again until `found` gives something.
pub(crate) async fn until<T>(what: &str, mut found: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            match found().await {
                Some(found) => return found,
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, asking)
        .await
        .unwrap_or_else(|_| panic!("this did not happen: {what}"))
}

/// What to precompute: documents, by paths relative to the root.
pub(crate) fn plan(output: &str) -> v1::PlanOptions {
    v1::PlanOptions {
        sources: vec![v1::Source {
            split: "train".to_owned(),
            path: "documents.jsonl".to_owned(),
        }],
        output: output.to_owned(),
        top_k: Some(4),
        temperatures: vec![1.0, 2.0],
        examples_per_shard: Some(3),
        ..Default::default()
    }
}

/// Creates a job.
pub(crate) async fn create(client: &mut Client, plan: v1::PlanOptions) -> Result<v1::Job, tonic::Status> {
    let answer = client.create_job(v1::CreateJobRequest { plan: Some(plan) }).await?;
    Ok(answer.into_inner().job.unwrap())
}

/// A job as it stands.
pub(crate) async fn get(client: &mut Client, id: &str) -> v1::Job {
    let answer = client.get_job(v1::GetJobRequest { id: id.to_owned() }).await.unwrap();
    answer.into_inner().job.unwrap()
}

/// Follows a job to its end.
pub(crate) async fn watch(client: &mut Client, id: &str) -> Vec<v1::Job> {
    let mut stream = client
        .watch_job(v1::WatchJobRequest { id: id.to_owned() })
        .await
        .unwrap()
        .into_inner();
    let mut seen = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        seen.push(message.job.unwrap());
    }
    seen
}
