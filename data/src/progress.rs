//! How long work says where it is, without knowing who listens.

/// Hears of the progress of [`seal`](crate::seal) and [`verify`](crate::verify).
pub trait Progress {
    /// A stage begins: what is done, in which unit, and how many of it there are.
    fn begin(&mut self, what: &str, unit: &str, total: u64);
    /// So many units more are done.
    fn advance(&mut self, by: u64);
    /// Something that a person should know, in one line.
    fn note(&mut self, message: &str);
}

/// Nobody listens.
impl Progress for () {
    fn begin(&mut self, _what: &str, _unit: &str, _total: u64) {}
    fn advance(&mut self, _by: u64) {}
    fn note(&mut self, _message: &str) {}
}
