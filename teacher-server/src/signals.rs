//! SIGTERM and SIGINT: the first asks for a graceful end, the second ends at once.

use crate::capture::CancelFlag;
use std::io;
use tokio::signal::unix::{SignalKind, signal};

/// What a process that a signal ended exits with: 128 + SIGTERM, as shells have it.
const ABORTED: i32 = 143;

/// Completes at the first signal. At the second the process ends where it stands: what is committed is whole on disk,
/// and nothing trusts what is not. To be called, and awaited, inside a runtime.
pub(crate) fn first_of_two() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! { _ = terminate.recv() => {} _ = interrupt.recv() => {} }
        tokio::spawn(async move {
            tokio::select! { _ = terminate.recv() => {} _ = interrupt.recv() => {} }
            decant_cli::tell("second signal; ending at once");
            std::process::exit(ABORTED);
        });
    })
}

/// A flag that the first signal raises, for a process without a runtime of its own.
pub(crate) fn cancel_at_first() -> io::Result<CancelFlag> {
    let cancel = CancelFlag::new();
    let raised = cancel.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let first = {
        let _inside = runtime.enter();
        first_of_two()?
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            first.await;
            decant_cli::tell(
                "stopping: the shard under way is dropped, what is committed stays; once more ends at once",
            );
            raised.cancel();
            std::future::pending::<()>().await; // the second signal is heard by a task of this runtime
        });
    })?;
    Ok(cancel)
}
