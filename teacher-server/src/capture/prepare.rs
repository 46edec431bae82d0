//! Makes batches ready for the device, a little ahead of it.

use crate::teacher::{Teacher, Work};
use crate::{Error, Result};
use decant_data::{BatchBudget, Example, PlanSpec};
use std::sync::mpsc::SyncSender;

/// One batch, ready: the places of its examples in the shard, and the work itself.
pub(super) struct Prepared {
    pub(super) places: Vec<usize>,
    pub(super) work: Work,
}

/// The size of each example and the largest sum of them, in the unit of the plan's budget.
pub(super) fn sizes(examples: &[Example], spec: &PlanSpec, pixels: usize) -> (Vec<usize>, usize) {
    let (budget, size): (u64, &dyn Fn(&Example) -> usize) = match spec.batch_budget {
        BatchBudget::Tokens(budget) => (budget, &|example| example.tokens().len()),
        BatchBudget::Pixels(budget) => (budget, &|_| pixels),
    };
    (
        examples.iter().map(size).collect(),
        usize::try_from(budget).unwrap_or(usize::MAX),
    )
}

/// Prepares every batch in order, until the receiver is gone.
pub(super) fn run(
    teacher: &Teacher,
    examples: &[Example],
    batches: Vec<Vec<usize>>,
    spec: &PlanSpec,
    out: &SyncSender<Result<Prepared>>,
) {
    for places in batches {
        let inputs = places
            .iter()
            .map(|&place| teacher.input(&examples[place]))
            .collect::<Result<Vec<_>, _>>();
        let prepared = inputs.map_err(Error::from).map(|inputs| Prepared {
            places,
            work: Work {
                inputs,
                codec: spec.codec.clone(),
                chunk_rows: spec.chunk_rows as usize,
            },
        });
        let failed = prepared.is_err();
        if out.send(prepared).is_err() || failed {
            return;
        }
    }
}
