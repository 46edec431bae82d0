//! From what was asked and who the teacher is to everything that the values depend on.

use super::request::{CodecKind, PlanRequest};
use crate::teacher::{Profile, Reads};
use crate::{Error, Result};
use decant_data::input::{self, ReadOptions, Window};
use decant_data::{BatchBudget, Codec, FORMAT_VERSION, PlanSpec, SourceIdentity, Task, Ties, Values};

/// Freezes a request and checks what came out; hashes every source on the way.
pub(super) fn freeze(request: &PlanRequest, profile: &Profile) -> Result<PlanSpec> {
    if request.sources.is_empty() {
        return Err(Error::Request(
            "there is no input: give --input FILE or --split NAME=FILE".to_owned(),
        ));
    }
    for (flag, number) in [
        ("--batch-tokens", request.batch_tokens),
        ("--batch-pixels", request.batch_pixels),
        ("--chunk-rows", request.chunk_rows),
    ] {
        if number == 0 {
            return Err(Error::Request(format!(
                "{flag} is 0: nothing would fit; give at least 1"
            )));
        }
    }
    let images = matches!(profile.reads(), Reads::Images(_));
    let budget = if images {
        BatchBudget::Pixels(request.batch_pixels.into())
    } else {
        BatchBudget::Tokens(request.batch_tokens.into())
    };
    let per_shard = if images {
        PlanRequest::IMAGES_PER_SHARD
    } else {
        PlanRequest::TEXTS_PER_SHARD
    };
    let max_length = max_length(request, profile)?;
    let spec = PlanSpec {
        format_version: FORMAT_VERSION,
        task: profile.task(),
        teacher: profile.identity().clone(),
        classes: profile.classes().map(<[String]>::to_vec),
        tokenizer: profile.tokenizer_identity(),
        outcomes: profile.outcomes().width() as u32,
        holes: profile.outcomes().holes().to_vec(),
        sources: sources(request)?,
        reading: ReadOptions {
            class_names: profile.classes().map(<[String]>::to_vec),
            ..request.reading.clone()
        },
        max_length,
        truncate: request.truncate,
        window: window(request, profile, max_length)?,
        examples_per_shard: request.examples_per_shard.unwrap_or(per_shard),
        batch_budget: budget,
        chunk_rows: request.chunk_rows,
        codec: codec(request, profile.task()),
        ties: Ties::LowerIdFirst,
        seed: request.seed,
    };
    spec.check()?;
    Ok(spec)
}

fn codec(request: &PlanRequest, task: Task) -> Codec {
    let by_task = if task == Task::CausalLm {
        CodecKind::TopK
    } else {
        CodecKind::Dense
    };
    match request.codec.unwrap_or(by_task) {
        CodecKind::Dense => Codec::Dense {
            values: request.values.unwrap_or(Values::F32),
        },
        CodecKind::TopK => Codec::TopK {
            k: request.top_k,
            values: request.values.unwrap_or(Values::F16),
            temperatures: request.temperatures.clone(),
        },
    }
}

fn max_length(request: &PlanRequest, profile: &Profile) -> Result<Option<u32>> {
    let Some(limit) = profile.max_length() else {
        return match request.max_length {
            Some(_) => Err(Error::Request(
                "--max-length is for text, and the teacher reads images".to_owned(),
            )),
            None => Ok(None),
        };
    };
    let asked = request.max_length.unwrap_or(limit);
    if asked > limit {
        return Err(Error::Request(format!(
            "--max-length {asked} is more than the {limit} positions of the teacher"
        )));
    }
    if asked < 2 {
        return Err(Error::Request(format!(
            "--max-length {asked} leaves nothing to predict; give at least 2"
        )));
    }
    Ok(u32::try_from(asked).ok())
}

fn window(request: &PlanRequest, profile: &Profile, max_length: Option<u32>) -> Result<Option<Window>> {
    let Some(asked) = &request.window else { return Ok(None) };
    let (Reads::Tokens(tokenizer), Some(limit)) = (profile.reads(), max_length) else {
        return Err(Error::Request(
            "--window is for text, and the teacher reads images".to_owned(),
        ));
    };
    if asked.length > limit as usize {
        let length = asked.length;
        return Err(Error::Request(format!(
            "--window {length} is more than the {limit} tokens of --max-length"
        )));
    }
    let unknown =
        |token: &String| Error::Request(format!("--prefix {token:?} is not a token of the teacher's tokenizer"));
    let id = |token: &String| tokenizer.token_to_id(token).ok_or_else(|| unknown(token));
    let prefix = asked.prefix.as_ref().map(id).transpose()?;
    Ok(Some(Window::new(asked.length, asked.stride, prefix)?))
}

fn sources(request: &PlanRequest) -> Result<Vec<SourceIdentity>> {
    let mut identities = Vec::with_capacity(request.sources.len());
    for source in &request.sources {
        let input::Digest { sha256, bytes, .. } = input::sha256_of(&source.path)?;
        let name = source
            .path
            .file_name()
            .unwrap_or(source.path.as_os_str())
            .to_string_lossy()
            .into_owned();
        identities.push(SourceIdentity {
            split: source.split.clone(),
            name,
            sha256,
            bytes,
        });
    }
    Ok(identities)
}
