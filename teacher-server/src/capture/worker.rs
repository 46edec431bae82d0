//! All shards of a plan, beginning anywhere.

use super::{CancelFlag, Captured, Step, run_shard};
use crate::teacher::{Profile, Teacher};
use crate::{Error, Result};
use decant_data::{Dataset, PlanSpec, TokenizerIdentity};

/// Where a worker begins. It goes on from there to every shard without a marker, so any number of workers, started
/// and killed at any time, finish the plan; a good start keeps them out of each other's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Start {
    /// Number of the worker, from 0.
    pub index: u32,
    /// How many workers there are; where nobody says, `index` is the shard to begin at.
    pub count: Option<u32>,
}

impl Start {
    /// The shards in the order in which this worker looks at them.
    fn order(self, shards: u32) -> impl Iterator<Item = u32> {
        let first = match self.count {
            _ if shards == 0 => 0,
            Some(count) if count > 0 => {
                let first = u64::from(self.index % count) * u64::from(shards) / u64::from(count);
                u32::try_from(first).unwrap_or_default()
            }
            _ => self.index % shards,
        };
        (first..shards).chain(0..first)
    }
}

/// What a worker did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Worked {
    /// Shards that this worker committed.
    pub committed: u32,
    /// Shards that had a marker, or got one from another worker first.
    pub by_others: u32,
    /// What the teacher was asked for the committed ones.
    pub done: Step,
}

/// Captures every shard that has no marker. Returns when all have one.
///
/// # Errors
/// A teacher that is not the plan's; those of [`run_shard`], at the first shard that fails.
pub fn run_all(
    teacher: &Teacher,
    dataset: &Dataset,
    start: Start,
    cancel: &CancelFlag,
    progress: &mut dyn FnMut(Step),
) -> Result<Worked> {
    check_teacher(&dataset.plan().spec, teacher.profile())?;
    let mut worked = Worked::default();
    for shard in start.order(dataset.plan().shards.len() as u32) {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let mut own = Step::default();
        let captured = run_shard(teacher, dataset, shard, cancel, &mut |step| {
            own.examples += step.examples;
            own.positions += step.positions;
            progress(step);
        })?;
        match captured {
            Captured::Committed => {
                worked.committed += 1;
                worked.done.examples += own.examples;
                worked.done.positions += own.positions;
            }
            Captured::ByAnother => worked.by_others += 1,
        }
    }
    Ok(worked)
}

/// Whether this teacher is the one that the plan was made for.
///
/// # Errors
/// The first thing that differs, with both sides.
pub fn check_teacher(spec: &PlanSpec, profile: &Profile) -> Result<()> {
    let (planned, found) = (&spec.teacher, profile.identity());
    let tokenizer = profile.tokenizer_identity();
    let hash = |hash: &Option<String>| hash.clone().unwrap_or_else(|| "none".to_owned());
    let map = |tokenizer: Option<&TokenizerIdentity>| tokenizer.map_or("none".to_owned(), |own| own.map_sha256.clone());
    let model = "give --model the checkpoint that the plan was made with";
    let run = "run it as the plan says";
    let pairs = [
        (
            "config.json (sha256)",
            planned.config_sha256.clone(),
            found.config_sha256.clone(),
            model,
        ),
        (
            "the weights (sha256)",
            planned.weights_sha256.clone(),
            found.weights_sha256.clone(),
            model,
        ),
        (
            "the tokenizer's id-to-token map (sha256)",
            map(spec.tokenizer.as_ref()),
            map(tokenizer.as_ref()),
            model,
        ),
        (
            "preprocessor_config.json (sha256)",
            hash(&planned.preprocessor_sha256),
            hash(&found.preprocessor_sha256),
            model,
        ),
        ("the dtype", planned.dtype.clone(), found.dtype.clone(), run),
        ("the device", planned.device.clone(), found.device.clone(), run),
    ];
    match pairs.into_iter().find(|(_, planned, found, _)| planned != found) {
        None => Ok(()),
        Some((what, planned, found, mend)) => Err(Error::OtherTeacher(format!(
            "{what} is {planned} in the plan and {found} in {}; {mend}",
            profile.dir().display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::Start;

    fn order(index: u32, count: Option<u32>, shards: u32) -> Vec<u32> {
        Start { index, count }.order(shards).collect()
    }

    #[test]
    fn workers_begin_apart_and_each_sees_every_shard() {
        assert_eq!(order(0, None, 3), [0, 1, 2]);
        assert_eq!(order(1, Some(2), 4), [2, 3, 0, 1]);
        assert_eq!(order(2, Some(3), 10), [6, 7, 8, 9, 0, 1, 2, 3, 4, 5]);
        assert_eq!(order(5, None, 4), [1, 2, 3, 0], "without a count the index is a shard");
        assert_eq!(
            order(7, Some(3), 3),
            [1, 2, 0],
            "a sparse array may number its tasks past their count"
        );
        assert!(order(3, Some(4), 0).is_empty());
    }
}
