//! Plan, commit and seal: exactly once whatever happens in between.

#[path = "fixtures/faulty.rs"]
mod faulty;
#[path = "fixtures/generated.rs"]
mod generated;

use decant_data::{
    Build, Codec, CommitOutcome, Counts, Dataset, Error, Kind, Planner, Planning, Progress, Reader, Row, Store, Task,
    Values, seal, verify,
};
use faulty::{Fault, Faulty};
use generated::*;

fn spec() -> decant_data::PlanSpec {
    generated::spec(Task::CausalLm, top_k(3, Values::F32), 50)
}

fn staged(store: &Store) -> Vec<String> {
    store
        .list("staging")
        .unwrap()
        .into_iter()
        .map(|(path, _)| path)
        .collect()
}

/// An attempt at a shard with all its rows pushed.
fn filled(dataset: &Dataset, shard: u32, rows: &[Row]) -> decant_data::Attempt {
    let mut attempt = dataset.begin(shard).unwrap().unwrap();
    for example in dataset.inputs(shard).unwrap() {
        attempt
            .push(rows.iter().find(|row| row.example == example).unwrap().clone())
            .unwrap();
    }
    attempt
}

fn read_all(store: &Store) -> Vec<Row> {
    let reader = Reader::open(store).unwrap();
    reader
        .splits()
        .into_iter()
        .flat_map(|split| reader.rows(split).unwrap().map(Result::unwrap).collect::<Vec<_>>())
        .collect()
}

#[test]
fn a_sealed_dataset_gives_every_example_once_and_in_order() {
    let (spec, folder) = (spec(), tempfile::tempdir().unwrap());
    let rows = rows(1, &spec, 10, 20);
    for store in [
        memory("whole"),
        Store::open(folder.path().join("a/b").to_str().unwrap()).unwrap(),
    ] {
        let dataset = plan(&store, &spec, &rows);
        assert_eq!(dataset.missing().unwrap(), [0, 1, 2]);
        capture_all(&dataset, &rows);
        let manifest = seal(&store, &mut ()).unwrap();
        assert_eq!(manifest.splits[0].examples, 10);
        assert_eq!(read_all(&store), rows);
        let verified = verify(&store, &mut ()).unwrap();
        // 3 tables, 3 markers, 3 staged tables, 3 inputs, plan, 2 model files, card, sums, manifest.
        assert_eq!((verified.files, verified.notes.len()), (18, 0));
        let reader = Reader::open(&store).unwrap();
        assert_eq!(
            (reader.tokenizer_json(), reader.config_json()),
            (Some(TOKENIZER), CONFIG)
        );
        let status = dataset.status().unwrap();
        assert_eq!(
            (status.shards, status.missing.len(), status.rows, status.sealed),
            (3, 0, 10, true)
        );
    }
}

#[test]
fn no_shard_crosses_two_splits() {
    let (spec, store) = (spec(), memory("splits"));
    let rows = rows(2, &spec, 11, 20);
    let mut planner = new_planner(&store, &spec);
    for (index, row) in rows.iter().enumerate() {
        planner
            .push(["train", "validation"][index % 2], row.example.clone())
            .unwrap();
    }
    let dataset = planner.finish(None, CONFIG, Counts::default()).unwrap();
    let shards: Vec<_> = dataset
        .plan()
        .shards
        .iter()
        .map(|shard| (shard.split.as_str(), shard.examples))
        .collect();
    assert_eq!(
        shards,
        [("train", 4), ("train", 2), ("validation", 4), ("validation", 1)]
    );
    capture_all(&dataset, &rows);
    let manifest = seal(&store, &mut ()).unwrap();
    let tables = manifest
        .files
        .iter()
        .filter(|file| file.shard.is_some())
        .map(|file| file.object.path.as_str());
    assert_eq!(
        tables.collect::<Vec<_>>(),
        [
            "data/train-00000-of-00002.parquet",
            "data/train-00001-of-00002.parquet",
            "data/validation-00000-of-00002.parquet",
            "data/validation-00001-of-00002.parquet"
        ]
    );
    let reader = Reader::open(&store).unwrap();
    let odd: Vec<Row> = rows.iter().skip(1).step_by(2).cloned().collect();
    assert_eq!(
        reader
            .rows("validation")
            .unwrap()
            .map(Result::unwrap)
            .collect::<Vec<_>>(),
        odd
    );
    let unknown = reader.rows("test").err().unwrap().to_string();
    assert!(
        unknown.ends_with("has no split \"test\"; it has train, validation"),
        "{unknown}"
    );
}

#[test]
fn the_first_of_two_attempts_counts_and_the_other_leaves_nothing() {
    let (spec, store) = (spec(), memory("two"));
    let rows = rows(3, &spec, 4, 20);
    let dataset = plan(&store, &spec, &rows);
    let (slow, fast) = (filled(&dataset, 0, &rows), filled(&dataset, 0, &rows));
    let winner = fast.id().to_string();
    assert_eq!(fast.commit(&build()).unwrap(), CommitOutcome::Committed);
    assert!(dataset.begin(0).unwrap().is_none());
    assert_eq!(
        slow.commit(&build()).unwrap(),
        CommitOutcome::Lost { by: winner.clone() }
    );
    assert_eq!(staged(&store), [format!("staging/00000.{winner}.parquet")]);
}

#[test]
fn many_attempts_in_threads_commit_a_shard_once() {
    let (spec, folder) = (spec(), tempfile::tempdir().unwrap());
    let store = Store::open(folder.path().to_str().unwrap()).unwrap();
    let rows = rows(4, &spec, 4, 20);
    let dataset = plan(&store, &spec, &rows);
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let attempts: Vec<_> = (0..6).map(|_| filled(&dataset, 0, &rows)).collect();
        let threads: Vec<_> = attempts
            .into_iter()
            .map(|attempt| scope.spawn(|| attempt.commit(&build()).unwrap()))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(
        outcomes
            .iter()
            .filter(|outcome| **outcome == CommitOutcome::Committed)
            .count(),
        1
    );
    assert_eq!(staged(&store).len(), 1);
    seal(&store, &mut ()).unwrap();
    assert_eq!(read_all(&store), rows);
}

#[test]
fn replies_that_lie_do_not_lose_or_double_a_shard() {
    let spec = spec();
    let rows = rows(5, &spec, 4, 20);
    let cases = [
        (vec![Fault::LostReply], CommitOutcome::AlreadyMine),
        (vec![Fault::Doubled], CommitOutcome::AlreadyMine),
        (vec![Fault::Conflict], CommitOutcome::Committed),
        (
            vec![Fault::Fails, Fault::Conflict, Fault::LostReply],
            CommitOutcome::AlreadyMine,
        ),
    ];
    for (faults, outcome) in cases {
        let (faulty, store) = Faulty::store();
        let dataset = plan(&store, &spec, &rows);
        let attempt = filled(&dataset, 0, &rows);
        faulty.next(&faults);
        assert_eq!(attempt.commit(&build()).unwrap(), outcome, "{faults:?}");
        seal(&store, &mut ()).unwrap();
        assert_eq!(read_all(&store), rows);
    }
}

#[test]
fn an_attempt_that_dies_before_its_marker_is_repeated() {
    let spec = spec();
    let rows = rows(6, &spec, 4, 20);
    let (faulty, store) = Faulty::store();
    let dataset = plan(&store, &spec, &rows);
    let attempt = filled(&dataset, 0, &rows);
    faulty.next(&[Fault::Fails; 5]);
    let error = attempt.commit(&build()).unwrap_err();
    assert_eq!(error.kind(), Kind::Retry);
    // Its marker may still be on its way, so its table stays; nothing trusts it.
    assert_eq!(staged(&store).len(), 1);
    assert_eq!(dataset.missing().unwrap(), [0]);
    capture_all(&dataset, &rows);
    seal(&store, &mut ()).unwrap();
    assert_eq!(staged(&store).len(), 2);
    verify(&store, &mut ()).unwrap();
    assert_eq!(read_all(&store), rows);
}

#[test]
fn an_attempt_that_is_dropped_leaves_nothing() {
    let (spec, folder) = (spec(), tempfile::tempdir().unwrap());
    let rows = rows(7, &spec, 4, 20);
    for store in [memory("dropped"), Store::open(folder.path().to_str().unwrap()).unwrap()] {
        let dataset = plan(&store, &spec, &rows);
        drop(filled(&dataset, 0, &rows));
        assert_eq!(staged(&store), [""; 0]);
    }
    let left: Vec<_> = std::fs::read_dir(folder.path().join("staging"))
        .into_iter()
        .flatten()
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn rows_come_in_the_planned_order_and_all_of_them() {
    let (spec, store) = (spec(), memory("order"));
    let rows = rows(8, &spec, 4, 20);
    let dataset = plan(&store, &spec, &rows);
    let mut attempt = dataset.begin(0).unwrap().unwrap();
    let error = attempt.push(rows[1].clone()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "shard 0, example \"8-1\": the planned example here is \"8-0\"; this is a bug in decant"
    );
    let mut attempt = dataset.begin(0).unwrap().unwrap();
    attempt.push(rows[0].clone()).unwrap();
    let error = attempt.commit(&build()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "shard 0: committed before example \"8-1\" came; this is a bug in decant"
    );
    let mut attempt = filled(&dataset, 0, &rows);
    assert!(
        attempt
            .push(rows[0].clone())
            .unwrap_err()
            .to_string()
            .contains("the shard's examples are all there")
    );
    // The same id with another content is another example.
    let mut changed = rows[0].clone();
    changed.example.label = Some(changed.example.label.map_or(1, |label| (label + 1) % 50));
    assert!(dataset.begin(0).unwrap().unwrap().push(changed).is_err());
    assert_eq!(dataset.missing().unwrap(), [0]);
}

#[test]
fn sealing_needs_every_shard_and_can_be_repeated() {
    let (spec, store) = (spec(), memory("seal"));
    let rows = rows(9, &spec, 10, 20);
    let dataset = plan(&store, &spec, &rows);
    capture(&dataset, 1, &rows);
    let error = seal(&store, &mut ()).unwrap_err().to_string();
    assert!(
        error.ends_with("2 of 3 shards are not committed (0, 2); finish the work, then seal again"),
        "{error}"
    );
    let error = Reader::open(&store).unwrap_err().to_string();
    assert!(
        error.ends_with("is not sealed: 2 of 3 shards are missing; finish the work, then seal it"),
        "{error}"
    );
    capture_all(&dataset, &rows);
    let error = Reader::open(&store).unwrap_err().to_string();
    assert!(
        error.ends_with("is not sealed: all shards are committed; seal it"),
        "{error}"
    );

    let manifest = seal(&store, &mut ()).unwrap();
    let files = store.list("").unwrap();
    assert_eq!(seal(&store, &mut ()).unwrap(), manifest);
    assert_eq!(store.list("").unwrap(), files);
    // As if killed in the middle: a table is half there, the manifest is not.
    let table = "data/train-00001-of-00003.parquet";
    for path in [table, "manifest.json", "SHA256SUMS"] {
        store.delete(path).unwrap();
    }
    store.put_new(table, "half a table".as_bytes()).unwrap();
    assert_eq!(seal(&store, &mut ()).unwrap(), manifest);
    verify(&store, &mut ()).unwrap();
    // And with staging gone.
    for path in staged(&store) {
        store.delete(&path).unwrap();
    }
    assert_eq!(seal(&store, &mut ()).unwrap(), manifest);
    assert_eq!(read_all(&store), rows);
}

#[test]
fn two_sealers_at_once_do_no_harm() {
    let (spec, folder) = (spec(), tempfile::tempdir().unwrap());
    let store = Store::open(folder.path().to_str().unwrap()).unwrap();
    let rows = rows(10, &spec, 10, 20);
    capture_all(&plan(&store, &spec, &rows), &rows);
    let manifests: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| seal(&store, &mut ()).unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(manifests.iter().all(|manifest| *manifest == manifests[0]));
    verify(&store, &mut ()).unwrap();
}

#[test]
fn a_staged_table_that_was_changed_is_not_sealed() {
    let (spec, store) = (spec(), memory("changed"));
    let rows = rows(11, &spec, 4, 20);
    capture_all(&plan(&store, &spec, &rows), &rows);
    let path = staged(&store).remove(0);
    let mut bytes = store.get(&path).unwrap().to_vec();
    bytes[100] ^= 1;
    store.delete(&path).unwrap();
    store.put_new(&path, bytes).unwrap();
    let error = seal(&store, &mut ()).unwrap_err();
    assert_eq!(error.kind(), Kind::FixData);
    let error = error.to_string();
    assert!(
        error.contains(&path) && error.contains("remove the shard's marker from commits"),
        "{error}"
    );
    assert!(!store.exists("data/train-00000-of-00001.parquet").unwrap());
}

#[test]
fn a_difference_of_builds_is_said() {
    #[derive(Default)]
    struct Notes(Vec<String>);
    impl Progress for Notes {
        fn begin(&mut self, _: &str, _: &str, _: u64) {}
        fn advance(&mut self, _: u64) {}
        fn note(&mut self, message: &str) {
            self.0.push(message.into());
        }
    }
    let (spec, store) = (spec(), memory("builds"));
    let rows = rows(12, &spec, 8, 20);
    let dataset = plan(&store, &spec, &rows);
    capture(&dataset, 0, &rows);
    let other = Build {
        kernel_path: "avx2".into(),
        ..build()
    };
    filled(&dataset, 1, &rows).commit(&other).unwrap();
    let mut notes = Notes::default();
    let manifest = seal(&store, &mut notes).unwrap();
    assert_eq!(manifest.builds, [other, build()]);
    let both = "decant 0.0.1 on avx2 kernels, decant 0.0.1 on portable kernels";
    assert!(notes.0.len() == 1 && notes.0[0].contains(both), "{:?}", notes.0);
    assert!(verify(&store, &mut ()).unwrap().notes[0].contains(both));
}

#[test]
fn the_same_plan_is_found_and_another_refused_with_what_differs() {
    let (spec, store) = (spec(), memory("plans"));
    let rows = rows(13, &spec, 4, 20);
    let dataset = plan(&store, &spec, &rows);
    match Planner::begin(&store, spec.clone()).unwrap() {
        Planning::Existing(found) => assert_eq!(found.plan(), dataset.plan()),
        Planning::New(_) => panic!("the plan was not found"),
    }
    let mut other = spec.clone();
    other.codec = top_k(8, Values::F32);
    other.teacher.weights_sha256 = "3".repeat(64);
    let error = Planner::begin(&store, other).err().unwrap();
    assert_eq!(error.kind(), Kind::FixInput);
    let error = error.to_string();
    assert!(
        error.contains("plan.json holds another plan: codec.top_k.k is 3 there and 8 here; teacher.weights_sha256"),
        "{error}"
    );
    let dense = decant_data::PlanSpec {
        codec: Codec::Dense { values: Values::F32 },
        ..spec
    };
    let error = Planner::begin(&store, dense).err().unwrap().to_string();
    assert!(
        error.contains("codec.dense is absent there and {\"values\":\"f32\"} here"),
        "{error}"
    );
}

#[test]
fn a_plan_that_was_cut_short_leaves_nothing_that_counts() {
    let (spec, store) = (spec(), memory("cut-short"));
    let rows = rows(16, &spec, 8, 20);
    let mut broken = new_planner(&store, &spec);
    // A whole shard, and so its inputs are there, but the plan never comes.
    rows[..4]
        .iter()
        .for_each(|row| broken.push("train", row.example.clone()).unwrap());
    drop(broken);
    capture_all(&plan(&store, &spec, &rows[2..]), &rows);
    seal(&store, &mut ()).unwrap();
    assert_eq!(store.list("inputs").unwrap().len(), 3);
    verify(&store, &mut ()).unwrap();
    assert_eq!(read_all(&store), rows[2..]);
}

#[test]
fn what_no_plan_can_have_is_refused_before_an_input_is_read() {
    let changed = |change: fn(&mut decant_data::PlanSpec)| {
        let mut spec = spec();
        change(&mut spec);
        spec.check().unwrap_err().to_string()
    };
    let source = |split: &str| decant_data::SourceIdentity {
        split: split.into(),
        name: "a.txt".into(),
        sha256: "0".repeat(64),
        bytes: 1,
    };
    let mut elsewhere = spec();
    elsewhere.sources = vec![source("train"), source("../x")];
    assert!(elsewhere.check().unwrap_err().to_string().contains("split \"../x\""));
    assert!(changed(|spec| spec.examples_per_shard = 0).contains("--examples-per-shard"));
    assert!(changed(|spec| spec.codec = top_k(0, Values::F32)).contains("--top-k"));
    let no_number = |spec: &mut decant_data::PlanSpec| {
        let (k, values, temperatures) = (1, Values::F32, vec![f32::NAN]);
        spec.codec = Codec::TopK {
            k,
            values,
            temperatures,
        };
    };
    assert!(changed(no_number).contains("temperature NaN"));
    spec().check().unwrap();
}

#[test]
fn of_two_planners_at_once_the_same_plan_remains() {
    let (spec, store) = (spec(), memory("planners"));
    let rows = rows(14, &spec, 6, 20);
    let (mut first, mut second) = (new_planner(&store, &spec), new_planner(&store, &spec));
    let mut other = new_planner(
        &store,
        &decant_data::PlanSpec {
            seed: 8,
            ..spec.clone()
        },
    );
    let mut fewer = new_planner(&store, &spec);
    for row in &rows {
        first.push("train", row.example.clone()).unwrap();
        second.push("train", row.example.clone()).unwrap();
        other.push("train", row.example.clone()).unwrap();
    }
    fewer.push("train", rows[0].example.clone()).unwrap();
    let first = first.finish(None, CONFIG, Counts::default()).unwrap();
    let second = second.finish(None, CONFIG, Counts::default()).unwrap();
    assert_eq!(first.plan(), second.plan());
    let error = other.finish(None, CONFIG, Counts::default()).unwrap_err().to_string();
    assert!(error.contains("seed is 7 there and 8 here"), "{error}");
    let error = fewer.finish(None, CONFIG, Counts::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::Fenced, "{error}");
}

#[test]
fn a_planner_refuses_what_cannot_be_captured() {
    let (spec, store) = (spec(), memory("refusals"));
    let row = rows(15, &spec, 1, 20).remove(0);
    let mut planner = new_planner(&store, &spec);
    planner.push("train", row.example.clone()).unwrap();
    let twice = planner.push("train", row.example.clone()).unwrap_err().to_string();
    assert!(twice.contains("is there twice"), "{twice}");
    for split in ["", "my-split", "../train", "a..b", "a/b"] {
        let example = decant_data::Example {
            id: "new".into(),
            ..row.example.clone()
        };
        assert!(new_planner(&store, &spec).push(split, example).is_err(), "{split:?}");
    }
    let outside = decant_data::Example {
        content: decant_data::ExampleContent::Tokens(vec![1, 50]),
        loss_mask: None,
        id: "outside".into(),
        ..row.example.clone()
    };
    let error = planner.push("train", outside).unwrap_err().to_string();
    assert_eq!(error, "example \"outside\": token 1 has id 50, but ids end at 49");
    let error = new_planner(&store, &spec)
        .finish(None, CONFIG, Counts::default())
        .unwrap_err()
        .to_string();
    assert_eq!(error, "there is nothing to plan: the input has no usable example");
    let zero = decant_data::PlanSpec {
        codec: top_k(0, Values::F32),
        ..spec
    };
    assert!(matches!(Planner::begin(&store, zero), Err(Error::Input(_))));
}

#[test]
fn a_place_without_a_store_is_refused_by_name() {
    let error = Store::open("s4://bucket/data").unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported);
    assert_eq!(
        error.to_string(),
        "s4://bucket/data: no store for s4://; decant knows a path, file:// and memory://"
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let error = Store::open(file.to_str().unwrap()).unwrap_err().to_string();
    assert!(error.ends_with("it is a file, but a dataset is a folder"), "{error}");
    let below = Store::open(file.join("below").to_str().unwrap());
    let error = below.and_then(|store| store.put_new("x", "y".as_bytes())).unwrap_err();
    assert_eq!(error.kind(), Kind::FixInput, "{error}");
    let error = Dataset::open(&Store::open(folder.path().to_str().unwrap()).unwrap())
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("holds no plan.json: not a dataset; plan one first"),
        "{error}"
    );
}
