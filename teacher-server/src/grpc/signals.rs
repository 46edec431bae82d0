//! SIGTERM and SIGINT: the first asks for a graceful end, the second ends at once.

use super::error::{Error, Result};
use tokio::signal::unix::{SignalKind, signal};

/// What a process that a signal ended exits with: 128 + SIGTERM, as shells have it.
const ABORTED: i32 = 143;

/// Completes at the first signal. At the second the process ends where it stands: what is committed is whole on disk,
/// what is not is cleared away by the next run.
pub(super) fn first_of_two() -> Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Runtime)?;
    Ok(async move {
        tokio::select! { _ = terminate.recv() => {} _ = interrupt.recv() => {} }
        tokio::spawn(async move {
            tokio::select! { _ = terminate.recv() => {} _ = interrupt.recv() => {} }
            tracing::warn!("second signal; ending at once");
            std::process::exit(ABORTED);
        });
    })
}
