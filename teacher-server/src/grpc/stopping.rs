//! The end of the server, for whoever must hear of it.

use tokio::sync::watch;

/// Says that the server is stopping.
pub(super) struct Stop(watch::Sender<bool>);

/// Hears that the server is stopping.
#[derive(Clone)]
pub(super) struct Stopping(watch::Receiver<bool>);

/// Both ends.
pub(super) fn pair() -> (Stop, Stopping) {
    let (sender, receiver) = watch::channel(false);
    (Stop(sender), Stopping(receiver))
}

impl Stop {
    pub(super) fn begin(&self) {
        self.0.send_replace(true);
    }
}

impl Stopping {
    /// Whether it has begun.
    pub(super) fn has_begun(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it begins.
    pub(super) async fn begun(&mut self) {
        // an error: the server is gone altogether
        drop(self.0.wait_for(|stopping| *stopping).await);
    }
}
