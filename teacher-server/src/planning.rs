//! Planning: read the inputs once, freeze them and their cut into shards, and put that where the dataset will be.
//!
//! Everything that can be wrong with an input is found here, before a teacher costs anything: each text is tokenised,
//! each image decoded, each label looked up. Text is never tokenised again.

mod examples;
mod request;
mod spec;

pub use request::{CodecKind, PlanRequest, Source, WindowRequest};

use crate::capture::CancelFlag;
use crate::teacher::Profile;
use crate::{Error, Result};
use decant_data::input::{self, Content, Ids, RawExample};
use decant_data::{Counts, Dataset, PlanSpec, Planner, Planning, Store};
use examples::{Prepared, Preparer};
use rayon::prelude::*;

/// Examples that are tokenised or decoded together, at most.
const BLOCK: usize = 256;

/// Bytes of them: a block ends with the example that reaches so many.
const BLOCK_BYTES: usize = 16 << 20;

/// Everything that the values of the dataset will depend on. Reads (to hash) every source; its id is the plan's.
///
/// # Errors
/// A request that does not fit the teacher; a source that cannot be read.
pub fn freeze(request: &PlanRequest, profile: &Profile) -> Result<PlanSpec> {
    spec::freeze(request, profile)
}

/// Plans a dataset in `store`, or finds the same plan there and reads no input again.
///
/// `read` hears how many more examples of the inputs were read.
///
/// # Errors
/// A request that does not fit the teacher; an input that is broken, naming file and line or row; texts longer than
/// the limit, counted; another plan in the store, naming what differs; [`Error::Cancelled`].
pub fn plan(
    request: &PlanRequest,
    profile: &Profile,
    store: &Store,
    cancel: &CancelFlag,
    read: &mut dyn FnMut(u64),
) -> Result<Dataset> {
    let spec = freeze(request, profile)?;
    plan_frozen(spec, &request.sources, profile, store, cancel, read)
}

/// [`plan`] for a request that is frozen already: `sources` are the request's.
///
/// # Errors
/// As [`plan`].
pub fn plan_frozen(
    spec: PlanSpec,
    sources: &[Source],
    profile: &Profile,
    store: &Store,
    cancel: &CancelFlag,
    read: &mut dyn FnMut(u64),
) -> Result<Dataset> {
    let planner = match Planner::begin(store, spec.clone())? {
        Planning::Existing(dataset) => return Ok(dataset),
        Planning::New(planner) => planner,
    };
    let mut reading = Reading {
        preparer: Preparer { profile, spec: &spec },
        planner: *planner,
        ids: Ids::default(),
        counts: Counts::default(),
        too_long: 0,
        first_too_long: None,
    };
    for source in sources {
        reading.source(source, cancel, read)?;
    }
    let Reading { planner, counts, .. } = reading.refuse_too_long()?;
    let checkpoint = profile.checkpoint();
    Ok(planner.finish(checkpoint.tokenizer_json(), checkpoint.config_json(), counts)?)
}

/// The inputs on their way into the planner.
struct Reading<'a> {
    preparer: Preparer<'a>,
    planner: Planner,
    ids: Ids,
    counts: Counts,
    too_long: u64,
    first_too_long: Option<(String, usize)>,
}

impl Reading<'_> {
    fn source(&mut self, source: &Source, cancel: &CancelFlag, read: &mut dyn FnMut(u64)) -> Result<()> {
        let mut reader = input::open(&source.path, &self.preparer.spec.reading)?;
        loop {
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let raw = next_block(&mut reader)?;
            if raw.is_empty() {
                break;
            }
            let count = raw.len() as u64;
            self.block(&source.split, raw)?;
            self.counts.read += count;
            read(count);
        }
        self.counts.blank += reader.blank();
        Ok(())
    }

    fn block(&mut self, split: &str, raw: Vec<RawExample>) -> Result<()> {
        let named = raw
            .into_iter()
            .map(|raw| Ok((self.ids.assign(&raw)?, raw)))
            .collect::<Result<Vec<_>>>()?;
        let preparer = &self.preparer;
        // collected in order, so that the first error reported is the first in the file
        let prepared: Vec<Result<Prepared>> = named
            .into_par_iter()
            .map(|(id, raw)| preparer.prepare(id, raw))
            .collect();
        for prepared in prepared {
            match prepared? {
                Prepared::Kept { examples, truncated } => {
                    self.counts.truncated += u64::from(truncated);
                    for example in examples {
                        self.planner.push(split, example)?;
                    }
                }
                Prepared::TooShort => self.counts.too_short += 1,
                Prepared::TooLong { place, tokens } => {
                    self.too_long += 1;
                    self.first_too_long.get_or_insert((place, tokens));
                }
            }
        }
        Ok(())
    }

    /// Refuses the inputs as a whole when an example is too long: leaving it out would change what is learned.
    fn refuse_too_long(self) -> Result<Self> {
        let Some((place, tokens)) = self.first_too_long else {
            return Ok(self);
        };
        let limit = self.preparer.spec.max_length.unwrap_or_default();
        let (too_long, read) = (self.too_long, self.counts.read);
        Err(Error::Example {
            place,
            reason: format!(
                "{tokens} tokens, more than the limit of {limit} ({too_long} of {read} examples are too long); give \
                 --truncate to cut them, --window to cut them into windows, or another --max-length"
            ),
        })
    }
}

/// The next examples, few enough to be in memory together.
fn next_block(reader: &mut impl Iterator<Item = decant_data::Result<RawExample>>) -> Result<Vec<RawExample>> {
    let (mut block, mut bytes) = (Vec::new(), 0);
    while block.len() < BLOCK && bytes < BLOCK_BYTES {
        let Some(raw) = reader.next().transpose()? else { break };
        bytes += match &raw.content {
            Content::Text(text) => text.len(),
            Content::Tokens(tokens) => size_of_val(tokens.as_slice()),
            Content::Image(image) => image.len(),
        };
        block.push(raw);
    }
    Ok(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_bounded_by_examples_and_by_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let blocks = |lengths: &[usize]| {
            let file = folder.path().join("texts.txt");
            let lines: Vec<String> = lengths.iter().map(|length| "x".repeat(*length)).collect();
            std::fs::write(&file, lines.join("\n")).unwrap();
            let by_line = input::ReadOptions {
                text_unit: input::TextUnit::Line,
                ..Default::default()
            };
            let mut reader = input::open(&file, &by_line).unwrap();
            let mut sizes = Vec::new();
            loop {
                match next_block(&mut reader).unwrap().len() {
                    0 => return sizes,
                    size => sizes.push(size),
                }
            }
        };
        assert_eq!(blocks(&[1; BLOCK + 1]), [BLOCK, 1]);
        assert_eq!(blocks(&[BLOCK_BYTES - 1, 1, 1]), [2, 1]);
        assert_eq!(blocks(&[BLOCK_BYTES + 1, 1, 1]), [1, 2]);
    }
}
