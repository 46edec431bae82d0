//! The server: health first, then the teacher, then an end that takes a bounded time.

use super::auth::Auth;
use super::error::{Error, Result};
use super::listen::{Settings, Tls};
use super::service::Service;
use super::{Ready, stopping};
use decant_proto::v1::teacher_service_server::TeacherServiceServer;
use decant_proto::{FILE_DESCRIPTOR_SET, MAX_MESSAGE_BYTES};
use std::io::Write;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::server::{Router, TcpIncoming};
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// Calls that one connection may have open.
const MAX_CONCURRENT_STREAMS: u32 = 128;

/// A connection that has been silent so long is asked whether it is there, and dropped if it does not say so in time.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));

/// Bytes under way to the server in one stream and one connection.
const WINDOWS: (u32, u32) = (1024 * 1024, 4 * 1024 * 1024);

/// Serves until `shutdown` completes, and then until what is in flight has ended, at most [`Settings::grace`] longer.
///
/// The address is on stdout, in one line `listening on URL`, once callers can connect. Health answers from then on:
/// NOT_SERVING until `start`, which runs on a thread of its own, has given what is to be served.
///
/// # Errors
/// What `start` fails with; a certificate that cannot be used; a listener that fails.
pub async fn run(
    listener: TcpListener,
    settings: Settings,
    start: impl FnOnce() -> Result<Ready> + Send + 'static,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<()> {
    let address = listener.local_addr().map_err(Error::Runtime)?;
    let ready = Arc::new(OnceLock::new());
    let (stop, stopping) = stopping::pair();
    let (health, health_service) = tonic_health::server::health_reporter();
    say(&health, ServingStatus::NotServing).await;
    let router = router(&settings, Service::new(Arc::clone(&ready), stopping.clone()))?.add_service(health_service);

    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let mut stopping = stopping;
    let until_stopping = async move { stopping.begun().await };
    let mut server = tokio::spawn(router.serve_with_incoming_shutdown(incoming, until_stopping));
    announce(address, settings.tls.is_some());

    let mut loading = on_own_thread("start", start)?;
    let mut loaded = false;
    let mut shutdown = std::pin::pin!(shutdown);
    let result = loop {
        tokio::select! {
            started = &mut loading, if !loaded => match started.unwrap_or(Err(Error::Lost)) {
                Ok(started) => {
                    loaded = true;
                    let _ = ready.set(Arc::new(started)); // set here alone
                    say(&health, ServingStatus::Serving).await;
                    tracing::info!("serving");
                }
                Err(error) => break Err(error),
            },
            () = &mut shutdown => break Ok(()),
            // a server without its teacher serves nobody; whoever started it can start it again
            () = ended(&ready), if loaded => break Err(Error::TeacherEnded),
            ended = &mut server => return ended.unwrap_or(Ok(())).map_err(Error::Transport),
        }
    };

    tracing::info!("stopping; no new work is taken");
    say(&health, ServingStatus::NotServing).await;
    stop.begin();
    let jobs_stopped = match ready.get().cloned() {
        Some(ready) => {
            ready.jobs.stop();
            Some(on_own_thread("stop", move || ready.jobs.join())?)
        }
        None => None,
    };
    let drained = async {
        if let Some(stopped) = jobs_stopped {
            let _ = stopped.await; // an error: the thread panicked, which it has logged
        }
        // hyper may never see the end of a connection that its other side keeps open: hence the timer around it
        let _ = (&mut server).await;
    };
    if tokio::time::timeout(settings.grace, drained).await.is_err() {
        tracing::warn!(seconds = settings.grace.as_secs(), "what was still open is dropped");
    }
    server.abort();
    result
}

/// Waits for the end of a teacher that is there.
async fn ended(ready: &OnceLock<Arc<Ready>>) {
    match ready.get() {
        Some(ready) => ready.teacher.ended().await,
        None => std::future::pending().await,
    }
}

fn router(settings: &Settings, service: Service) -> Result<Router> {
    let auth = Auth(settings.token.clone());
    let service = TeacherServiceServer::new(service)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let built = "the descriptor sets come from the build";
    let reflection_v1 = reflection().build_v1().expect(built);
    let reflection_v1alpha = reflection().build_v1alpha().expect(built);

    let mut server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE.0))
        .http2_keepalive_timeout(Some(KEEPALIVE.1))
        .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        .concurrency_limit_per_connection(MAX_CONCURRENT_STREAMS as usize)
        .initial_stream_window_size(WINDOWS.0)
        .initial_connection_window_size(WINDOWS.1);
    if let Some(Tls { certificate, key }) = &settings.tls {
        let identity = Identity::from_pem(certificate, key);
        server = server
            .tls_config(ServerTlsConfig::new().identity(identity))
            .map_err(Error::Tls)?;
    }
    Ok(server
        .add_service(InterceptedService::new(service, auth.clone()))
        .add_service(InterceptedService::new(reflection_v1, auth.clone()))
        .add_service(InterceptedService::new(reflection_v1alpha, auth)))
}

/// Health, for the server as a whole and for its service: tonic's own default for the former is SERVING.
async fn say(health: &HealthReporter, status: ServingStatus) {
    health.set_service_status("", status).await;
    health.set_service_status(decant_proto::SERVICE_NAME, status).await;
}

fn announce(address: std::net::SocketAddr, tls: bool) {
    let scheme = if tls { "https" } else { "http" };
    let mut out = std::io::stdout().lock();
    // nobody may be reading; that is no reason not to serve
    let _ = writeln!(out, "listening on {scheme}://{address}").and_then(|()| out.flush());
}

/// Runs something long on a thread of its own: nothing waits for it when the process ends.
fn on_own_thread<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<oneshot::Receiver<T>> {
    let (done, result) = oneshot::channel();
    let thread = std::thread::Builder::new().name(name.to_owned());
    let run = move || drop(done.send(run())); // nobody may be waiting any more
    thread.spawn(run).map_err(Error::Runtime)?;
    Ok(result)
}
