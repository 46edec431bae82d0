//! Jobs through a server: asked for twice, cancelled, killed with the server, and always with the same dataset at the end.

use decant_proto::v1::teacher_service_client::TeacherServiceClient;
use decant_proto::v1::{
    CancelJobRequest, CreateJobRequest, GetJobRequest, Job, JobState, ListJobsRequest, PlanOptions, Source,
};
use decant_tests::{Program, Server, fixtures, server};
use std::path::Path;
use tonic::transport::Channel;

/// Examples of a job, and how many make a shard: a job of many shards, so that one can be met half-way.
const EXAMPLES: usize = 1500;
const SHARD: u32 = 15;

/// A teacher and its texts in a folder.
fn prepare(folder: &Path) {
    fixtures::decoder(7, &folder.join("teacher"));
    std::fs::write(folder.join("texts.jsonl"), fixtures::texts(EXAMPLES)).unwrap();
}

fn options(output: &str) -> PlanOptions {
    let source = Source {
        split: "train".to_owned(),
        path: "texts.jsonl".to_owned(),
    };
    PlanOptions {
        sources: vec![source],
        output: output.to_owned(),
        top_k: Some(8),
        temperatures: vec![1.0, 2.0],
        examples_per_shard: Some(SHARD),
        ..PlanOptions::default()
    }
}

async fn create(client: &mut TeacherServiceClient<Channel>, output: &str) -> Job {
    let request = CreateJobRequest {
        plan: Some(options(output)),
    };
    client.create_job(request).await.unwrap().into_inner().job.unwrap()
}

async fn get(client: &TeacherServiceClient<Channel>, id: &str) -> Job {
    let request = GetJobRequest { id: id.to_owned() };
    client.clone().get_job(request).await.unwrap().into_inner().job.unwrap()
}

async fn until_state(client: &TeacherServiceClient<Channel>, id: &str, state: JobState) -> Job {
    server::until(&format!("job {id} is {state:?}"), async || {
        let job = get(client, id).await;
        assert!(
            job.state() != JobState::Failed || state == JobState::Failed,
            "{}",
            job.failure
        );
        (job.state() == state).then_some(job)
    })
    .await
}

/// Waits until some shards are committed, and others are not.
async fn until_half_way(client: &TeacherServiceClient<Channel>, id: &str) {
    let job = server::until(&format!("job {id} has committed shards"), async || {
        let job = get(client, id).await;
        job.progress
            .is_some_and(|progress| progress.shards_done >= 3)
            .then_some(job)
    })
    .await;
    assert_eq!(
        job.state(),
        JobState::Running,
        "the job was over before the test could meet it half-way"
    );
}

/// What the same plan makes in one process that nothing disturbs.
fn undisturbed(folder: &Path) -> Vec<String> {
    Program::teacher_server()
        .current_dir(folder)
        .args("precompute --model teacher --input texts.jsonl --output undisturbed --top-k 8 --temperatures 1,2")
        .args(&format!("--examples-per-shard {SHARD}"))
        .succeed();
    fixtures::table_sums(&folder.join("undisturbed"))
}

#[tokio::test]
async fn a_job_that_its_server_was_killed_in_goes_on_to_the_same_dataset() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    prepare(folder);

    let mut first = Server::start(&folder.join("teacher"), folder);
    let mut client = first.client().await;
    let job = create(&mut client, "cache").await;
    until_half_way(&client, &job.id).await;
    first.kill();

    let markers = std::fs::read_dir(folder.join("cache/commits")).unwrap().count();
    assert!(markers >= 3 && markers < EXAMPLES / SHARD as usize, "{markers} markers");
    assert!(!folder.join("cache/manifest.json").exists());
    Program::soft_labels()
        .current_dir(folder)
        .args("verify cache")
        .refuse(&["seal"]);

    let mut second = Server::start(&folder.join("teacher"), folder);
    let mut client = second.client().await;
    let jobs = client
        .list_jobs(ListJobsRequest::default())
        .await
        .unwrap()
        .into_inner()
        .jobs;
    assert_eq!(
        jobs.iter().map(|job| job.id.as_str()).collect::<Vec<_>>(),
        [job.id.as_str()]
    );
    let done = until_state(&client, &job.id, JobState::Succeeded).await;
    let progress = done.progress.unwrap();
    assert_eq!(
        (progress.examples_done, progress.examples_total),
        (EXAMPLES as u64, EXAMPLES as u64)
    );
    assert!(second.terminate().success());

    Program::soft_labels()
        .current_dir(folder)
        .args("verify cache")
        .succeed();
    assert_eq!(fixtures::table_sums(&folder.join("cache")), undisturbed(folder));
}

#[tokio::test]
async fn a_job_is_one_job_however_often_it_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    prepare(folder);
    let mut server = Server::start(&folder.join("teacher"), folder);
    let mut client = server.client().await;

    let first = create(&mut client, "cache").await;
    let second = create(&mut client, "cache").await;
    assert_eq!(first.id, second.id);

    until_half_way(&client, &first.id).await;
    client
        .cancel_job(CancelJobRequest { id: first.id.clone() })
        .await
        .unwrap();
    until_state(&client, &first.id, JobState::Cancelled).await;
    assert!(!folder.join("cache/manifest.json").exists());

    let again = create(&mut client, "cache").await;
    assert_eq!(again.id, first.id);
    until_state(&client, &first.id, JobState::Succeeded).await;
    assert_eq!(
        client
            .list_jobs(ListJobsRequest::default())
            .await
            .unwrap()
            .into_inner()
            .jobs
            .len(),
        1
    );
    assert_eq!(fixtures::table_sums(&folder.join("cache")), undisturbed(folder));
}

#[tokio::test]
async fn a_path_outside_the_roots_is_denied() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    prepare(folder);
    let root = folder.join("root");
    std::fs::create_dir(&root).unwrap();
    std::os::unix::fs::symlink(folder.join("texts.jsonl"), root.join("texts.jsonl")).unwrap();
    let mut server = Server::start(&folder.join("teacher"), &root);
    let mut client = server.client().await;

    for (input, output) in [
        ("../texts.jsonl", "cache"),
        ("texts.jsonl", "../cache"),
        ("texts.jsonl", "/tmp/decant-outside"),
    ] {
        let mut plan = options(output);
        plan.sources[0].path = input.to_owned();
        let status = client
            .create_job(CreateJobRequest { plan: Some(plan) })
            .await
            .unwrap_err();
        assert_eq!(
            status.code(),
            tonic::Code::PermissionDenied,
            "{input} {output}: {status}"
        );
    }
}

#[tokio::test]
async fn the_commands_show_and_stop_jobs() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    prepare(folder);
    let mut server = Server::start(&folder.join("teacher"), folder);
    let client = server.client().await;
    let command = |words: &str| Program::teacher_server().args(words).args("--server").arg(&server.url);

    let flags = format!("--input texts.jsonl --output cache --top-k 8 --examples-per-shard {SHARD}");
    let submitted = command(&format!("submit {flags}")).succeed();
    let id = submitted.stdout.split_whitespace().next().unwrap().to_owned();
    until_half_way(&client, &id).await;
    assert!(command("jobs").succeed().stdout.contains(&id));
    command(&format!("cancel {id}")).succeed();
    until_state(&client, &id, JobState::Cancelled).await;

    let watched = command(&format!("submit --watch {flags}")).succeed();
    assert!(watched.stdout.contains("cache"), "{watched}");
    let lines = command("jobs --json").succeed().stdout;
    let job: serde_json::Value = serde_json::from_str(lines.trim()).unwrap();
    assert_eq!(job["id"], id.as_str());
    assert_eq!(
        job["state"].as_str().map(str::to_lowercase).as_deref(),
        Some("succeeded"),
        "{job}"
    );
    command("watch 0123456789abcdef").refuse(&["0123456789abcdef"]);
}
