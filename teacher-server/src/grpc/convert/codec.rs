//! Codecs and examples of `Score`.

use crate::teacher::{Profile, Reads};
use decant_data::{Codec, Example, ExampleContent, Values};
use decant_proto::v1::{self, codec::Kind, score_example::Content};
use tonic::Status;

/// The codec of a stream. Messages carry 32-bit floats, so nothing is rounded.
pub(in crate::grpc) fn codec(message: Option<&v1::Codec>) -> Result<Codec, Status> {
    let kind = message.and_then(|message| message.kind.as_ref());
    let codec = match kind.ok_or_else(|| Status::invalid_argument("the options name no codec; give dense or top_k"))? {
        Kind::Dense(v1::DenseCodec {}) => Codec::Dense { values: Values::F32 },
        Kind::TopK(v1::TopKCodec { k, temperatures }) => Codec::TopK {
            k: *k,
            values: Values::F32,
            temperatures: temperatures.clone(),
        },
    };
    codec
        .check()
        .map_err(|error| Status::invalid_argument(error.to_string()))?;
    Ok(codec)
}

/// An example for the teacher; text is tokenised here.
pub(in crate::grpc) fn example(message: v1::ScoreExample, profile: &Profile) -> Result<Example, Status> {
    let content = match message.content {
        Some(Content::Tokens(tokens)) => ExampleContent::Tokens(tokens.ids),
        Some(Content::Text(text)) => ExampleContent::Tokens(tokens(&text, profile)?),
        Some(Content::Image(bytes)) => ExampleContent::Image(bytes),
        None => {
            return Err(Status::invalid_argument(
                "the example holds neither tokens, text nor image",
            ));
        }
    };
    Ok(Example {
        id: message.id,
        view: 0,
        content,
        label: None,
        loss_mask: None,
    })
}

fn tokens(text: &str, profile: &Profile) -> Result<Vec<u32>, Status> {
    let Reads::Tokens(tokenizer) = profile.reads() else {
        return Err(Status::invalid_argument("text, but the teacher reads images"));
    };
    if text.trim().is_empty() {
        return Err(Status::invalid_argument("the text is empty"));
    }
    tokenizer
        .encode(text)
        .map_err(|error| Status::invalid_argument(error.to_string()))
}
