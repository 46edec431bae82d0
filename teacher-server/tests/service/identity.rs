//! Who the teacher is, who may ask, and when.

use crate::fixtures;
use crate::support::{Client, Place, Server, until};
use decant_proto::v1;
use std::path::Path;
use std::sync::mpsc;
use teacher_server::grpc::{Credentials, Ready, Remote, Settings, Tls, Token};
use teacher_server::jobs::Roots;
use teacher_server::teacher::Profile;
use tonic::Code;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

async fn health(client: &mut HealthClient<Channel>, service: &str) -> ServingStatus {
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    client.check(request).await.unwrap().into_inner().status()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_teacher_says_who_it_is() {
    let place = Place::decoder();
    let server = place.serve().await;
    let mut client = server.client().await;
    let teacher = client
        .get_teacher(v1::GetTeacherRequest {})
        .await
        .unwrap()
        .into_inner()
        .teacher
        .unwrap();

    let identity = teacher.identity.clone().unwrap();
    let profile = Profile::open(&place.model, "f32", "cpu").unwrap();
    assert_eq!(identity.weights_sha256, profile.identity().weights_sha256);
    assert_eq!(identity.weights_sha256.len(), 64);
    assert_eq!((identity.dtype.as_str(), identity.device.as_str()), ("f32", "cpu"));
    assert_eq!(teacher.task(), v1::Task::CausalLm);
    assert_eq!(teacher.outcomes, fixtures::IDS);
    assert!(!teacher.taps.is_empty());
    let limits = teacher.limits.unwrap();
    assert_eq!(limits.max_message_bytes, 2 * 1024 * 1024);
    assert_eq!(limits.max_length as usize, fixtures::MAX_POSITIONS);
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_waits_for_the_first_answer_of_the_teacher() {
    let place = Place::decoder();
    let (go, wait) = mpsc::channel::<()>();
    let (model, root) = (place.model.clone(), place.root.clone());
    let server = Server::start_with(Settings::default(), move || {
        wait.recv().unwrap();
        let profile = Profile::open(&model, "f32", "cpu").map_err(teacher_server::Error::from)?;
        Ready::start(profile, Roots::new(&[root.to_str().unwrap()])?)
    })
    .await;

    let channel = Channel::from_shared(server.url.clone())
        .unwrap()
        .connect()
        .await
        .unwrap();
    let mut probe = HealthClient::new(channel);
    for service in ["", "decant.v1.TeacherService"] {
        assert_eq!(
            health(&mut probe, service).await,
            ServingStatus::NotServing,
            "{service:?}"
        );
    }
    let mut client = server.early_client().await;
    let early = client.get_teacher(v1::GetTeacherRequest {}).await.unwrap_err();
    assert_eq!(early.code(), Code::Unavailable);

    go.send(()).unwrap();
    until("serving", async || {
        (health(&mut probe, "").await == ServingStatus::Serving).then_some(())
    })
    .await;
    assert_eq!(
        health(&mut probe, "decant.v1.TeacherService").await,
        ServingStatus::Serving
    );
    client.get_teacher(v1::GetTeacherRequest {}).await.unwrap();
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_teacher_that_cannot_be_loaded_ends_the_server() {
    let place = Place::decoder();
    std::fs::write(place.model.join("model.safetensors"), "not weights").unwrap();
    let (model, root) = (place.model.clone(), place.root.clone());
    let server = Server::start_with(Settings::default(), move || {
        let profile = Profile::open(&model, "f32", "cpu").map_err(teacher_server::Error::from)?;
        Ready::start(profile, Roots::new(&[root.to_str().unwrap()])?)
    })
    .await;
    let message = server.ended().await.unwrap_err().to_string();
    assert!(message.contains("model.safetensors"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_shows_the_token_is_let_in_and_health_is_open() {
    let place = Place::decoder();
    let settings = Settings {
        token: Token::new("s3cret"),
        ..Settings::default()
    };
    let server = Server::start(&place.model, &place.root, settings).await;

    let mut client: Client = server.early_client().await;
    let refused = client.get_teacher(v1::GetTeacherRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let mut wrong = tonic::Request::new(v1::ListJobsRequest::default());
    wrong
        .metadata_mut()
        .insert("authorization", "Bearer s3cre".parse().unwrap());
    assert_eq!(client.list_jobs(wrong).await.unwrap_err().code(), Code::Unauthenticated);

    let channel = Channel::from_shared(server.url.clone())
        .unwrap()
        .connect()
        .await
        .unwrap();
    let mut probe = HealthClient::new(channel);
    until("serving", async || {
        (health(&mut probe, "").await == ServingStatus::Serving).then_some(())
    })
    .await;
    let credentials = Credentials {
        token: Token::new("s3cret"),
        ca_certificate: None,
    };
    let mut remote = Remote::connect(&server.url, &credentials).await.unwrap();
    assert!(remote.list().await.unwrap().is_empty());
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_carries_calls_of_who_trusts_the_certificate() {
    let tls = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls");
    let place = Place::decoder();
    let settings = Settings {
        tls: Some(Tls::read(&tls.join("server.pem"), &tls.join("server.key")).unwrap()),
        token: Token::new("s3cret"),
        ..Settings::default()
    };
    let server = Server::start(&place.model, &place.root, settings).await;
    let url = server.url.replace("127.0.0.1", "localhost");
    let credentials = |certificate: &str| Credentials {
        token: Token::new("s3cret"),
        ca_certificate: Some(std::fs::read(tls.join(certificate)).unwrap()),
    };

    let mut remote = Remote::connect(&url, &credentials("ca.pem")).await.unwrap();
    until("serving", async || remote.list().await.ok()).await;
    assert!(Remote::connect(&url, &credentials("other.pem")).await.is_err());
    // a plain connection to the port opens, and breaks at the first call
    let plain = Remote::connect(&url.replace("https", "http"), &Credentials::default()).await;
    assert!(match plain {
        Err(_) => true,
        Ok(mut remote) => remote.list().await.is_err(),
    });
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_names_the_services() {
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

    let place = Place::decoder();
    let server = place.serve().await;
    let channel = Channel::from_shared(server.url.clone())
        .unwrap()
        .connect()
        .await
        .unwrap();
    let asked = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(channel);
    let asking = client.server_reflection_info(tokio_stream::iter([asked])).await;
    let answer: ServerReflectionResponse = asking.unwrap().into_inner().message().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(services)) = answer.message_response else {
        panic!("{answer:?}")
    };
    let names: Vec<String> = services.service.into_iter().map(|service| service.name).collect();
    for name in ["decant.v1.TeacherService", "grpc.health.v1.Health"] {
        assert!(names.iter().any(|found| found == name), "{names:?}");
    }
    server.end().await;
}
