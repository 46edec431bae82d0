//! A running `teacher-server serve`.

use crate::Program;
use decant_proto::v1::GetTeacherRequest;
use decant_proto::v1::teacher_service_client::TeacherServiceClient;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tonic::transport::Channel;

/// How long anything that should happen soon may take before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server on a free port of loopback; killed when dropped.
pub struct Server {
    child: Child,
    /// Where it listens, such as `http://127.0.0.1:40000`.
    pub url: String,
    log: tempfile::NamedTempFile,
}

impl Server {
    /// Starts it over this teacher, with jobs under `root`, and waits until it listens (not until it serves).
    pub fn start(model: &Path, root: &Path) -> Self {
        let program = Program::teacher_server()
            .args("serve --listen 127.0.0.1:0 --model")
            .arg(model);
        Self::spawn(program.arg("--root").arg(root))
    }

    /// Starts a `serve` command with `--listen` on port 0.
    pub fn spawn(program: Program) -> Self {
        let log = tempfile::NamedTempFile::new().expect("there is room for a log");
        let mut child = program
            .into_command()
            .stdout(Stdio::piped())
            .stderr(log.reopen().expect("a file can be opened twice"))
            .spawn()
            .expect("the server starts");
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("stdout is a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("stdout can be read");
        let url = line.trim().strip_prefix("listening on ").unwrap_or_default().to_owned();
        let server = Self { child, url, log };
        assert!(
            !server.url.is_empty(),
            "the server did not say where it listens: {line:?}\n{}",
            server.log()
        );
        server
    }

    /// What it has said on stderr so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap_or_default()
    }

    /// A client, once the teacher has answered its first forward pass.
    pub async fn client(&mut self) -> TeacherServiceClient<Channel> {
        let endpoint = Channel::from_shared(self.url.clone()).expect("the server says where it listens as a URL");
        let begun = Instant::now();
        loop {
            if let Ok(channel) = endpoint.connect().await {
                let mut client = TeacherServiceClient::new(channel);
                match client.get_teacher(GetTeacherRequest {}).await {
                    Ok(_) => return client,
                    Err(status) if status.code() == tonic::Code::Unavailable => {}
                    Err(status) => panic!("{status}\n{}", self.log()),
                }
            }
            let over = begun.elapsed() > PATIENCE || self.child.try_wait().is_ok_and(|status| status.is_some());
            assert!(!over, "the server does not serve\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Sends SIGTERM and waits for the end.
    pub fn terminate(mut self) -> ExitStatus {
        signal(&self.child, libc::SIGTERM);
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "the server does not end\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends SIGKILL and waits for the end.
    pub fn kill(mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be waited for");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the server\n{}", self.log());
        }
    }
}

#[allow(unsafe_code)] // std cannot send a signal
fn signal(child: &Child, signal: libc::c_int) {
    // SAFETY: kill takes two numbers; the child has not been waited for, so the id is still its own
    let sent = unsafe { libc::kill(child.id() as libc::pid_t, signal) };
    assert_eq!(sent, 0, "a child can be signalled");
}

/// Asks again and again until `found` gives something.
///
/// # Panics
/// When that takes far longer than it should.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut found: impl FnMut() -> F) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = found().await {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "this did not happen: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
