//! Reads sealed datasets.

use crate::{Manifest, Plan, Result, Row, Store};

/// A sealed dataset.
pub struct Reader {}

impl Reader {
    /// Opens it.
    pub fn open(_store: &Store) -> Result<Self> {
        todo!()
    }
    /// Its plan.
    pub fn plan(&self) -> &Plan {
        todo!()
    }
    /// Its manifest.
    pub fn manifest(&self) -> &Manifest {
        todo!()
    }
    /// The teacher's `tokenizer.json`.
    pub fn tokenizer_json(&self) -> Option<&[u8]> {
        todo!()
    }
    /// The teacher's `config.json`.
    pub fn config_json(&self) -> &[u8] {
        todo!()
    }
    /// The names of the splits.
    pub fn splits(&self) -> Vec<&str> {
        todo!()
    }
    /// The rows of a split, in order.
    pub fn rows(&self, _split: &str) -> Result<Rows> {
        todo!()
    }
}

/// The rows of a split. The first error is the last item.
pub struct Rows {}

impl Iterator for Rows {
    type Item = Result<Row>;
    fn next(&mut self) -> Option<Self::Item> {
        todo!()
    }
}
