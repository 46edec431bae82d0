//! What the library says of its progress, shown to whoever waits.

/// One bar (or its lines) for each stage that begins; a stage ends where the next begins, or with this.
#[derive(Default)]
pub(crate) struct Listener(Option<decant_cli::Progress>);

impl decant_data::Progress for Listener {
    fn begin(&mut self, what: &str, unit: &str, total: u64) {
        // The old one first: dropping it ends its line.
        self.0 = None;
        self.0 = Some(decant_cli::Progress::new(Some(total), unit, what));
    }

    fn advance(&mut self, by: u64) {
        if let Some(progress) = &self.0 {
            progress.add(by);
        }
    }

    fn note(&mut self, message: &str) {
        decant_cli::tell(format!("note: {message}"));
    }
}
