//! What is to be captured: the same facts as [`PlanRequest`], in the same words.

use crate::planning::{CodecKind, PlanRequest, Source, WindowRequest};
use decant_data::Values;
use decant_data::input::{ReadOptions, TextUnit};
use decant_proto::v1;
use std::path::PathBuf;
use tonic::Status;

/// The message for a request and its output.
pub(in crate::grpc) fn plan_message(request: &PlanRequest, output: &str) -> v1::PlanOptions {
    let source = |source: &Source| v1::Source {
        split: source.split.clone(),
        path: source.path.to_string_lossy().into_owned(),
    };
    v1::PlanOptions {
        sources: request.sources.iter().map(source).collect(),
        output: output.to_owned(),
        codec: codec_kind_message(request.codec).into(),
        top_k: Some(request.top_k),
        temperatures: request.temperatures.clone(),
        values: values_message(request.values).into(),
        max_length: request.max_length.map(message_length),
        truncate: request.truncate,
        window: request.window.as_ref().map(|window| v1::Window {
            length: message_length(window.length),
            stride: window.stride.map(message_length),
            prefix: window.prefix.clone(),
        }),
        reading: Some(v1::Reading {
            text_unit: text_unit_message(request.reading.text_unit).into(),
            text_column: request.reading.text_column.clone(),
            image_column: request.reading.image_column.clone(),
            label_column: request.reading.label_column.clone(),
            id_column: request.reading.id_column.clone(),
        }),
        examples_per_shard: request.examples_per_shard,
        batch_tokens: Some(request.batch_tokens),
        batch_pixels: Some(request.batch_pixels),
        chunk_rows: Some(request.chunk_rows),
        seed: request.seed,
    }
}

/// The request and its output, from a message; what is not given takes the defaults of [`PlanRequest::new`].
pub(in crate::grpc) fn plan_request(message: v1::PlanOptions) -> Result<(PlanRequest, String), Status> {
    if message.output.is_empty() {
        return Err(Status::invalid_argument("the plan names no output"));
    }
    let source = |source: v1::Source| Source {
        split: source.split,
        path: PathBuf::from(source.path),
    };
    let defaults = PlanRequest::new(message.sources.into_iter().map(source).collect());
    let temperatures = match message.temperatures.is_empty() {
        true => defaults.temperatures.clone(),
        false => message.temperatures,
    };
    let request = PlanRequest {
        reading: reading(message.reading.unwrap_or_default())?,
        codec: codec_kind(message.codec)?,
        top_k: message.top_k.unwrap_or(defaults.top_k),
        temperatures,
        values: values(message.values)?,
        max_length: message.max_length.map(length),
        truncate: message.truncate,
        window: message.window.map(|window| WindowRequest {
            length: length(window.length),
            stride: window.stride.map(length),
            prefix: window.prefix,
        }),
        examples_per_shard: message.examples_per_shard,
        batch_tokens: message.batch_tokens.unwrap_or(defaults.batch_tokens),
        batch_pixels: message.batch_pixels.unwrap_or(defaults.batch_pixels),
        chunk_rows: message.chunk_rows.unwrap_or(defaults.chunk_rows),
        seed: message.seed,
        ..defaults
    };
    Ok((request, message.output))
}

fn reading(message: v1::Reading) -> Result<ReadOptions, Status> {
    let defaults = ReadOptions::default();
    let or = |given: String, default: String| if given.is_empty() { default } else { given };
    Ok(ReadOptions {
        text_unit: text_unit(message.text_unit)?,
        text_column: or(message.text_column, defaults.text_column),
        image_column: or(message.image_column, defaults.image_column),
        label_column: or(message.label_column, defaults.label_column),
        id_column: or(message.id_column, defaults.id_column),
        class_names: None,
    })
}

fn codec_kind_message(kind: Option<CodecKind>) -> v1::CodecKind {
    match kind {
        None => v1::CodecKind::Unspecified,
        Some(CodecKind::Dense) => v1::CodecKind::Dense,
        Some(CodecKind::TopK) => v1::CodecKind::TopK,
    }
}

fn codec_kind(number: i32) -> Result<Option<CodecKind>, Status> {
    match v1::CodecKind::try_from(number) {
        Ok(v1::CodecKind::Unspecified) => Ok(None),
        Ok(v1::CodecKind::Dense) => Ok(Some(CodecKind::Dense)),
        Ok(v1::CodecKind::TopK) => Ok(Some(CodecKind::TopK)),
        Err(_) => Err(unknown("codec", number)),
    }
}

fn values_message(values: Option<Values>) -> v1::Values {
    match values {
        None => v1::Values::Unspecified,
        Some(Values::F32) => v1::Values::F32,
        Some(Values::F16) => v1::Values::F16,
        Some(Values::Bf16) => v1::Values::Bf16,
    }
}

fn values(number: i32) -> Result<Option<Values>, Status> {
    match v1::Values::try_from(number) {
        Ok(v1::Values::Unspecified) => Ok(None),
        Ok(v1::Values::F32) => Ok(Some(Values::F32)),
        Ok(v1::Values::F16) => Ok(Some(Values::F16)),
        Ok(v1::Values::Bf16) => Ok(Some(Values::Bf16)),
        Err(_) => Err(unknown("values", number)),
    }
}

fn text_unit_message(unit: TextUnit) -> v1::TextUnit {
    match unit {
        TextUnit::File => v1::TextUnit::File,
        TextUnit::Line => v1::TextUnit::Line,
    }
}

fn text_unit(number: i32) -> Result<TextUnit, Status> {
    match v1::TextUnit::try_from(number) {
        Ok(v1::TextUnit::Unspecified | v1::TextUnit::File) => Ok(TextUnit::File),
        Ok(v1::TextUnit::Line) => Ok(TextUnit::Line),
        Err(_) => Err(unknown("text_unit", number)),
    }
}

/// A newer caller may know more than this server.
fn unknown(field: &str, number: i32) -> Status {
    Status::unimplemented(format!(
        "{field} {number} is not known to this server; take a newer one"
    ))
}

fn length(message: u32) -> usize {
    message as usize
}

/// A length that does not fit is longer than any teacher reads, and so is the largest that does.
fn message_length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_survives_the_way() {
        let mut request = PlanRequest::new(vec![Source {
            split: "test".to_owned(),
            path: "/data/a.txt".into(),
        }]);
        request.codec = Some(CodecKind::TopK);
        request.top_k = 8;
        request.temperatures = vec![1.0, 2.5];
        request.values = Some(Values::Bf16);
        request.max_length = Some(128);
        request.truncate = true;
        request.window = Some(WindowRequest {
            length: 64,
            stride: Some(32),
            prefix: Some("<s>".to_owned()),
        });
        request.reading.text_unit = TextUnit::Line;
        request.reading.id_column = "key".to_owned();
        request.examples_per_shard = Some(9);
        request.batch_tokens = 1;
        request.batch_pixels = 2;
        request.chunk_rows = 3;
        request.seed = 4;
        let message = plan_message(&request, "out");
        assert_eq!(plan_request(message).unwrap(), (request, "out".to_owned()));
    }

    #[test]
    fn what_is_not_given_takes_the_defaults() {
        let source = v1::Source {
            split: "train".to_owned(),
            path: "a.txt".to_owned(),
        };
        let message = v1::PlanOptions {
            sources: vec![source],
            output: "out".to_owned(),
            ..Default::default()
        };
        let expected = PlanRequest::new(vec![Source {
            split: "train".to_owned(),
            path: "a.txt".into(),
        }]);
        assert_eq!(plan_request(message).unwrap().0, expected);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let message = v1::PlanOptions {
            output: "out".to_owned(),
            codec: 99,
            ..Default::default()
        };
        assert_eq!(plan_request(message).unwrap_err().code(), tonic::Code::Unimplemented);
        assert!(plan_request(v1::PlanOptions::default()).is_err());
    }
}
