//! The gradients of one optimizer step, accumulated over its portions in buffers that live as long as the run.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use decant_kernels::optimizer::sum_of_squares;
use decant_models::Parameters;
use rayon::prelude::*;

use crate::tensor::read;
use crate::{Error, Result};

/// One gradient for each trained parameter, in name order.
#[derive(Debug)]
pub struct Gradients {
    buffers: BTreeMap<String, Buffer>,
}

#[derive(Debug)]
struct Buffer {
    values: Vec<f32>,
    /// Whether anything was added in this step; until then the values are of the step before.
    fresh: bool,
}

impl Gradients {
    /// Zero gradients for these parameters.
    pub fn new(parameters: &Parameters) -> Self {
        let buffer = |count| Buffer {
            values: vec![0.0; count],
            fresh: true,
        };
        let buffers = parameters
            .trained()
            .iter()
            .map(|(name, var)| (name.clone(), buffer(var.elem_count())));
        Self {
            buffers: buffers.collect(),
        }
    }

    /// Starts a step.
    pub fn clear(&mut self) {
        for buffer in self.buffers.values_mut() {
            buffer.fresh = true;
        }
    }

    /// Adds what a backward pass found.
    ///
    /// # Errors
    /// When a gradient is not `f32` on the CPU.
    pub fn add(&mut self, parameters: &Parameters, store: &GradStore) -> Result<()> {
        for (name, var) in parameters.trained() {
            let (Some(gradient), Some(buffer)) = (store.get(var.as_tensor()), self.buffers.get_mut(name)) else {
                continue;
            };
            read(gradient, |gradient| {
                if buffer.fresh {
                    buffer.values.copy_from_slice(gradient);
                } else {
                    let sums = buffer.values.par_iter_mut().zip(gradient).with_min_len(1 << 14);
                    sums.for_each(|(sum, value)| *sum += value);
                }
                Ok(())
            })?;
            buffer.fresh = false;
        }
        Ok(())
    }

    /// A gradient to be added to from outside a backward pass.
    ///
    /// # Errors
    /// When there is no such parameter.
    pub fn of(&mut self, name: &str) -> Result<&mut Vec<f32>> {
        let buffer = self.buffers.get_mut(name);
        let buffer = buffer.ok_or_else(|| Error::Bug(format!("no gradient is kept for {name}")))?;
        if std::mem::replace(&mut buffer.fresh, false) {
            buffer.values.fill(0.0);
        }
        Ok(&mut buffer.values)
    }

    /// Takes a gradient out and puts it back, so that two can be held at once.
    pub(crate) fn take(&mut self, name: &str) -> Result<Vec<f32>> {
        self.of(name).map(std::mem::take)
    }

    /// Puts back what [`Gradients::take`] took out.
    pub(crate) fn put(&mut self, name: &str, values: Vec<f32>) -> Result<()> {
        *self.of(name)? = values;
        Ok(())
    }

    /// Ends a step: what nothing was added to is 0.
    pub(crate) fn settle(&mut self) {
        for buffer in self.buffers.values_mut().filter(|buffer| buffer.fresh) {
            buffer.values.fill(0.0);
            buffer.fresh = false;
        }
    }

    /// Name and gradient of each parameter.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &[f32])> {
        self.buffers
            .iter()
            .map(|(name, buffer)| (name, buffer.values.as_slice()))
    }

    /// The norm over all parameters, and the first parameter whose own is not finite.
    pub fn norm(&self) -> (f64, Option<&str>) {
        let squares: Vec<(&String, f64)> = self
            .iter()
            .map(|(name, values)| (name, sum_of_squares(values)))
            .collect();
        let total: f64 = squares.iter().map(|(_, square)| square).sum();
        let bad = squares.iter().find(|(_, square)| !square.is_finite());
        (total.sqrt(), bad.map(|(name, _)| name.as_str()))
    }

    /// Multiplies every gradient.
    pub fn scale(&mut self, factor: f32) {
        for buffer in self.buffers.values_mut() {
            buffer
                .values
                .par_iter_mut()
                .with_min_len(1 << 14)
                .for_each(|value| *value *= factor);
        }
    }
}
