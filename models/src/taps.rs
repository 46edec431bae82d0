//! Reading what happens inside a model: hints, attention maps, intermediate features.

use std::collections::BTreeMap;

use candle_core::Tensor;

use crate::{Error, Result};

/// A place inside a model whose output can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapSpec {
    /// Its name, such as `layers.3.output`.
    pub name: String,
    /// The tensor that it gives, in words.
    pub what: String,
}

impl TapSpec {
    pub(crate) fn new(name: String, what: &str) -> Self {
        Self {
            name,
            what: what.to_owned(),
        }
    }
}

/// The taps that a caller wants filled by [`crate::Model::features`].
///
/// In [`crate::Mode::Train`] what they hold is part of the graph: a loss on it trains the layers below.
#[derive(Clone, Debug, Default)]
pub struct Taps {
    wanted: BTreeMap<String, Option<Tensor>>,
}

impl Taps {
    /// None: costs nothing.
    pub fn none() -> Self {
        Self::default()
    }

    /// These, by name. A name that the model does not have is an error of [`crate::Model::features`].
    pub fn of<S: AsRef<str>>(names: &[S]) -> Self {
        Self {
            wanted: names.iter().map(|name| (name.as_ref().to_owned(), None)).collect(),
        }
    }

    /// Takes out what a tap holds; `None` when it was not asked for, not filled yet or taken before.
    pub fn take(&mut self, name: &str) -> Option<Tensor> {
        self.wanted.get_mut(name)?.take()
    }

    pub(crate) fn check(&self, known: &[TapSpec]) -> Result<()> {
        match self
            .wanted
            .keys()
            .find(|name| !known.iter().any(|tap| tap.name == **name))
        {
            None => Ok(()),
            Some(name) => {
                let known = known.iter().map(|tap| tap.name.as_str()).collect::<Vec<_>>().join(", ");
                Err(Error::Tap {
                    name: name.clone(),
                    known,
                })
            }
        }
    }

    pub(crate) fn wants(&self, name: &str) -> bool {
        self.wanted.contains_key(name)
    }

    /// Fills `name`, if it was asked for.
    pub(crate) fn record(&mut self, name: &str, tensor: &Tensor) {
        if let Some(slot) = self.wanted.get_mut(name) {
            *slot = Some(tensor.clone());
        }
    }
}
