//! Optimizer steps, cut and laid out on a thread of their own, one ahead of the step that is taken.

use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use serde::{Deserialize, Serialize};

use crate::batch::{Layout, MicroBatch};
use crate::config::TrainingConfig;
use crate::examples::Examples;
use crate::objective::Objective;
use crate::order::shuffled;
use crate::{Error, Result};

/// How far a run has come in its data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Finished passes over the training split.
    pub epoch: u64,
    /// Examples of the pass under way that were used.
    pub used: u64,
}

/// What one optimizer step learns from.
#[derive(Debug)]
pub struct Step {
    /// Portions that go through the student one after the other.
    pub portions: Vec<MicroBatch>,
    /// Positions of the whole step where the soft term is defined.
    pub soft: usize,
    /// Positions of the whole step where the hard term is defined.
    pub hard: usize,
    /// Examples in it.
    pub examples: usize,
    /// Tokens in it, padding not counted.
    pub tokens: usize,
    /// Where the next step starts.
    pub next: Position,
}

/// A limit on what is put together: whole examples, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    Examples(usize),
    Tokens(usize),
}

impl Limit {
    /// Cuts a row of example sizes, in tokens, into ranges.
    fn cut(self, sizes: &[usize]) -> Vec<Range<usize>> {
        let mut ranges = Vec::new();
        let mut start = 0;
        let mut tokens = 0;
        for (index, size) in sizes.iter().enumerate() {
            let full = match self {
                Self::Examples(limit) => index - start == limit,
                Self::Tokens(limit) => tokens + size > limit,
            };
            if full && index > start {
                ranges.push(start..index);
                (start, tokens) = (index, 0);
            }
            tokens += size;
        }
        if start < sizes.len() {
            ranges.push(start..sizes.len());
        }
        ranges
    }
}

/// How a split is cut into steps and steps into portions.
#[derive(Debug, Clone)]
pub struct Cut {
    step: Limit,
    portion: Option<Limit>,
    layout: Layout,
    seed: u64,
}

impl Cut {
    /// As configured (and checked).
    pub fn new(training: &TrainingConfig, layout: Layout, seed: u64) -> Self {
        let limit = |examples: Option<usize>, tokens: Option<usize>| {
            examples.map(Limit::Examples).or(tokens.map(Limit::Tokens))
        };
        Self {
            step: limit(training.batch_size, training.batch_tokens).unwrap_or(Limit::Examples(1)),
            portion: limit(training.micro_batch_size, training.micro_batch_tokens),
            layout,
            seed,
        }
    }

    /// Portions of so many examples, for an evaluation by itself.
    pub fn of_examples(count: usize, layout: Layout) -> Self {
        Self {
            step: Limit::Examples(count),
            portion: None,
            layout,
            seed: 0,
        }
    }

    /// How many optimizer steps so many epochs take.
    pub fn steps(&self, examples: &Examples, epochs: u64) -> u64 {
        match self.step {
            Limit::Examples(limit) => epochs * (examples.items().len().div_ceil(limit) as u64),
            Limit::Tokens(_) => (0..epochs)
                .map(|epoch| self.epoch(examples, epoch).1.len() as u64)
                .sum(),
        }
    }

    /// The examples of an evaluation, in order, in portions.
    pub(crate) fn portions(&self, examples: &Examples) -> Vec<Vec<u32>> {
        let sizes: Vec<usize> = examples.items().iter().map(|example| example.tokens()).collect();
        let ranges = self.portion.unwrap_or(self.step).cut(&sizes);
        ranges
            .into_iter()
            .map(|range| (range.start as u32..range.end as u32).collect())
            .collect()
    }

    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    /// The order of an epoch and its cut into steps.
    fn epoch(&self, examples: &Examples, epoch: u64) -> (Vec<u32>, Vec<Range<usize>>) {
        let order = shuffled(examples.items().len(), self.seed, epoch);
        let ranges = self.step.cut(&sizes(examples, &order));
        (order, ranges)
    }

    fn lay_out(&self, examples: &Examples, indices: &[u32], objective: &Objective, next: Position) -> Result<Step> {
        let sizes = sizes(examples, indices);
        let ranges = match self.portion {
            Some(limit) => limit.cut(&sizes),
            None => std::iter::once(0..indices.len()).collect(),
        };
        let portions = ranges
            .into_iter()
            .map(|range| MicroBatch::new(examples.items(), &indices[range], Some(objective), self.layout))
            .collect::<Result<Vec<_>>>()?;
        let targets = || portions.iter().flat_map(|portion| &portion.targets);
        let soft = targets().filter(|target| target.soft).count();
        let hard = targets().filter(|target| target.hard.is_some()).count();
        Ok(Step {
            soft,
            hard,
            examples: indices.len(),
            tokens: sizes.iter().sum(),
            next,
            portions,
        })
    }
}

fn sizes(examples: &Examples, indices: &[u32]) -> Vec<usize> {
    indices
        .iter()
        .map(|index| examples.items()[*index as usize].tokens())
        .collect()
}

/// The steps of a run from a position on. Dropping it ends its thread.
pub struct Loader {
    steps: Option<Receiver<Result<Step>>>,
    thread: Option<JoinHandle<()>>,
}

impl Loader {
    /// Starts laying out up to `count` steps, the first at `from`.
    ///
    /// # Errors
    /// A training split without examples, or no thread to be had.
    pub fn start(examples: Arc<Examples>, cut: Cut, objective: Objective, from: Position, count: u64) -> Result<Self> {
        if examples.items().is_empty() {
            return Err(Error::Data(
                "no example of the training split has a target for a term with a weight; check data.train and [loss]"
                    .into(),
            ));
        }
        let (sender, steps) = sync_channel(1);
        let work = move || {
            let mut left = count;
            let mut position = from;
            while left > 0 {
                let (order, ranges) = cut.epoch(&examples, position.epoch);
                for range in ranges {
                    if (range.start as u64) < position.used {
                        continue;
                    }
                    if left == 0 {
                        return;
                    }
                    left -= 1;
                    let next = if range.end == order.len() {
                        Position {
                            epoch: position.epoch + 1,
                            used: 0,
                        }
                    } else {
                        Position {
                            epoch: position.epoch,
                            used: range.end as u64,
                        }
                    };
                    let step = cut.lay_out(&examples, &order[range], &objective, next);
                    let failed = step.is_err();
                    if sender.send(step).is_err() || failed {
                        return;
                    }
                }
                position = Position {
                    epoch: position.epoch + 1,
                    used: 0,
                };
            }
        };
        let thread = std::thread::Builder::new().name("loader".into()).spawn(work);
        let thread = thread.map_err(|error| Error::Output(format!("cannot start the loader's thread: {error}")))?;
        Ok(Self {
            steps: Some(steps),
            thread: Some(thread),
        })
    }
}

impl Iterator for Loader {
    type Item = Result<Step>;

    fn next(&mut self) -> Option<Self::Item> {
        self.steps.as_ref()?.recv().ok()
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        // The thread sees the closed channel at its next send.
        self.steps = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the loader's thread panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LossConfig;
    use crate::examples::{Content, Example};

    fn examples(lengths: &[usize]) -> Arc<Examples> {
        let example = |(index, length): (usize, &usize)| Example {
            id: format!("{index:03}"),
            view: 0,
            content: Content::Tokens(vec![1; *length]),
            label: None,
            loss_mask: None,
            targets: None,
        };
        Arc::new(Examples::new(lengths.iter().enumerate().map(example).collect()))
    }

    fn objective() -> Objective {
        Objective::new(
            &LossConfig {
                soft_weight: 0.0,
                hard_weight: 1.0,
                ..LossConfig::default()
            },
            None,
        )
        .unwrap()
    }

    fn cut(training: &str) -> Cut {
        let training: TrainingConfig = toml::from_str(&format!("steps = 1\n{training}")).unwrap();
        Cut::new(
            &training,
            Layout {
                image: None,
                row_tokens: None,
            },
            3,
        )
    }

    #[test]
    fn limits_hold_whole_examples_and_at_least_one() {
        assert_eq!(Limit::Examples(2).cut(&[5, 5, 5]), [0..2, 2..3]);
        assert_eq!(Limit::Tokens(10).cut(&[5, 5, 1, 20, 3, 7]), [0..2, 2..3, 3..4, 4..6]);
        assert!(Limit::Tokens(10).cut(&[]).is_empty());
    }

    #[test]
    fn a_loader_goes_on_anywhere_as_if_it_had_never_stopped() {
        let examples = examples(&(2..25).collect::<Vec<_>>());
        for training in ["batch_size = 4\nmicro_batch_size = 3", "batch_tokens = 50"] {
            let load = |from, count| -> Vec<Step> {
                let loader = Loader::start(Arc::clone(&examples), cut(training), objective(), from, count);
                loader.unwrap().map(Result::unwrap).collect()
            };
            let whole = load(Position::default(), 20);
            assert_eq!(whole.len(), 20);
            let targets = |step: &Step| {
                step.portions
                    .iter()
                    .flat_map(|part| part.targets.clone())
                    .collect::<Vec<_>>()
            };
            for (done, step) in whole.iter().enumerate().take(19) {
                let rest = load(step.next, 19 - done as u64);
                assert_eq!(rest.len(), 19 - done);
                for (a, b) in rest.iter().zip(&whole[done + 1..]) {
                    assert_eq!((targets(a), a.next), (targets(b), b.next));
                }
            }
            let first_epoch: Vec<&Step> = whole.iter().take_while(|step| step.next.epoch == 0).collect();
            let epoch = cut(training).steps(&examples, 1) as usize;
            assert_eq!(first_epoch.len() + 1, epoch);
            let seen: usize = whole[..epoch].iter().map(|step| step.examples).sum();
            assert_eq!(seen, 23, "every example once an epoch");
        }
    }

    #[test]
    fn nothing_to_learn_from_is_an_error() {
        let loader = Loader::start(
            examples(&[]),
            cut("batch_size = 1"),
            objective(),
            Position::default(),
            1,
        );
        assert!(
            loader
                .err()
                .unwrap()
                .to_string()
                .contains("no example of the training split")
        );
    }
}
