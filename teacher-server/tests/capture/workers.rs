//! Workers: any order, any number, any interruption gives the same dataset.

use crate::fixtures::{self, documents, train};
use decant_data::{Dataset, Store};
use std::path::PathBuf;
use teacher_server::Error;
use teacher_server::capture::{self, CancelFlag, Captured, Start, Step};
use teacher_server::planning::PlanRequest;
use teacher_server::teacher::{Profile, Teacher};

struct Fixture {
    _dir: tempfile::TempDir,
    input: PathBuf,
    profile: Profile,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let model = fixtures::decoder(dir.path(), 1);
        let input = dir.path().join("in.jsonl");
        documents(&input, 24);
        let profile = Profile::open(&model, "f32", "cpu").unwrap();
        Self {
            _dir: dir,
            input,
            profile,
        }
    }

    fn dataset(&self, store: &str) -> Dataset {
        let store = Store::open(store).unwrap();
        let request = PlanRequest {
            examples_per_shard: Some(4),
            batch_tokens: 64,
            top_k: 3,
            ..PlanRequest::new(train(&self.input))
        };
        fixtures::plan(&request, &self.profile, &store)
    }

    fn teacher(self) -> Teacher {
        Teacher::load(self.profile).unwrap()
    }
}

/// The hash of every shard's table, as its marker has it.
fn hashes(dataset: &Dataset) -> Vec<String> {
    dataset
        .markers()
        .unwrap()
        .into_iter()
        .map(|marker| marker.objects[0].object.sha256.clone())
        .collect()
}

#[test]
fn two_workers_at_once_commit_each_shard_once_with_the_same_bytes() {
    let fixture = Fixture::new();
    let alone = fixture.dataset("memory://alone");
    let shared = fixture.dataset("memory://shared");
    let teacher = fixture.teacher();
    let none = CancelFlag::new();
    let worked = capture::run_all(&teacher, &alone, Start::default(), &none, &mut |_| {}).unwrap();
    assert_eq!((worked.committed, worked.by_others), (6, 0));

    let worker = |index| {
        let start = Start { index, count: Some(2) };
        capture::run_all(&teacher, &shared, start, &none, &mut |_| {}).unwrap()
    };
    let (first, second) = std::thread::scope(|scope| {
        let second = scope.spawn(|| worker(1));
        (worker(0), second.join().unwrap())
    });
    assert_eq!(first.committed + second.committed, 6);
    assert_eq!(hashes(&alone), hashes(&shared));
}

#[test]
fn a_cancelled_shard_leaves_nothing_and_can_be_captured_later() {
    let fixture = Fixture::new();
    let dataset = fixture.dataset("memory://cancelled");
    let teacher = fixture.teacher();
    let before = dataset.store().list("").unwrap();

    let cancel = CancelFlag::new();
    let error = capture::run_shard(&teacher, &dataset, 0, &cancel, &mut |_| cancel.cancel()).unwrap_err();
    assert!(matches!(error, Error::Cancelled));
    assert_eq!(dataset.store().list("").unwrap(), before, "the attempt is gone");

    let mut done = Step::default();
    let captured = capture::run_shard(&teacher, &dataset, 0, &CancelFlag::new(), &mut |step| {
        done.examples += step.examples;
        done.positions += step.positions;
    });
    assert_eq!(captured.unwrap(), Captured::Committed);
    let shard = &dataset.plan().shards[0];
    assert_eq!((done.examples, done.positions), (shard.examples, shard.positions));
    let again = capture::run_shard(&teacher, &dataset, 0, &CancelFlag::new(), &mut |_| {});
    assert_eq!(again.unwrap(), Captured::ByAnother);
}
