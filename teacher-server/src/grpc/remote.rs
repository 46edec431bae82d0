//! A server somewhere else, spoken to in the words of [`crate::jobs`].

use super::auth::Token;
use super::convert;
use crate::jobs::Job;
use crate::planning::PlanRequest;
use decant_data::Kind;
use decant_proto::MAX_MESSAGE_BYTES;
use decant_proto::v1;
use decant_proto::v1::teacher_service_client::TeacherServiceClient;
use std::error::Error as _;
use std::time::Duration;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status, Streaming};

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// A silent connection is asked so often whether it is there, and given up after so long without an answer.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));

/// What a caller shows, and whom it trusts.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// The token to show.
    pub token: Option<Token>,
    /// In PEM, what vouches for the server's certificate; needed for https.
    pub ca_certificate: Option<Vec<u8>>,
}

/// Why a server did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The address is none.
    #[error("--server {server}: {reason}")]
    Address {
        /// The address.
        server: String,
        /// What is wrong with it, and the mend.
        reason: String,
    },

    /// There is no connection, or it broke.
    #[error("no connection to {server}: {reason}")]
    Unreachable {
        /// The address.
        server: String,
        /// What happened.
        reason: String,
    },

    /// The server refuses.
    #[error("{message}")]
    Refused {
        /// What the caller should do.
        kind: Kind,
        /// The server's words.
        message: String,
    },
}

impl RemoteError {
    /// What the caller should do.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Address { .. } => Kind::FixInput,
            Self::Unreachable { .. } => Kind::Retry,
            Self::Refused { kind, .. } => *kind,
        }
    }
}

/// A connection to a server.
pub struct Remote {
    server: String,
    client: TeacherServiceClient<InterceptedService<Channel, Show>>,
}

/// A job of a server, as it moves on.
pub struct Watching {
    server: String,
    jobs: Streaming<v1::WatchJobResponse>,
}

impl Remote {
    /// Connects to `http://HOST:PORT` or `https://HOST:PORT`.
    ///
    /// # Errors
    /// An address or a certificate that cannot be used; nobody there.
    pub async fn connect(server: &str, credentials: &Credentials) -> Result<Self, RemoteError> {
        let wrong = |reason: String| RemoteError::Address {
            server: server.to_owned(),
            reason,
        };
        let mut endpoint = Endpoint::from_shared(server.to_owned())
            .map_err(|error| wrong(format!("not a URL such as http://127.0.0.1:50051: {}", causes(&error))))?
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(KEEPALIVE.0)
            .keep_alive_timeout(KEEPALIVE.1);
        match (endpoint.uri().scheme_str(), &credentials.ca_certificate) {
            (Some("http"), _) => {}
            (Some("https"), Some(pem)) => {
                let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem));
                endpoint = endpoint.tls_config(tls).map_err(|error| wrong(causes(&error)))?;
            }
            (Some("https"), None) => return Err(wrong("https needs --ca-cert".to_owned())),
            _ => return Err(wrong("the address begins with http:// or https://".to_owned())),
        }
        let channel = endpoint.connect().await.map_err(|error| RemoteError::Unreachable {
            server: server.to_owned(),
            reason: causes(&error),
        })?;
        let show = Show::new(credentials.token.as_ref()).map_err(wrong)?;
        let client = TeacherServiceClient::with_interceptor(channel, show)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Ok(Self {
            server: server.to_owned(),
            client,
        })
    }

    /// Creates a job, or finds it. Paths are the server's.
    ///
    /// # Errors
    /// The server refuses, or cannot be reached.
    pub async fn create(&mut self, request: &PlanRequest, output: &str) -> Result<Job, RemoteError> {
        let plan = Some(convert::plan_message(request, output));
        let answer = self.client.create_job(v1::CreateJobRequest { plan }).await;
        self.job(answer.map(|answer| answer.into_inner().job))
    }

    /// All jobs of the server, oldest first.
    ///
    /// # Errors
    /// The server refuses, or cannot be reached.
    pub async fn list(&mut self) -> Result<Vec<Job>, RemoteError> {
        let mut jobs = Vec::new();
        let mut page_token = String::new();
        loop {
            let answer = self
                .client
                .list_jobs(v1::ListJobsRequest {
                    page_size: 0,
                    page_token,
                })
                .await;
            let page = answer.map_err(|status| refused(&self.server, &status))?.into_inner();
            for job in page.jobs {
                jobs.push(self.job(Ok(Some(job)))?);
            }
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(jobs);
            }
        }
    }

    /// Stops a job.
    ///
    /// # Errors
    /// No such job; the server refuses, or cannot be reached.
    pub async fn cancel(&mut self, id: &str) -> Result<Job, RemoteError> {
        let answer = self.client.cancel_job(v1::CancelJobRequest { id: id.to_owned() }).await;
        self.job(answer.map(|answer| answer.into_inner().job))
    }

    /// Follows a job.
    ///
    /// # Errors
    /// No such job; the server refuses, or cannot be reached.
    pub async fn watch(&mut self, id: &str) -> Result<Watching, RemoteError> {
        let answer = self.client.watch_job(v1::WatchJobRequest { id: id.to_owned() }).await;
        let jobs = answer.map_err(|status| refused(&self.server, &status))?.into_inner();
        Ok(Watching {
            server: self.server.clone(),
            jobs,
        })
    }

    fn job(&self, answer: Result<Option<v1::Job>, Status>) -> Result<Job, RemoteError> {
        job(&self.server, answer)
    }
}

impl Watching {
    /// The job as it stands now, waited for; `None` after its end.
    ///
    /// # Errors
    /// The server stops, or cannot be reached any more.
    pub async fn next(&mut self) -> Result<Option<Job>, RemoteError> {
        match self.jobs.message().await {
            Ok(None) => Ok(None),
            Ok(Some(message)) => job(&self.server, Ok(message.job)).map(Some),
            Err(status) => Err(refused(&self.server, &status)),
        }
    }
}

fn job(server: &str, answer: Result<Option<v1::Job>, Status>) -> Result<Job, RemoteError> {
    let message = answer.and_then(|job| job.ok_or_else(|| Status::internal("the answer holds no job")));
    message
        .and_then(convert::job)
        .map_err(|status| refused(server, &status))
}

/// What a status means to its caller. One with a cause is our own side's: the connection broke.
fn refused(server: &str, status: &Status) -> RemoteError {
    if status.source().is_some() {
        return RemoteError::Unreachable {
            server: server.to_owned(),
            reason: causes(status),
        };
    }
    let kind = match status.code() {
        Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted | Code::Cancelled => Kind::Retry,
        Code::Aborted => Kind::Fenced,
        Code::DataLoss => Kind::FixData,
        Code::Unimplemented => Kind::Unsupported,
        Code::Internal | Code::Unknown => Kind::Bug,
        _ => Kind::FixInput,
    };
    RemoteError::Refused {
        kind,
        message: status.message().to_owned(),
    }
}

/// An error and its causes in one line; of a status, its message and not its debug text.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    match error.downcast_ref::<Status>() {
        Some(status) => status.message().to_owned(),
        None => decant_cli::error_line(error).trim_start_matches("error: ").to_owned(),
    }
}

/// Shows the token with every call.
#[derive(Clone)]
struct Show(Option<MetadataValue<Ascii>>);

impl Show {
    fn new(token: Option<&Token>) -> Result<Self, String> {
        let header = |token: &Token| {
            let mut header =
                MetadataValue::try_from(token.header()).map_err(|_| "the token cannot be sent".to_owned())?;
            header.set_sensitive(true);
            Ok::<_, String>(header)
        };
        token.map(header).transpose().map(Self)
    }
}

impl Interceptor for Show {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(header) = &self.0 {
            request.metadata_mut().insert("authorization", header.clone());
        }
        Ok(request)
    }
}
