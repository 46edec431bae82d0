//! The teacher and its jobs over gRPC: `decant.v1.TeacherService`, with health and reflection.
//!
//! Everything that knows tonic lives in this folder; what it serves ([`Ready`]) does not, and what it calls over the
//! network ([`Remote`]) is spoken to in the words of [`crate::jobs`]. [`serve`] is the subcommand, [`run`] the server.

mod auth;
mod convert;
mod deadline;
mod error;
mod listen;
mod parts;
mod remote;
mod score;
mod server;
mod service;
mod status;
mod stopping;

pub use auth::Token;
pub use error::{Error, Result};
pub use listen::{Settings, Tls, bind};
pub use remote::{Credentials, Remote, RemoteError, Watching};
pub use server::run;

use crate::args::ServeArgs;
use crate::jobs::{Jobs, Roots};
use crate::teacher::{Profile, Teacher};
use std::io::IsTerminal;
use std::time::Duration;

/// What is served once the teacher answers.
pub struct Ready {
    /// The teacher.
    pub teacher: Teacher,
    /// Its jobs.
    pub jobs: Jobs,
}

impl Ready {
    /// Loads the weights, asks the teacher for a first answer, and starts its jobs.
    ///
    /// # Errors
    /// Those of [`Teacher::load`], [`Teacher::probe`] and [`Jobs::start`].
    pub fn start(profile: Profile, roots: Roots) -> Result<Self> {
        let teacher = Teacher::load(profile).map_err(crate::Error::from)?;
        teacher.probe().map_err(crate::Error::from)?;
        let jobs = Jobs::start(teacher.clone(), roots)?;
        Ok(Self { teacher, jobs })
    }
}

/// Runs `serve` until SIGTERM or SIGINT.
///
/// # Errors
/// Settings that are not safe, an address that cannot be had, a teacher that cannot be loaded.
pub fn serve(args: &ServeArgs) -> Result<()> {
    log(&args.log)?;
    let settings = Settings::from_args(args)?;
    let roots = Roots::new(&args.roots)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Error::Runtime)?;
    let result = runtime.block_on(async {
        let shutdown = crate::signals::first_of_two().map_err(Error::Runtime)?;
        let listener = bind(args.listen).await?;
        let (model, dtype, device) = (
            args.model.model.clone(),
            args.model.dtype.clone(),
            args.model.device.clone(),
        );
        let start = move || {
            let profile = Profile::open(&model, &dtype, &device).map_err(crate::Error::from)?;
            Ready::start(profile, roots)
        };
        run(listener, settings, start, shutdown).await
    });
    // what still blocks a thread here is work that nobody waits for
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// Logs to stderr, for the whole process.
fn log(filter: &str) -> Result<()> {
    let wrong = |error: tracing_subscriber::filter::ParseError| Error::Log(filter.to_owned(), error.to_string());
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .with_env_filter(tracing_subscriber::EnvFilter::try_new(filter).map_err(wrong)?)
        .init();
    Ok(())
}
