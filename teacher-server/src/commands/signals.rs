//! What SIGTERM and SIGINT do to a capture: the first drops the attempt whole, the second ends the process at once.

use crate::capture::CancelFlag;
use crate::{Error, Result};
use tokio::signal::unix::{SignalKind, signal};

/// What a process that a signal ended exits with: 128 + SIGTERM, as shells have it.
const ABORTED: i32 = 143;

/// A flag that the first SIGTERM or SIGINT raises.
pub(super) fn cancel_on_signal() -> Result<CancelFlag> {
    let cancel = CancelFlag::new();
    let raised = cancel.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .map_err(Error::Signals)?;
    let (mut terminate, mut interrupt) = {
        let _inside = runtime.enter();
        (
            signal(SignalKind::terminate()).map_err(Error::Signals)?,
            signal(SignalKind::interrupt()).map_err(Error::Signals)?,
        )
    };
    let listen = move || {
        runtime.block_on(async {
            for heard in 0.. {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                if heard > 0 {
                    std::process::exit(ABORTED);
                }
                eprintln!(
                    "stopping: the shard under way is dropped, what is committed stays; once more aborts at once"
                );
                raised.cancel();
            }
        });
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(listen)
        .map_err(Error::Signals)?;
    Ok(cancel)
}
