//! Examples laid out for one pass through the student.

use candle_core::{Device, Tensor};
use decant_models::{Batch, ImageShape, TokenBatch};

use crate::examples::{Content, Example};
use crate::objective::Objective;
use crate::{Error, Result};

/// One prediction that is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Row of the features that it is made from.
    pub feature: u32,
    /// Its example, an index into the split.
    pub example: u32,
    /// Its position in the example.
    pub position: u32,
    /// The hard target, where the hard term is defined.
    pub hard: Option<u32>,
    /// Whether the soft term is defined.
    pub soft: bool,
}

/// Examples that go through the student at once.
#[derive(Debug)]
pub struct MicroBatch {
    /// What the student reads.
    pub batch: Batch,
    /// The predictions that are judged, in the order of the examples.
    pub targets: Vec<Target>,
}

/// How examples are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// The size of an image, for image students.
    pub image: Option<ImageShape>,
    /// Positions of a row into which documents are packed; the longest document of the batch unless given.
    pub row_tokens: Option<usize>,
}

impl MicroBatch {
    /// Lays out the examples at `indices`. Targets are those that the objective gives a weight; without an objective
    /// (for evaluation) all that count, their hard target being the truth.
    ///
    /// # Errors
    /// Images and texts in one batch, or a document longer than `row_tokens`.
    pub fn new(examples: &[Example], indices: &[u32], objective: Option<&Objective>, layout: Layout) -> Result<Self> {
        let chosen: Vec<&Example> = indices
            .iter()
            .filter_map(|index| examples.get(*index as usize))
            .collect();
        let (batch, starts) = match layout.image {
            Some(shape) => images(&chosen, shape)?,
            None => documents(&chosen, layout.row_tokens)?,
        };
        let mut targets = Vec::new();
        for ((example, index), start) in chosen.iter().zip(indices).zip(starts) {
            for position in (0..example.positions()).filter(|position| example.counts(*position)) {
                let (hard, soft) = match objective {
                    Some(objective) => (
                        example
                            .hard_target(position, objective.hard_targets)
                            .filter(|_| objective.hard_weight > 0.0),
                        example.targets.is_some() && objective.soft_weight > 0.0,
                    ),
                    None => (example.truth(position), example.targets.is_some()),
                };
                if hard.is_some() || soft {
                    let (feature, position) = (start + position as u32, position as u32);
                    targets.push(Target {
                        feature,
                        example: *index,
                        position,
                        hard,
                        soft,
                    });
                }
            }
        }
        Ok(Self { batch, targets })
    }
}

/// The batch, and for each example the feature row of its first prediction.
fn documents(chosen: &[&Example], row_tokens: Option<usize>) -> Result<(Batch, Vec<u32>)> {
    let documents = chosen.iter().map(|example| match &example.content {
        Content::Tokens(tokens) => Ok(tokens.as_slice()),
        Content::Pixels(_) => Err(mixed(example)),
    });
    let documents = documents.collect::<Result<Vec<_>>>()?;
    let longest = documents.iter().map(|document| document.len()).max().unwrap_or(0);
    let batch = TokenBatch::packed(&documents, row_tokens.unwrap_or(longest))?;
    let starts = batch
        .documents
        .iter()
        .map(|document| (document.row * batch.width + document.start) as u32)
        .collect();
    Ok((Batch::Tokens(batch), starts))
}

fn images(chosen: &[&Example], shape: ImageShape) -> Result<(Batch, Vec<u32>)> {
    let size = shape.channels * shape.height * shape.width;
    let mut pixels = Vec::with_capacity(chosen.len() * size);
    for example in chosen {
        match &example.content {
            Content::Pixels(image) if image.len() == size => pixels.extend_from_slice(image),
            _ => return Err(mixed(example)),
        }
    }
    let dimensions = (chosen.len(), shape.channels, shape.height, shape.width);
    let batch = Batch::Images(Tensor::from_vec(pixels, dimensions, &Device::Cpu)?);
    Ok((batch, (0..chosen.len() as u32).collect()))
}

fn mixed(example: &Example) -> Error {
    Error::Data(format!(
        "example {:?} is not of the kind that the student reads",
        example.id
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(tokens: &[u32], mask: Option<Vec<bool>>) -> Example {
        let content = Content::Tokens(tokens.to_vec());
        Example {
            id: "a".into(),
            view: 0,
            content,
            label: None,
            loss_mask: mask,
            targets: None,
        }
    }

    #[test]
    fn every_counted_position_reads_its_own_feature_row() {
        let examples = [
            document(&[1, 2, 3], None),
            document(&[4, 5, 6, 7], Some(vec![false, false, true, true])),
            document(&[8, 9], None),
        ];
        let layout = Layout {
            image: None,
            row_tokens: Some(5),
        };
        let micro = MicroBatch::new(&examples, &[1, 0, 2], None, layout).unwrap();
        let Batch::Tokens(batch) = &micro.batch else {
            panic!("tokens")
        };
        for target in &micro.targets {
            let example = &examples[target.example as usize];
            let Content::Tokens(tokens) = &example.content else {
                panic!("tokens")
            };
            assert_eq!(batch.ids[target.feature as usize], tokens[target.position as usize]);
            assert_eq!(target.hard, Some(tokens[target.position as usize + 1]));
        }
        let judged: Vec<(u32, u32)> = micro
            .targets
            .iter()
            .map(|target| (target.example, target.position))
            .collect();
        assert_eq!(judged, [(1, 1), (1, 2), (0, 0), (0, 1), (2, 0)]);
    }
}
