//! How good a student is on a split, and how near its teacher.

use std::path::{Path, PathBuf};

use candle_core::{DType, Device};
use decant_kernels::softmax::log_sum_exp;
use decant_models::{Checkpoint, Mode, Model, Taps};
use serde::{Deserialize, Serialize};

use crate::batch::{Layout, MicroBatch, Target};
use crate::config::{DataConfig, LossConfig};
use crate::data::Source;
use crate::examples::{Content, Example, Examples};
use crate::fit::Outcomes;
use crate::head::{Chunks, Space};
use crate::loader::Cut;
use crate::objective::{Objective, argmax, teacher_argmax};
use crate::step::with_head;
use crate::student::Student;
use crate::tensor::read;
use crate::unigram::Unigram;
use crate::{Error, Result};

/// Figures of one split. What cannot be told (no labels, no teacher) is absent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Examples looked at.
    pub examples: usize,
    /// Predictions judged.
    pub positions: usize,
    /// Predictions whose true outcome is known: labels, or next tokens.
    pub labels: usize,
    /// Share of those that the student got right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Mean cross-entropy with the true outcome, in nats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cross_entropy: Option<f64>,
    /// `exp(cross_entropy)`, for language models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub perplexity: Option<f64>,
    /// Temperature of the two divergences.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Mean `KL(teacher || student)` at that temperature in nats, without the factor `T^2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kl: Option<f64>,
    /// Share of predictions whose likeliest outcome is the teacher's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreement: Option<f64>,
    /// The same divergence of a unigram model instead of the student: what a language model must beat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unigram_kl: Option<f64>,
}

/// What [`evaluate`] is asked.
#[derive(Debug, Clone)]
pub struct Request {
    /// A Hugging Face folder with weights, or the folder of a finished run.
    pub model: PathBuf,
    /// Where the examples come from; `train` names the splits to judge on.
    pub data: DataConfig,
    /// The split that a unigram model is fitted on.
    pub unigram_split: Option<String>,
    /// Temperature and tail of the divergence.
    pub loss: LossConfig,
    /// Examples that go through the student at once.
    pub batch_size: usize,
}

/// Judges a student.
///
/// # Errors
/// What is wrong with the model or the data; a temperature that the dataset does not declare.
pub fn evaluate(request: &Request) -> Result<Evaluation> {
    let model = match request.model.join("run.json").is_file() {
        true => finished(&request.model)?,
        false => request.model.clone(),
    };
    let mut student = Student::open(&model)?;
    let source = Source::open(&request.data, &mut student)?;
    if let Some(codec) = source.codec() {
        codec.temperature_index(request.loss.temperature as f32)?;
    }
    let objective = Objective::new(&request.loss, source.codec())?;
    let model = Checkpoint::open(&model)?.load(DType::F32, &Device::Cpu)?;
    let examples = source.load(&request.data.train, &student)?;
    let unigram = match &request.unigram_split {
        Some(split) => Unigram::fit(
            &source.load(std::slice::from_ref(split), &student)?,
            source.outcomes(),
            &objective,
        )?,
        None => None,
    };
    let layout = Layout {
        image: student.config().image_shape(),
        row_tokens: None,
    };
    let judge = Judge {
        model: &*model,
        outcomes: source.outcomes(),
        objective: &objective,
        cut: &Cut::of_examples(request.batch_size, layout),
        unigram: unigram.as_ref(),
    };
    judge.evaluate(&examples, &mut Chunks::default())
}

/// The model of a run.
fn finished(run: &Path) -> Result<PathBuf> {
    let model = run.join("model");
    match model.is_dir() {
        true => Ok(model),
        false => Err(Error::Output(format!(
            "the run {} has not ended; wait for it, or export one of its checkpoints and give that",
            run.display()
        ))),
    }
}

/// Everything that an evaluation needs but the examples.
pub struct Judge<'a> {
    /// The student.
    pub model: &'a dyn Model,
    /// The outcomes of its softmax.
    pub outcomes: &'a Outcomes,
    /// Temperature and tail of the divergence.
    pub objective: &'a Objective,
    /// How examples are put together.
    pub cut: &'a Cut,
    /// What a language model is compared with.
    pub unigram: Option<&'a Unigram>,
}

#[derive(Default, Clone, Copy)]
struct Judged {
    /// Whether the student is right, and its cross-entropy.
    truth: Option<(bool, f64)>,
    /// Whether the student agrees with the teacher.
    agrees: Option<bool>,
    /// `T^2 KL(teacher || student)`.
    divergence: Option<f64>,
    /// The same of the unigram model.
    unigram: Option<f64>,
}

impl Judge<'_> {
    /// Judges a split, in the order of its ids.
    ///
    /// # Errors
    /// Examples that the model cannot read; a loss that is not a number.
    pub fn evaluate(&self, examples: &Examples, chunks: &mut Chunks) -> Result<Evaluation> {
        let (objective, unigram) = (self.objective, self.unigram);
        let mut all: Vec<Judged> = Vec::new();
        for indices in self.cut.portions(examples) {
            let portion = MicroBatch::new(examples.items(), &indices, None, self.cut.layout())?;
            let features = self.model.features(&portion.batch, Mode::Eval, &mut Taps::none())?;
            let judged = with_head(self.model, self.outcomes, |head| {
                read(&features, |features| {
                    chunks.judge(head, features, &portion.targets, |logits, target, space| {
                        judge(logits, target, examples.items(), objective, unigram, space)
                    })
                })
            });
            all.extend(judged?);
        }
        let image = examples
            .items()
            .iter()
            .any(|example| matches!(example.content, Content::Pixels(_)));
        let evaluation = self.summarise(examples.items().len(), &all, image);
        if [evaluation.cross_entropy, evaluation.kl]
            .into_iter()
            .flatten()
            .any(f64::is_nan)
        {
            return Err(Error::Data(
                "the student's logits are not numbers; its weights are damaged or diverged".into(),
            ));
        }
        Ok(evaluation)
    }

    fn summarise(&self, examples: usize, all: &[Judged], image: bool) -> Evaluation {
        let truths = || all.iter().filter_map(|judged| judged.truth);
        let square = self.objective.temperature.powi(2);
        let share = |right: bool| f64::from(u8::from(right));
        let cross_entropy = mean(truths().map(|(_, loss)| loss));
        let kl = mean(
            all.iter()
                .filter_map(|judged| judged.divergence)
                .map(|loss| loss / square),
        );
        Evaluation {
            examples,
            positions: all.len(),
            labels: truths().count(),
            accuracy: mean(truths().map(|(right, _)| share(right))),
            cross_entropy,
            perplexity: cross_entropy.filter(|_| !image).map(f64::exp),
            temperature: kl.map(|_| self.objective.temperature),
            kl,
            agreement: mean(all.iter().filter_map(|judged| judged.agrees).map(share)),
            unigram_kl: mean(all.iter().filter_map(|judged| judged.unigram).map(|loss| loss / square)),
        }
    }
}

/// Judges one prediction from its logits.
fn judge(
    logits: &[f32],
    target: &Target,
    examples: &[Example],
    objective: &Objective,
    unigram: Option<&Unigram>,
    space: &mut Space,
) -> Result<Judged> {
    let best = argmax(logits);
    let truth = target.hard.map(|label| {
        let loss = f64::from(log_sum_exp(logits, 1.0)) - f64::from(logits[label as usize]);
        (best == Some(label), loss)
    });
    let position = target.position as usize;
    let soft = examples
        .get(target.example as usize)
        .and_then(|example| example.targets.as_ref());
    let Some(soft) = soft else {
        return Ok(Judged {
            truth,
            ..Judged::default()
        });
    };
    let agrees = Some(best == teacher_argmax(soft, position));
    let mut judged = Judged {
        truth,
        agrees,
        ..Judged::default()
    };
    if objective.is_measurable() {
        // The kernels give loss and gradient in one; a scale of 0 leaves the gradient alone.
        let Space { unused, gathered } = space;
        unused.resize(logits.len(), 0.0);
        let mut divergence = |row: &[f32]| objective.divergence(row, soft, position, 0.0, unused, gathered);
        judged.divergence = Some(divergence(logits)?);
        judged.unigram = unigram.map(|unigram| divergence(&unigram.logits)).transpose()?;
    }
    Ok(judged)
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0u64), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / count as f64)
}
