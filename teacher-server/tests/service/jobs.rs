//! Jobs: created once, refused outside the roots, cancelled, gone on with.

use crate::fixtures;
use crate::support::{Client, Place, Server, create, get, plan, until, watch};
use decant_data::{Dataset, Store};
use decant_proto::v1::{self, JobState};
use std::os::unix::fs::symlink;
use std::path::Path;
use teacher_server::grpc::{Ready, Settings};
use teacher_server::jobs::Roots;
use teacher_server::teacher::Profile;
use tonic::Code;

/// A dataset as it lies there.
fn dataset(place: &Path) -> Dataset {
    tokio::task::block_in_place(|| Dataset::open(&store(place)).unwrap())
}

/// Shards of a dataset without a marker.
fn missing(place: &Path) -> usize {
    let dataset = dataset(place);
    tokio::task::block_in_place(|| dataset.missing().unwrap().len())
}

fn verify(place: &Path) {
    tokio::task::block_in_place(|| decant_data::verify(&store(place), &mut ()).unwrap());
}

fn store(dataset: &Path) -> Store {
    Store::open(dataset.to_str().unwrap()).unwrap()
}

async fn cancel(client: &mut Client, id: &str) -> v1::Job {
    let answer = client
        .cancel_job(v1::CancelJobRequest { id: id.to_owned() })
        .await
        .unwrap();
    answer.into_inner().job.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_makes_a_whole_dataset_and_asking_twice_is_one_job() {
    let place = Place::documents(14);
    let server = place.serve().await;
    let mut client = server.client().await;
    let job = create(&mut client, plan("out")).await.unwrap();
    let again = create(&mut client, plan("out")).await.unwrap();
    assert_eq!(job.id, again.id);
    let seen = watch(&mut client, &job.id).await;

    let last = seen.last().unwrap();
    assert_eq!(last.state(), JobState::Succeeded, "{last:?}");
    assert_eq!(
        last.plan.as_ref().unwrap().output,
        place.root.join("out").to_str().unwrap()
    );
    let progress = last.progress.unwrap();
    assert_eq!((progress.shards_done, progress.shards_total), (5, 5));
    assert_eq!((progress.examples_done, progress.examples_total), (14, 14));
    assert_eq!(progress.positions_done, progress.positions_total);
    assert!(progress.positions_total > 0);

    verify(&place.root.join("out"));
    assert_eq!(dataset(&place.root.join("out")).plan().id, job.id);
    // done is done: asked a third time, nothing runs
    assert_eq!(
        create(&mut client, plan("out")).await.unwrap().state(),
        JobState::Succeeded
    );
    let listed = client
        .list_jobs(v1::ListJobsRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(listed.jobs.len(), 1);
    // the same plan elsewhere would be the same work again
    let elsewhere = create(&mut client, plan("out-2")).await.unwrap_err();
    assert_eq!(elsewhere.code(), Code::AlreadyExists);
    assert!(elsewhere.message().contains("root/out"), "{elsewhere}");
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_gives_the_table_of_precompute() {
    let place = Place::documents(14);
    let server = place.serve().await;
    let mut client = server.client().await;
    let job = create(&mut client, plan("out")).await.unwrap();
    watch(&mut client, &job.id).await;
    server.end().await;

    let alone = place.dir.path().join("alone");
    let input = place.root.join("documents.jsonl");
    let [model, input, alone_path] = [&place.model, &input, &alone].map(|path| path.to_str().unwrap());
    let flags = ["precompute", "--model", model, "--input", input, "--output", alone_path];
    let shards = ["--examples-per-shard", "3", "--top-k", "4", "--temperatures", "1,2"];
    fixtures::succeed(&fixtures::teacher_server(&[&flags[..], &shards].concat(), &[]));
    assert_eq!(fixtures::tables(&alone), fixtures::tables(&place.root.join("out")));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_path_lies_under_a_root() {
    let place = Place::documents(3);
    let outside = place.dir.path().join("secret.jsonl");
    std::fs::copy(place.root.join("documents.jsonl"), &outside).unwrap();
    symlink(&outside, place.root.join("link.jsonl")).unwrap();
    symlink(place.dir.path(), place.root.join("up")).unwrap();
    let server = place.serve().await;
    let mut client = server.client().await;
    let root = place.root.to_str().unwrap();

    for input in [
        outside.to_str().unwrap(),
        "../secret.jsonl",
        "link.jsonl",
        "up/secret.jsonl",
        "/etc/passwd",
    ] {
        let mut plan = plan("out");
        plan.sources[0].path = input.to_owned();
        let refused = create(&mut client, plan).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{input}: {refused}");
        assert!(
            refused.message().contains(root) && refused.message().contains(input),
            "{refused}"
        );
    }
    let sibling = format!("{root}-2/out");
    for output in [
        "/tmp/out",
        "../out",
        "up/out",
        "memory://somewhere/out",
        sibling.as_str(),
    ] {
        let refused = create(&mut client, plan(output)).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{output}: {refused}");
        assert!(refused.message().contains(root), "{refused}");
    }
    assert!(!place.dir.path().join("out").exists());
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_planned_is_refused_at_once() {
    let place = Place::documents(3);
    let server = place.serve().await;
    let mut client = server.client().await;
    let missing = create(
        &mut client,
        v1::PlanOptions {
            sources: Vec::new(),
            ..plan("out")
        },
    )
    .await
    .unwrap_err();
    assert_eq!(missing.code(), Code::InvalidArgument);
    let no_file = v1::Source {
        split: "train".to_owned(),
        path: "nothing.jsonl".to_owned(),
    };
    let no_file = create(
        &mut client,
        v1::PlanOptions {
            sources: vec![no_file],
            ..plan("out")
        },
    )
    .await
    .unwrap_err();
    assert_eq!(no_file.code(), Code::InvalidArgument);
    assert!(no_file.message().contains("nothing.jsonl"), "{no_file}");
    let too_long = create(
        &mut client,
        v1::PlanOptions {
            max_length: Some(4000),
            ..plan("out")
        },
    )
    .await
    .unwrap_err();
    assert_eq!(too_long.code(), Code::InvalidArgument);
    for id in ["", "0000000000000000"] {
        let unknown = client
            .get_job(v1::GetJobRequest { id: id.to_owned() })
            .await
            .unwrap_err();
        assert_eq!(unknown.code(), Code::NotFound);
    }
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_holds_another_plan_is_refused() {
    let place = Place::documents(3);
    let server = place.serve().await;
    let mut client = server.client().await;
    let job = create(&mut client, plan("out")).await.unwrap();
    watch(&mut client, &job.id).await;
    let other = create(
        &mut client,
        v1::PlanOptions {
            top_k: Some(5),
            ..plan("out")
        },
    )
    .await
    .unwrap_err();
    assert_eq!(other.code(), Code::FailedPrecondition);
    assert!(other.message().contains(&job.id), "{other}");
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_job_says_why_in_one_line_and_can_be_asked_for_again() {
    let place = Place::documents(3);
    let path = place.root.join("documents.jsonl");
    let good = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{good}{{\"text\": 7}}\n")).unwrap();
    let server = place.serve().await;
    let mut client = server.client().await;
    let job = create(&mut client, plan("out")).await.unwrap();
    let failed = watch(&mut client, &job.id).await.pop().unwrap();
    assert_eq!(failed.state(), JobState::Failed);
    assert!(
        failed.failure.contains("documents.jsonl:4") && !failed.failure.contains('\n'),
        "{}",
        failed.failure
    );
    // the same input fails the same way; a mended one is another plan
    create(&mut client, plan("out")).await.unwrap();
    assert_eq!(
        watch(&mut client, &job.id).await.pop().unwrap().state(),
        JobState::Failed
    );
    std::fs::write(&path, good).unwrap();
    let mended = create(&mut client, plan("out")).await.unwrap();
    assert_ne!(mended.id, job.id);
    assert_eq!(
        watch(&mut client, &mended.id).await.pop().unwrap().state(),
        JobState::Succeeded
    );
    server.end().await;
}

/// A plan of so many shards that a test can step in between.
fn long_plan(output: &str) -> v1::PlanOptions {
    v1::PlanOptions {
        examples_per_shard: Some(1),
        ..plan(output)
    }
}

/// Waits until some shards of a job are committed, and says how many.
async fn some_shards(client: &mut Client, id: &str) -> u64 {
    until("shards are committed", async || {
        let job = get(client, id).await;
        assert!(job.state() != JobState::Failed, "{}", job.failure);
        Some(job.progress.unwrap().shards_done).filter(|&done| done >= 2)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_keeps_its_shards_and_goes_on_when_asked_again() {
    let place = Place::documents(120);
    let server = place.serve().await;
    let mut client = server.client().await;
    let job = create(&mut client, long_plan("out")).await.unwrap();
    let waiting = create(
        &mut client,
        v1::PlanOptions {
            seed: 1,
            ..long_plan("out-2")
        },
    )
    .await
    .unwrap();
    // one that waits is cancelled at once, and never starts
    assert_eq!(cancel(&mut client, &waiting.id).await.state(), JobState::Cancelled);
    some_shards(&mut client, &job.id).await;
    cancel(&mut client, &job.id).await;
    let cancelled = watch(&mut client, &job.id).await.pop().unwrap();
    assert_eq!(cancelled.state(), JobState::Cancelled);

    let missing = missing(&place.root.join("out"));
    assert!(missing > 0 && missing < 120, "{missing}");
    assert_eq!(get(&mut client, &job.id).await.state(), JobState::Cancelled);
    assert!(!place.root.join("out-2").exists());

    create(&mut client, long_plan("out")).await.unwrap();
    let done = watch(&mut client, &job.id).await.pop().unwrap();
    assert_eq!(done.state(), JobState::Succeeded, "{}", done.failure);
    verify(&place.root.join("out"));
    // what has ended stays as it is
    assert_eq!(cancel(&mut client, &job.id).await.state(), JobState::Succeeded);
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_jobs_go_on_after_a_restart_and_ended_ones_stay() {
    let place = Place::documents(120);
    let server = place.serve().await;
    let mut client = server.client().await;
    let short = create(
        &mut client,
        v1::PlanOptions {
            examples_per_shard: Some(120),
            ..plan("short")
        },
    )
    .await
    .unwrap();
    watch(&mut client, &short.id).await;
    let running = create(&mut client, long_plan("out")).await.unwrap();
    let waiting = create(
        &mut client,
        v1::PlanOptions {
            seed: 1,
            examples_per_shard: Some(60),
            ..plan("later")
        },
    );
    let waiting = waiting.await.unwrap();
    some_shards(&mut client, &running.id).await;
    server.end().await;
    let committed = 120 - missing(&place.root.join("out"));
    assert!((2..120).contains(&committed), "{committed}");

    let server = place.serve().await;
    let mut client = server.client().await;
    let page = client
        .list_jobs(v1::ListJobsRequest {
            page_size: 2,
            ..Default::default()
        })
        .await
        .unwrap()
        .into_inner();
    let rest = v1::ListJobsRequest {
        page_size: 2,
        page_token: page.next_page_token,
    };
    let rest = client.list_jobs(rest).await.unwrap().into_inner();
    let listed: Vec<&v1::Job> = page.jobs.iter().chain(&rest.jobs).collect();
    let ids: Vec<&str> = listed.iter().map(|job| job.id.as_str()).collect();
    assert_eq!(ids, [&short.id, &running.id, &waiting.id]);
    assert_eq!(listed[0].state(), JobState::Succeeded);
    assert_eq!(listed[0].progress.unwrap().examples_done, 120);
    for id in [&running.id, &waiting.id] {
        let done = watch(&mut client, id).await.pop().unwrap();
        assert_eq!(done.state(), JobState::Succeeded, "{}", done.failure);
    }
    for output in ["out", "later"] {
        verify(&place.root.join(output));
    }
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_another_teacher_are_left_alone() {
    let place = Place::documents(120);
    let server = place.serve().await;
    let mut client = server.client().await;
    let job = create(&mut client, long_plan("out")).await.unwrap();
    some_shards(&mut client, &job.id).await;
    server.end().await;

    let other = Place {
        model: fixtures::decoder(place.dir.path(), 2),
        ..place
    };
    let server = other.serve().await;
    let mut client = server.client().await;
    let unknown = client.get_job(v1::GetJobRequest { id: job.id }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_held_to_the_roots_that_there_are_when_it_runs() {
    let place = Place::documents(120);
    let server = place.serve().await;
    let mut client = server.client().await;
    let job = create(&mut client, long_plan("sub/out")).await.unwrap();
    some_shards(&mut client, &job.id).await;
    server.end().await;

    // since then its output has become a link that leads out of the root
    let outside = place.dir.path().join("outside");
    std::fs::rename(place.root.join("sub"), &outside).unwrap();
    symlink(&outside, place.root.join("sub")).unwrap();
    let server = place.serve().await;
    let mut client = server.client().await;
    let failed = watch(&mut client, &job.id).await.pop().unwrap();
    assert_eq!(failed.state(), JobState::Failed);
    assert!(
        failed.failure.contains("does not lie under a root"),
        "{}",
        failed.failure
    );
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_inputs_changed_while_it_waited_writes_nothing() {
    let place = Place::documents(120);
    let server = place.serve().await;
    let mut client = server.client().await;
    let first = create(&mut client, long_plan("first")).await.unwrap();
    let input = place.root.join("later.jsonl");
    fixtures::documents(&input, 3);
    let mut later = plan("out");
    later.sources[0].path = "later.jsonl".to_owned();
    let job = create(&mut client, later.clone()).await.unwrap();
    fixtures::documents(&input, 4);
    some_shards(&mut client, &first.id).await;
    cancel(&mut client, &first.id).await;

    let failed = watch(&mut client, &job.id).await.pop().unwrap();
    assert_eq!(failed.state(), JobState::Failed);
    assert!(failed.failure.contains("has changed"), "{}", failed.failure);
    assert!(!place.root.join("out").exists());
    // as it was, the job goes through
    fixtures::documents(&input, 3);
    create(&mut client, later).await.unwrap();
    let done = watch(&mut client, &job.id).await.pop().unwrap();
    assert_eq!(done.state(), JobState::Succeeded, "{}", done.failure);
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_plan_can_have_is_refused_and_not_recorded() {
    let place = Place::documents(3);
    let server = place.serve().await;
    let mut client = server.client().await;
    let no_number = v1::PlanOptions {
        temperatures: vec![f32::NAN],
        ..plan("out")
    };
    let nothing_kept = v1::PlanOptions {
        top_k: Some(0),
        ..plan("out")
    };
    let mut elsewhere = plan("out");
    elsewhere.sources[0].split = "../x".to_owned();
    for (wrong, what) in [
        (no_number, "temperature NaN"),
        (nothing_kept, "--top-k"),
        (elsewhere, "split \"../x\""),
    ] {
        let refused = create(&mut client, wrong).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert!(refused.message().contains(what), "{refused}");
    }
    server.end().await;
    // nothing is left that a server could not start with
    place.serve().await.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_the_same_teacher_in_other_numbers_are_left_alone() {
    let place = Place::documents(120);
    let server = place.serve().await;
    let mut client = server.client().await;
    let job = create(&mut client, long_plan("out")).await.unwrap();
    some_shards(&mut client, &job.id).await;
    server.end().await;

    let (model, roots) = (
        place.model.clone(),
        Roots::new(&[place.root.to_str().unwrap()]).unwrap(),
    );
    let in_halves = Server::start_with(Settings::default(), move || {
        let profile = Profile::open(&model, "bf16", "cpu").map_err(teacher_server::Error::from)?;
        Ready::start(profile, roots)
    })
    .await;
    let mut client = in_halves.client().await;
    let unknown = client
        .get_job(v1::GetJobRequest { id: job.id.clone() })
        .await
        .unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    in_halves.end().await;

    let server = place.serve().await;
    let mut client = server.client().await;
    let done = watch(&mut client, &job.id).await.pop().unwrap();
    assert_eq!(done.state(), JobState::Succeeded, "{}", done.failure);
    server.end().await;
}
