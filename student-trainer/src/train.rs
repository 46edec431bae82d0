//! A training run from its configuration to its report.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use decant_cli::Progress;
use decant_data::Task;
use decant_models::{Checkpoint, Model};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::batch::Layout;
use crate::checkpoint::{Checkpoints, State, replace};
use crate::config::{Config, HardTargets};
use crate::data::Source;
use crate::evaluate::{Evaluation, Judge};
use crate::examples::Examples;
use crate::fit::Outcomes;
use crate::gradients::Gradients;
use crate::head::Chunks;
use crate::loader::{Cut, Loader, Position, Step};
use crate::metrics::{EvaluationMetrics, Metrics, StepMetrics, peak_rss_bytes};
use crate::objective::Objective;
use crate::optimizer::Optimizer;
use crate::order::shuffled;
use crate::run::{Identity, Run};
use crate::schedule::learning_rate;
use crate::step::{Learner, Losses};
use crate::student::Student;
use crate::unigram::Unigram;
use crate::{Error, Result};

/// What a run came to: `report.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// On the held-out part, where there is one.
    pub evaluation: Option<Evaluation>,
    /// Optimizer steps.
    pub steps: u64,
    /// Passes over the training examples, the last one counted as far as it went.
    pub epochs: f64,
    /// Examples that were trained on.
    pub examples: usize,
    /// Of those, how many true labels were seen.
    pub labels: usize,
    /// Numbers that were trained.
    pub parameters: usize,
    /// Outputs of the head that are no outcome, as they have no token: outside the softmax on both sides.
    pub outputs_outside: usize,
    /// Training time in all processes of the run.
    pub seconds: f64,
    /// The largest resident size of the last process; absent where the system does not tell.
    pub peak_rss_bytes: Option<u64>,
    /// The configuration, in full.
    pub config: Value,
    /// Student, data and build.
    pub provenance: Value,
}

/// Trains as configured; goes on from the newest checkpoint where `output` holds the same run.
///
/// # Errors
/// What is wrong with the configuration, the data, the student or the output folder; a loss or gradient that is not
/// finite.
pub fn train(config: &Config, output: &Path) -> Result<Report> {
    let started = Instant::now();
    let mut student = Student::open(&config.student.path)?;
    config.check_for(&student)?;
    let source = Source::open(&config.data, &mut student)?;
    let objective = Objective::new(&config.loss, source.codec())?;
    let identity = Identity::new(
        config,
        student.identity(config.student.from_scratch)?,
        source.provenance()?,
    )?;
    let run = Run::open(output, &identity)?;
    let description = student.describe_in(&run.student())?;

    let (training, held_out) = splits(config, &source, &student, &objective)?;
    for examples in [Some(&training), held_out.as_ref()].into_iter().flatten() {
        config.check_rows(examples)?;
    }
    let layout = Layout {
        image: student.config().image_shape(),
        row_tokens: config.training.row_tokens,
    };
    let cut = Cut::new(&config.training, layout, config.seed);
    let total = match (config.training.steps, config.training.epochs) {
        (Some(steps), _) => steps,
        (None, epochs) => cut.steps(&training, epochs.unwrap_or(1)),
    };
    if config.optimizer.warmup_steps >= total {
        tracing::warn!(
            "optimizer.warmup_steps is {}, and the run has {total} steps: the learning rate rises to the end and never falls",
            config.optimizer.warmup_steps
        );
    }
    let unigram = match &held_out {
        Some(_) => Unigram::fit(&training, source.outcomes(), &objective)?,
        None => None,
    };

    let checkpoints = run.checkpoints()?;
    let (model, state, optimizer) = start(config, &student, &checkpoints)?;
    tracing::info!(
        "{} parameters, {} training examples, {} held out, {total} steps{}",
        model.parameters().count(),
        training.items().len(),
        held_out.as_ref().map_or(0, |examples| examples.items().len()),
        if state.step > 0 {
            format!(", going on from step {}", state.step)
        } else {
            String::new()
        }
    );
    if state.step > total {
        return Err(Error::Output(format!(
            "{} has gone {} steps, more than the {total} asked for",
            output.display(),
            state.step
        )));
    }
    let metrics = Metrics::open(run.metrics(), state.step)?;
    let mut trainer = Trainer {
        config,
        training: Arc::new(training),
        held_out,
        objective,
        outcomes: source.outcomes().clone(),
        cut,
        total,
        unigram,
        gradients: Gradients::new(model.parameters()),
        chunks: Chunks::default(),
        model,
        optimizer,
        state,
        metrics,
        checkpoints,
        description,
        loading: started.elapsed().as_secs_f64(),
    };
    let evaluation = trainer.run()?;
    let report = trainer.report(evaluation, &identity)?;
    trainer
        .checkpoints
        .write_model(&trainer.description, &*trainer.model, &run.model())?;
    let json = serde_json::to_vec_pretty(&report).map_err(|error| Error::Bug(error.to_string()))?;
    replace(&run.report(), &json)?;
    Ok(report)
}

/// The training part, without what teaches nothing, and the held-out part.
fn splits(
    config: &Config,
    source: &Source,
    student: &Student,
    objective: &Objective,
) -> Result<(Examples, Option<Examples>)> {
    let all = source.load(&config.data.train, student)?;
    let (mut training, held_out) = match config.data.held_out {
        Some(fraction) => {
            let (training, held_out) = all.split_off(fraction, source.are_windows());
            (training, Some(held_out))
        }
        None if config.data.evaluate.is_empty() => (all, None),
        None => (all, Some(source.load(&config.data.evaluate, student)?)),
    };
    if let Some(held_out) = &held_out
        && held_out.items().is_empty()
    {
        return Err(Error::Config(
            "the part to evaluate on is empty; check data.evaluate or data.held_out".into(),
        ));
    }
    let without = training.keep_teaching(objective);
    if without > 0 {
        tracing::info!("left out {without} training examples without a target for any term that has a weight");
    }
    if student.task()? == Task::ImageClassification {
        tracing::info!(
            "{} of {} training examples have a label",
            training.labels(),
            training.items().len()
        );
    }
    Ok((training, held_out))
}

/// The model, where the run stands, and the optimizer: from the newest checkpoint, or new.
fn start(config: &Config, student: &Student, checkpoints: &Checkpoints) -> Result<(Box<dyn Model>, State, Optimizer)> {
    if let Some(step) = checkpoints.steps()?.last() {
        return checkpoints.read(*step);
    }
    let model = student.start(config.seed, config.student.from_scratch)?;
    let optimizer = Optimizer::new(model.parameters());
    Ok((
        model,
        State {
            step: 0,
            position: Position::default(),
            seconds: 0.0,
        },
        optimizer,
    ))
}

struct Trainer<'a> {
    config: &'a Config,
    training: Arc<Examples>,
    held_out: Option<Examples>,
    objective: Objective,
    outcomes: Outcomes,
    cut: Cut,
    total: u64,
    unigram: Option<Unigram>,
    gradients: Gradients,
    chunks: Chunks,
    model: Box<dyn Model>,
    optimizer: Optimizer,
    state: State,
    metrics: Metrics,
    checkpoints: Checkpoints,
    description: Checkpoint,
    /// Seconds before the first step of this process.
    loading: f64,
}

impl Trainer<'_> {
    /// Takes the steps that are left; the evaluation after the last.
    fn run(&mut self) -> Result<Option<Evaluation>> {
        let left = self.total - self.state.step;
        let progress = Progress::new(Some(self.total), "steps", "training").already(self.state.step);
        let loader = Loader::start(
            Arc::clone(&self.training),
            self.cut.clone(),
            self.objective.clone(),
            self.state.position,
            left,
        )?;
        let before = self.state.seconds + std::mem::take(&mut self.loading);
        let started = Instant::now();
        let mut last = before;
        let mut evaluation = None;
        for step in loader {
            let step = step?;
            let (losses, grad_norm, rate) = self.step(&step)?;
            let seconds = before + started.elapsed().as_secs_f64();
            self.state.seconds = seconds;
            let taken = (seconds - last).max(f64::MIN_POSITIVE);
            self.metrics.append(&StepMetrics {
                step: self.state.step,
                loss: losses.total,
                soft_loss: losses.soft,
                hard_loss: losses.hard,
                learning_rate: rate,
                grad_norm,
                examples_per_second: step.examples as f64 / taken,
                tokens_per_second: (step.tokens > 0).then(|| step.tokens as f64 / taken),
                seconds,
                peak_rss_bytes: peak_rss_bytes(),
            })?;
            progress.set(self.state.step);
            if self.due(self.config.training.evaluate_every) {
                evaluation = self.evaluate()?;
                let step = self.state.step;
                if let Some(evaluation) = evaluation.clone() {
                    self.metrics.append(&EvaluationMetrics { step, evaluation })?;
                }
            }
            if self.due(self.config.training.checkpoint_every) {
                self.checkpoint()?;
            }
            // Evaluation and checkpoint take time of the run, but of no step.
            last = before + started.elapsed().as_secs_f64();
        }
        progress.finish();
        if self.state.step < self.total {
            return Err(Error::Bug(format!(
                "the loader ended after step {} of {}",
                self.state.step, self.total
            )));
        }
        match left {
            0 => self.evaluate(),
            _ => Ok(evaluation),
        }
    }

    /// Whether something is due after this step; after the last step everything is.
    fn due(&self, every: u64) -> bool {
        self.state.step == self.total || every > 0 && self.state.step.is_multiple_of(every)
    }

    /// One optimizer step; its losses, the norm of its gradient before clipping, and its learning rate.
    fn step(&mut self, step: &Step) -> Result<(Losses, f64, f64)> {
        let number = self.state.step + 1;
        let learner = Learner {
            model: &*self.model,
            objective: &self.objective,
            outcomes: &self.outcomes,
        };
        let losses = learner.gradients(step, self.training.items(), &mut self.gradients, &mut self.chunks)?;
        if !losses.total.is_finite() {
            return Err(Error::Diverged {
                step: number,
                what: "loss".into(),
                value: losses.total,
            });
        }
        let (norm, bad) = self.gradients.norm();
        if !norm.is_finite() {
            let what = format!("gradient of {}", bad.unwrap_or("all parameters"));
            return Err(Error::Diverged {
                step: number,
                what,
                value: norm,
            });
        }
        let limit = self.config.optimizer.clip_norm;
        if limit > 0.0 && norm > limit {
            self.gradients.scale((limit / norm) as f32);
        }
        let rate = learning_rate(&self.config.optimizer, number, self.total);
        self.optimizer
            .update(self.model.parameters(), &self.gradients, &self.config.optimizer, rate)?;
        self.state.step = number;
        self.state.position = step.next;
        Ok((losses, norm, rate))
    }

    /// Judges the held-out part, where there is one.
    fn evaluate(&mut self) -> Result<Option<Evaluation>> {
        let Some(held_out) = &self.held_out else {
            return Ok(None);
        };
        let judge = Judge {
            model: &*self.model,
            outcomes: &self.outcomes,
            objective: &self.objective,
            cut: &self.cut,
            unigram: self.unigram.as_ref(),
        };
        judge.evaluate(held_out, &mut self.chunks).map(Some)
    }

    fn checkpoint(&self) -> Result<()> {
        self.metrics.sync()?;
        let keep = self.config.training.keep;
        self.checkpoints
            .write(&self.state, &self.description, &*self.model, &self.optimizer, keep)
    }

    fn report(&self, evaluation: Option<Evaluation>, identity: &Identity) -> Result<Report> {
        let examples = self.training.items().len();
        let position = self.state.position;
        let part = if examples == 0 {
            0.0
        } else {
            position.used as f64 / examples as f64
        };
        Ok(Report {
            evaluation,
            steps: self.state.step,
            epochs: position.epoch as f64 + part,
            examples,
            labels: self.labels_seen(),
            parameters: self.model.parameters().count(),
            outputs_outside: self.outcomes.outside(self.model.config().outcomes()),
            seconds: self.state.seconds,
            peak_rss_bytes: peak_rss_bytes(),
            config: serde_json::to_value(self.config).map_err(|error| Error::Bug(error.to_string()))?,
            provenance: serde_json::json!({
                "student": identity.student,
                "data": identity.data,
                "build": identity.build,
            }),
        })
    }

    /// How many different labels the student saw: those of the examples that it was trained on.
    fn labels_seen(&self) -> usize {
        if self.config.loss.hard_weight == 0.0 || self.config.loss.hard_targets != HardTargets::Labels {
            return 0;
        }
        let Position { epoch, used } = self.state.position;
        if epoch > 0 {
            return self.training.labels();
        }
        let items = self.training.items();
        let order = shuffled(items.len(), self.config.seed, 0);
        order
            .iter()
            .take(used as usize)
            .filter(|index| items[**index as usize].label.is_some())
            .count()
    }
}
