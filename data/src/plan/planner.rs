//! Makes a plan from examples as they come.

use crate::{Counts, Dataset, Example, PlanSpec, Result, Store};

/// What [`Planner::begin`] found.
pub enum Planning {
    /// The same plan is there already.
    Existing(Dataset),
    /// There is none yet.
    New(Box<Planner>),
}

/// Writes each shard's inputs as examples come, and the plan last.
pub struct Planner {}

impl Planner {
    /// Begins a plan, or finds that it exists.
    pub fn begin(_store: &Store, _spec: PlanSpec) -> Result<Planning> {
        todo!()
    }
    /// The next example of a split.
    pub fn push(&mut self, _split: &str, _example: &Example) -> Result<()> {
        todo!()
    }
    /// Writes the plan.
    pub fn finish(self, _tokenizer_json: Option<&[u8]>, _config_json: &[u8], _counts: Counts) -> Result<Dataset> {
        todo!()
    }
}
