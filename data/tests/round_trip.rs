//! What goes in comes out, for every codec and type of values, and always as the same bytes.

#[path = "fixtures/generated.rs"]
mod generated;

use decant_data::{
    Codec, Counts, Example, ExampleContent, PlanSpec, Reader, Row, SoftTargets, Store, Task, Values, seal,
};
use generated::*;
use parquet::file::reader::{FileReader, SerializedFileReader};
use proptest::prelude::*;

const VALUES: [Values; 3] = [Values::F32, Values::F16, Values::Bf16];
const TASKS: [Task; 3] = [Task::ImageClassification, Task::TextClassification, Task::CausalLm];

fn read_all(store: &Store) -> Vec<Row> {
    Reader::open(store)
        .unwrap()
        .rows("train")
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

#[test]
fn every_codec_and_type_for_every_task() {
    for task in TASKS {
        for values in VALUES {
            for codec in [dense(values), top_k(5, values)] {
                let spec = PlanSpec {
                    holes: vec![0, 7, 12],
                    ..spec(task, codec, 20)
                };
                let rows = rows(1, &spec, 9, 12);
                let store = memory("codecs");
                sealed(&store, &spec, &rows);
                assert_eq!(read_all(&store), as_stored(&spec, &rows), "{task:?} {values:?}");
            }
        }
    }
}

#[test]
fn stored_values_are_within_the_stated_error() {
    for values in VALUES {
        let spec = spec(Task::CausalLm, top_k(40, values), 64);
        let mut random = Random(5);
        let mut logits = Vec::new();
        let example = example(&mut random, &spec, "a", 33);
        let SoftTargets::TopK {
            offsets,
            ids,
            mut gaps,
            mut largest,
            log_tails,
        } = targets(&mut random, &spec, 32)
        else {
            panic!()
        };
        // From the logits, as a capture does it: the gaps are differences in f32.
        for position in 0..32 {
            let mut row: Vec<f32> = (0..40).map(|_| random.unit() * 60.0 - 30.0).collect();
            row.sort_by(|left, right| right.total_cmp(left));
            largest[position] = row[0];
            (0..40).for_each(|rank| gaps[position * 40 + rank] = row[0] - row[rank]);
            logits.extend(row);
        }
        let targets = SoftTargets::TopK {
            offsets,
            ids,
            gaps,
            largest,
            log_tails,
        };
        let row = Row::new(example, targets, &[1.0; 32]).unwrap();
        let store = memory("error");
        sealed(&store, &spec, &[row]);
        let SoftTargets::TopK { gaps, largest, .. } = read_all(&store).remove(0).targets else {
            panic!()
        };
        let mut worst = 0.0_f64;
        for (entry, logit) in logits.iter().enumerate() {
            let top = largest[entry / 40];
            let magnitude = top.abs().max(logit.abs());
            let bound = spec.codec.logit_error_bound(magnitude, top - logit);
            let error = (f64::from(top - gaps[entry]) - f64::from(*logit)).abs();
            assert!(
                error <= f64::from(bound),
                "{values:?}: {error} > {bound} at logit {logit}, largest {top}"
            );
            worst = worst.max(error / f64::from(bound));
        }
        // The bound is not generous either.
        assert!(worst > 0.25, "{values:?}: {worst}");
    }
}

/// The `bf16_rne` values of the reference vectors: round to nearest, ties to even, by numpy on the bits.
#[test]
fn bf16_rounds_to_nearest_even() {
    let known: [(f32, u32); 8] = [
        (1.0, 0x3f80),
        (-2.5, 0xc020),
        (1.003_906_3, 0x3f80),
        (1.011_718_8, 0x3f82),
        (std::f32::consts::PI, 0x4049),
        (-0.1, 0xbdcd),
        (0.001, 0x3a83),
        (65504.0, 0x4780),
    ];
    let spec = spec(Task::ImageClassification, dense(Values::Bf16), 8);
    let logits = known.iter().map(|(value, _)| *value).collect();
    let example = Example {
        id: "a".into(),
        view: 0,
        content: ExampleContent::Image(vec![1]),
        label: None,
        loss_mask: None,
    };
    let store = memory("bf16");
    sealed(
        &store,
        &spec,
        &[Row::new(example, SoftTargets::Dense { classes: 8, logits }, &[0.0]).unwrap()],
    );
    let SoftTargets::Dense { logits, .. } = read_all(&store).remove(0).targets else {
        panic!()
    };
    assert_eq!(
        logits.iter().map(|logit| logit.to_bits() >> 16).collect::<Vec<_>>(),
        known.map(|(_, bits)| bits)
    );
}

#[test]
fn ids_of_any_vocabulary_are_kept() {
    for outcomes in [131_071, 131_072, 131_073, 262_144] {
        let spec = spec(Task::CausalLm, top_k(4, Values::F32), outcomes);
        let last = outcomes - 1;
        let content = ExampleContent::Tokens(vec![0, last, last - 1]);
        let example = Example {
            id: "a".into(),
            view: 0,
            content,
            label: None,
            loss_mask: None,
        };
        let ids = vec![last, 0, 131_000, 65_535, 65_536, last - 1, 32_768, last];
        let targets = SoftTargets::TopK {
            offsets: vec![0, 4, 8],
            ids,
            gaps: vec![0.0, 1.0, 1.0, 2.5, 0.0, 0.0, 0.5, 9.0],
            largest: vec![20.0, -3.0],
            log_tails: vec![vec![-1.0, f32::NEG_INFINITY], vec![-2.0, -0.0]],
        };
        let row = Row::new(example, targets, &[1.0, 2.0]).unwrap();
        let store = memory("vocabulary");
        sealed(&store, &spec, std::slice::from_ref(&row));
        assert_eq!(read_all(&store), [row]);
    }
}

#[test]
fn one_token_has_no_soft_target() {
    let spec = spec(Task::CausalLm, top_k(4, Values::F32), 30);
    let rows = rows(2, &spec, 5, 1);
    assert!(
        rows.iter()
            .all(|row| row.targets.positions() == 0 && row.mean_entropy.is_none())
    );
    let store = memory("short");
    sealed(&store, &spec, &rows);
    assert_eq!(read_all(&store), rows);
}

#[test]
fn fewer_outcomes_than_k_are_all_kept() {
    let spec = PlanSpec {
        holes: vec![1],
        ..spec(Task::TextClassification, top_k(64, Values::F32), 5)
    };
    assert_eq!(spec.codec.kept(5, 1), 4);
    let rows = rows(3, &spec, 5, 8);
    let store = memory("few");
    sealed(&store, &spec, &rows);
    assert_eq!(read_all(&store), rows);
}

#[test]
fn what_no_teacher_can_mean_is_refused() {
    type TopK<'a> = (
        &'a mut Vec<u32>,
        &'a mut Vec<f32>,
        &'a mut Vec<f32>,
        &'a mut Vec<Vec<f32>>,
    );
    let top = |change: fn(TopK<'_>)| {
        move |targets: &mut SoftTargets| match targets {
            SoftTargets::TopK {
                ids,
                gaps,
                largest,
                log_tails,
                ..
            } => change((ids, gaps, largest, log_tails)),
            SoftTargets::Dense { .. } => panic!(),
        }
    };
    let refused = |codec: Codec, change: &dyn Fn(&mut SoftTargets)| {
        let spec = PlanSpec {
            holes: vec![2],
            ..spec(Task::TextClassification, codec, 9)
        };
        let mut row = rows(4, &spec, 1, 4).remove(0);
        change(&mut row.targets);
        let dataset = plan(&memory("refused"), &spec, std::slice::from_ref(&row));
        let error = dataset.begin(0).unwrap().unwrap().push(row).unwrap_err();
        error.to_string().replace("shard 0, example \"4-0\": ", "")
    };
    let f16 = || top_k(3, Values::F16);
    let cases = [
        (
            refused(f16(), &top(|(ids, _, _, _)| ids[1] = 9)),
            "position 0: id 9 is not one of the 9 outcomes",
        ),
        (
            refused(f16(), &top(|(ids, _, _, _)| ids[1] = 2)),
            "position 0: id 2 is not one of the 9 outcomes",
        ),
        (refused(f16(), &top(|(ids, _, _, _)| ids[1] = ids[0])), "is kept twice"),
        (
            refused(f16(), &top(|(_, gaps, _, _)| gaps[1] = -1.0)),
            "position 0: a gap of -1 at id",
        ),
        (
            refused(f16(), &top(|(_, gaps, _, _)| gaps[0] = 0.5)),
            "position 0: the first gap is 0.5, not 0",
        ),
        (refused(f16(), &top(|(_, gaps, _, _)| gaps[2] = f32::NAN)), "is NaN"),
        (
            refused(f16(), &top(|(_, gaps, _, _)| gaps[2] = 7e4)),
            "is beyond the range of the stored type; use --values f32 or bf16",
        ),
        (
            refused(f16(), &top(|(_, _, largest, _)| largest[0] = f32::INFINITY)),
            "position 0: the largest logit is inf",
        ),
        (
            refused(f16(), &top(|(_, _, _, tails)| tails[1][0] = 0.1)),
            "position 0: a log tail of 0.1, more than 0",
        ),
        (
            refused(f16(), &top(|(_, _, _, tails)| tails[0][0] = f32::NAN)),
            "position 0: a log tail of NaN, more than 0",
        ),
        (
            refused(f16(), &top(|(ids, _, _, _)| ids.truncate(2))),
            "2 ids and 3 gaps, but 1 positions of 3 need 3 of each",
        ),
        (
            refused(f16(), &top(|(_, _, _, tails)| tails.truncate(1))),
            "log tails that are not [2 temperatures, 1 positions]",
        ),
    ];
    for (found, want) in cases {
        assert!(found.contains(want), "{found:?} does not say {want:?}");
    }
    let logit = |place: usize, value: f32| {
        move |targets: &mut SoftTargets| match targets {
            SoftTargets::Dense { logits, .. } => logits[place] = value,
            SoftTargets::TopK { .. } => panic!(),
        }
    };
    let cases = [
        (
            refused(dense(Values::F32), &logit(0, f32::NEG_INFINITY)),
            "position 0: the logit of id 0 is -inf",
        ),
        (
            refused(dense(Values::F32), &logit(8, f32::NAN)),
            "position 0: the logit of id 8 is NaN",
        ),
        (
            refused(dense(Values::F32), &logit(2, 1.0)),
            "id 2 is outside the softmax, but its logit is 1, not -inf",
        ),
        (
            refused(dense(Values::F16), &logit(3, 65520.0)),
            "the logit 65520 of id 3 is beyond the range",
        ),
    ];
    for (found, want) in cases {
        assert!(found.contains(want), "{found:?} does not say {want:?}");
    }
    let other = |targets: &mut SoftTargets| {
        *targets = SoftTargets::Dense {
            classes: 9,
            logits: vec![0.0; 9],
        }
    };
    assert_eq!(refused(f16(), &other), "soft targets of another codec than the plan's");
}

/// sha256 of every file but the markers and what is staged, which hold attempt ids, and the manifest that names them.
fn content(store: &Store) -> Vec<(String, String)> {
    let kept = |path: &str| {
        !["commits/", "staging/", "manifest", "SHA256"]
            .iter()
            .any(|other| path.starts_with(other))
    };
    let files = store
        .list("")
        .unwrap()
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| kept(path));
    files
        .map(|path| (path.clone(), decant_data::sha256_hex(&store.get(&path).unwrap())))
        .collect()
}

#[test]
fn bytes_depend_on_the_rows_alone() {
    let spec = PlanSpec {
        examples_per_shard: 40,
        ..spec(Task::CausalLm, top_k(16, Values::Bf16), 500)
    };
    let rows = rows(6, &spec, 100, 64);
    let folder = tempfile::tempdir().unwrap();
    let stores = [
        memory("bytes"),
        memory("bytes"),
        Store::open(folder.path().to_str().unwrap()).unwrap(),
    ];
    for (way, store) in stores.iter().enumerate() {
        let mut planner = new_planner(store, &spec);
        // Splits one after the other, or in turns.
        let (train, test) = rows.split_at(50);
        if way == 0 {
            train
                .iter()
                .for_each(|row| planner.push("train", row.example.clone()).unwrap());
            test.iter()
                .for_each(|row| planner.push("test", row.example.clone()).unwrap());
        } else {
            for (train, test) in train.iter().zip(test) {
                planner.push("train", train.example.clone()).unwrap();
                planner.push("test", test.example.clone()).unwrap();
            }
        }
        let dataset = planner.finish(None, CONFIG, Counts::default()).unwrap();
        // Shards forwards, or backwards with a try that was given up half-way.
        let mut shards = dataset.missing().unwrap();
        if way == 1 {
            shards.reverse();
            let mut attempt = dataset.begin(shards[0]).unwrap().unwrap();
            let first = dataset.inputs(shards[0]).unwrap().remove(0);
            attempt
                .push(rows.iter().find(|row| row.example == first).unwrap().clone())
                .unwrap();
        }
        shards
            .into_iter()
            .for_each(|shard| drop(capture(&dataset, shard, &rows)));
        seal(store, &mut ()).unwrap();
    }
    assert_eq!(content(&stores[0]), content(&stores[1]));
    assert_eq!(content(&stores[0]), content(&stores[2]));
}

#[test]
fn row_groups_hold_thousands_of_positions_and_little_memory() {
    let spec = PlanSpec {
        examples_per_shard: 10_000,
        ..spec(Task::CausalLm, top_k(64, Values::F32), 5000)
    };
    let mut random = Random(8);
    let mut rows: Vec<Row> = (0..90)
        .map(|index| {
            let example = example(&mut random, &spec, &index.to_string(), 513);
            row(&mut random, &spec, example)
        })
        .collect();
    // One that is larger than a row group may be has a group of its own.
    let long = example(&mut random, &spec, "long", 20_001);
    rows.insert(60, row(&mut random, &spec, long));
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().to_str().unwrap()).unwrap();
    sealed(&store, &spec, &rows);
    assert_eq!(read_all(&store), rows);

    let file = std::fs::File::open(folder.path().join("data/train-00000-of-00001.parquet")).unwrap();
    let reader = SerializedFileReader::new(file).unwrap();
    let groups = reader.metadata().row_groups();
    let rows_of: Vec<i64> = groups.iter().map(|group| group.num_rows()).collect();
    // 512 positions of 64 * 8 + 3 * 4 bytes and 513 tokens of 4, some with a mask: 30 rows fit 8 MiB, 31 would not with
    // the levels; the long one is 10 MB.
    assert_eq!(rows_of, [30, 30, 1, 30]);
    for group in groups.iter().filter(|group| group.num_rows() > 1) {
        assert!(group.total_byte_size() <= 8 << 20, "{}", group.total_byte_size());
        assert!(group.num_rows() * 512 >= 8000);
    }
    for column in groups[0].columns() {
        let path = column.column_path().string();
        let list = path.contains(".list.");
        assert_eq!(column.statistics().is_none(), list, "{path}");
        assert!(
            column.dictionary_page_offset().is_none() && column.offset_index_offset().is_some(),
            "{path}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_rows_come_back(
        seed: u64, task in prop::sample::select(TASKS.to_vec()), values in prop::sample::select(VALUES.to_vec()),
        k in 1u32..12, kind in 0..2, outcomes in 2u32..40, count in 1usize..30, longest in 1u64..40, per_shard in 1u32..12,
        hole in prop::option::of(0u32..40),
    ) {
        let codec = if kind == 0 { dense(values) } else { top_k(k, values) };
        let holes = hole.into_iter().filter(|hole| *hole < outcomes).collect();
        let spec = PlanSpec { holes, examples_per_shard: per_shard, ..spec(task, codec, outcomes) };
        let rows = rows(seed, &spec, count, longest);
        let store = memory("any");
        sealed(&store, &spec, &rows);
        prop_assert_eq!(read_all(&store), as_stored(&spec, &rows));
    }
}
