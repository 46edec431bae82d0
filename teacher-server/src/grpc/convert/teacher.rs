//! Who the teacher is.

use crate::grpc::score::{MAX_ANSWER_BYTES, QUEUE_EXAMPLES};
use crate::grpc::service::MAX_SCORE_STREAMS;
use crate::teacher::Teacher;
use decant_data::Task;
use decant_proto::{MAX_MESSAGE_BYTES, v1};

pub(in crate::grpc) fn teacher_message(teacher: &Teacher) -> v1::Teacher {
    let profile = teacher.profile();
    let identity = profile.identity().clone();
    v1::Teacher {
        identity: Some(v1::TeacherIdentity {
            name: identity.name,
            architecture: identity.architecture,
            weights_sha256: identity.weights_sha256,
            config_sha256: identity.config_sha256,
            preprocessor_sha256: identity.preprocessor_sha256.unwrap_or_default(),
            tokenizer_map_sha256: profile
                .tokenizer_identity()
                .map(|tokenizer| tokenizer.map_sha256)
                .unwrap_or_default(),
            dtype: identity.dtype,
            device: identity.device,
        }),
        task: task(profile.task()).into(),
        outcomes: profile.outcomes().width() as u32,
        classes: profile.classes().unwrap_or_default().to_vec(),
        taps: teacher
            .taps()
            .iter()
            .map(|tap| v1::Tap {
                name: tap.name.clone(),
                shape: tap.what.clone(),
            })
            .collect(),
        codecs: vec![v1::CodecKind::Dense.into(), v1::CodecKind::TopK.into()],
        limits: Some(v1::Limits {
            max_message_bytes: MAX_MESSAGE_BYTES as u64,
            max_answer_bytes: MAX_ANSWER_BYTES as u64,
            max_length: profile.max_length().unwrap_or_default() as u32,
            score_queue_examples: QUEUE_EXAMPLES as u32,
            max_score_streams: MAX_SCORE_STREAMS as u32,
        }),
        server_version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

fn task(task: Task) -> v1::Task {
    match task {
        Task::ImageClassification => v1::Task::ImageClassification,
        Task::TextClassification => v1::Task::TextClassification,
        Task::CausalLm => v1::Task::CausalLm,
    }
}
