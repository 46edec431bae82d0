//! What all layers share of one batch: who sees whom, and by how much each position is rotated.

use std::f64::consts::TAU;

use candle_core::{DType, Device, Tensor};

use crate::ops::{Rotation, Spans};
use crate::{DecoderConfig, Result, Rope, RopeScaling, TokenBatch};

pub(super) struct Placement {
    pub(super) rows: usize,
    pub(super) width: usize,
    pub(super) key: Rotation,
    /// As `key`, divided by the root of the head's width, so that scores need not be.
    pub(super) query: Rotation,
    /// The different windows of the layers, with what is seen through each.
    spans: Vec<(Option<usize>, Spans)>,
    windows: Vec<Option<usize>>,
}

impl Placement {
    pub(super) fn new(batch: &TokenBatch, sizes: &DecoderConfig, dtype: DType, device: &Device) -> Result<Self> {
        let positions = batch.checked_positions(sizes.vocab_size, sizes.max_positions)?;
        let mut spans: Vec<(Option<usize>, Spans)> = Vec::new();
        for window in &sizes.windows {
            if spans.iter().all(|(known, _)| known != window) {
                let first = within(&positions.first, *window, batch.width);
                spans.push((*window, Spans::new(first, batch.width, dtype, device)?));
            }
        }
        let scale = 1.0 / (sizes.head_dim as f64).sqrt();
        // Where every document starts at the left of its row, one row of angles serves all: padding is rotated along,
        // and is seen by nothing but itself.
        let straight: Vec<u32> = (0..batch.width as u32).collect();
        let aligned = batch.documents.iter().all(|document| document.start == 0);
        let angles = Angles::new(if aligned { &straight } else { &positions.place }, batch.width, sizes);
        Ok(Self {
            rows: batch.rows,
            width: batch.width,
            key: angles.rotation(1.0, device)?,
            query: angles.rotation(scale as f32, device)?,
            spans,
            windows: sizes.windows.clone(),
        })
    }

    /// Who sees whom in a layer.
    pub(super) fn spans(&self, layer: usize) -> &Spans {
        let window = self.windows[layer];
        let (_, spans) = self
            .spans
            .iter()
            .find(|(known, _)| *known == window)
            .expect("made for every window");
        spans
    }
}

/// The first position that each one sees when none sees further back than `window`, itself included.
fn within(first: &[u32], window: Option<usize>, width: usize) -> Vec<u32> {
    let Some(window) = window else { return first.to_vec() };
    let nearest = |index: usize| (index % width + 1).saturating_sub(window) as u32;
    first
        .iter()
        .enumerate()
        .map(|(index, first)| nearest(index).max(*first))
        .collect()
}

/// Angles of every position: `[1 or rows, width, head_dim / 2]`, in f32 as PyTorch multiplies them.
struct Angles {
    values: Vec<f32>,
    shape: (usize, usize, usize),
}

impl Angles {
    /// `places` are the positions in their documents, row by row.
    fn new(places: &[u32], width: usize, sizes: &DecoderConfig) -> Self {
        let frequencies = frequencies(&sizes.rope, sizes.head_dim);
        let values = places
            .iter()
            .flat_map(|place| frequencies.iter().map(move |frequency| *place as f32 * frequency))
            .collect();
        Self {
            values,
            shape: (places.len() / width, width, frequencies.len()),
        }
    }

    fn rotation(&self, scale: f32, device: &Device) -> Result<Rotation> {
        let table = |of: fn(f32) -> f32| {
            Tensor::from_vec(
                self.values.iter().map(|angle| scale * of(*angle)).collect(),
                self.shape,
                device,
            )
        };
        Ok(Rotation {
            cos: table(f32::cos)?,
            sin: table(f32::sin)?,
        })
    }
}

/// Radians per position, one for each pair of entries of a head.
fn frequencies(rope: &Rope, head_dim: usize) -> Vec<f32> {
    (0..head_dim / 2)
        .map(|pair| {
            let frequency = rope.theta.powf(-2.0 * pair as f64 / head_dim as f64);
            stretched(frequency, &rope.scaling) as f32
        })
        .collect()
}

fn stretched(frequency: f64, scaling: &RopeScaling) -> f64 {
    match *scaling {
        RopeScaling::Default => frequency,
        RopeScaling::Linear { factor } => frequency / factor,
        RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_positions,
        } => {
            // Turns that the frequency makes over the original context.
            let turns = original_positions * frequency / TAU;
            // 0 for the slow ones, which are stretched; 1 for the fast ones, which are left as they are.
            let fast = ((turns - low_freq_factor) / (high_freq_factor - low_freq_factor)).clamp(0.0, 1.0);
            fast * frequency + (1.0 - fast) * frequency / factor
        }
    }
}
