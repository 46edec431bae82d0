//! One shard, from its inputs to its marker.

use super::prepare::{self, Prepared};
use super::{CancelFlag, batches};
use crate::teacher::{Answer, Pending, Teacher};
use crate::{Error, Result};
use decant_data::{Attempt, Build, CommitOutcome, Dataset, Example, Row};
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, sync_channel};

/// Batches that are prepared but not yet asked.
const AHEAD: usize = 2;

/// Batches that are asked but not yet answered: one on the device, one behind it.
const IN_FLIGHT: usize = 2;

/// How a shard ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Captured {
    /// Its table counts.
    Committed,
    /// It had a marker already, or another worker was faster: nothing of ours is left.
    ByAnother,
}

/// What was done since the last time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Step {
    /// Examples that the teacher answered.
    pub examples: u64,
    /// Soft targets that it gave for them.
    pub positions: u64,
}

/// Captures one shard: all of it, or nothing.
///
/// # Errors
/// [`Error::Cancelled`] when the flag went up; whatever the teacher or the store fails with. The attempt is then
/// dropped, and what was committed before stays as it is.
pub fn run_shard(
    teacher: &Teacher,
    dataset: &Dataset,
    shard: u32,
    cancel: &CancelFlag,
    progress: &mut dyn FnMut(Step),
) -> Result<Captured> {
    let Some(attempt) = dataset.begin(shard)? else {
        return Ok(Captured::ByAnother);
    };
    let spec = &dataset.plan().spec;
    let examples = dataset.inputs(shard)?;
    let (sizes, budget) = prepare::sizes(&examples, spec, teacher.profile().pixels());
    let batches = batches::cut(&sizes, budget);
    let mut rows = Rows::new(&examples, attempt);
    std::thread::scope(|scope| {
        let (ready, prepared) = sync_channel(AHEAD);
        let thread = std::thread::Builder::new().name("prepare".to_owned());
        let examples = &examples;
        thread
            .spawn_scoped(scope, move || prepare::run(teacher, examples, batches, spec, &ready))
            .map_err(|error| Error::Teacher(crate::teacher::Error::Thread(error)))?;
        ask_all(teacher, prepared, cancel, &mut |places, answers| {
            progress(rows.put(places, answers)?);
            Ok(())
        })
    })?;
    match rows.finish(shard)?.commit(&build())? {
        CommitOutcome::Committed | CommitOutcome::AlreadyMine => Ok(Captured::Committed),
        CommitOutcome::Lost { .. } => Ok(Captured::ByAnother),
    }
}

/// Keeps the device busy: hands over prepared batches while the answers to earlier ones are put away.
fn ask_all(
    teacher: &Teacher,
    prepared: Receiver<Result<Prepared>>,
    cancel: &CancelFlag,
    put: &mut dyn FnMut(Vec<usize>, Vec<Answer>) -> Result<()>,
) -> Result<()> {
    let mut asked: VecDeque<(Vec<usize>, Pending)> = VecDeque::with_capacity(IN_FLIGHT);
    loop {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let next = prepared.recv().ok().transpose()?;
        let drained = next.is_none();
        if let Some(Prepared { places, work }) = next {
            asked.push_back((places, teacher.submit(work)?));
        }
        if asked.len() == IN_FLIGHT || drained {
            let Some((places, pending)) = asked.pop_front() else {
                return Ok(());
            };
            let answers = pending.wait()?.into_iter().collect::<Result<Vec<_>, _>>()?;
            put(places, answers)?;
        }
    }
}

/// Answers on their way back into the order of the inputs.
struct Rows<'a> {
    examples: &'a [Example],
    waiting: Vec<Option<Answer>>,
    next: usize,
    attempt: Attempt,
}

impl<'a> Rows<'a> {
    fn new(examples: &'a [Example], attempt: Attempt) -> Self {
        let waiting = std::iter::repeat_with(|| None).take(examples.len()).collect();
        Self {
            examples,
            waiting,
            next: 0,
            attempt,
        }
    }

    /// Takes the answers of one batch, and pushes every row whose turn has come.
    fn put(&mut self, places: Vec<usize>, answers: Vec<Answer>) -> Result<Step> {
        let mut step = Step::default();
        for (place, answer) in places.into_iter().zip(answers) {
            step.examples += 1;
            step.positions += answer.entropy.len() as u64;
            self.waiting[place] = Some(answer);
        }
        while let Some(answer) = self.waiting.get_mut(self.next).and_then(Option::take) {
            let example = self.examples[self.next].clone();
            self.attempt.push(Row::new(example, answer.targets, &answer.entropy)?)?;
            self.next += 1;
        }
        Ok(step)
    }

    /// The attempt, once it holds every row.
    fn finish(self, shard: u32) -> Result<Attempt> {
        match self.next == self.examples.len() {
            true => Ok(self.attempt),
            false => Err(Error::Lost(shard)),
        }
    }
}

/// What made the table. Bytes are promised equal between equal builds only.
fn build() -> Build {
    Build {
        version: concat!("decant ", env!("CARGO_PKG_VERSION")).to_owned(),
        kernel_path: decant_kernels::kernel_path().to_owned(),
    }
}
