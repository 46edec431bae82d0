//! Damage of every kind is found, named, and never a panic.

#[path = "fixtures/generated.rs"]
mod generated;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::builder::{Float32Builder, Int32Builder, ListBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int32Type};
use arrow_array::{Array, ArrayRef, Int32Array, RecordBatch};
use arrow_schema::{DataType, Field};
use bytes::Bytes;
use decant_data::{Dataset, Kind, PlanSpec, Reader, Row, Store, Task, Values, seal, sha256_hex, verify};
use generated::*;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

fn spec() -> PlanSpec {
    generated::spec(Task::CausalLm, top_k(3, Values::F32), 50)
}

/// A sealed dataset of two shards in a folder.
fn sealed_folder() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().to_str().unwrap()).unwrap();
    sealed(&store, &spec(), &rows(1, &spec(), 8, 20));
    (folder, store)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path))
        } else {
            found.push(path)
        }
    }
    found.sort();
    found
}

/// What a trainer does: open, and read everything.
fn read(store: &Store) -> decant_data::Result<Vec<Row>> {
    Reader::open(store)?.rows("train")?.collect()
}

#[test]
fn a_flipped_bit_anywhere_is_found() {
    let (folder, store) = sealed_folder();
    let mut random = Random(3);
    for path in files(folder.path()) {
        let whole = std::fs::read(&path).unwrap();
        let name = path.strip_prefix(folder.path()).unwrap().to_str().unwrap().to_string();
        let places = [0, whole.len() - 1]
            .into_iter()
            .chain((0..10).map(|_| random.below(whole.len() as u64) as usize));
        for place in places {
            let mut flipped = whole.clone();
            flipped[place] ^= 1 << (place % 8);
            std::fs::write(&path, &flipped).unwrap();
            let error = verify(&store, &mut ()).expect_err(&format!("byte {place} of {name}"));
            assert!(error.to_string().contains(&name), "{name}: {error}");
            if name.starts_with("data/")
                || ["plan.json", "manifest.json", "config.json", "tokenizer.json"].contains(&&*name)
            {
                let error = read(&store).expect_err(&format!("byte {place} of {name}"));
                assert!(error.to_string().contains(&name), "{name}: {error}");
            }
        }
        std::fs::write(&path, &whole).unwrap();
    }
    verify(&store, &mut ()).unwrap();
    read(&store).unwrap();
}

#[test]
fn an_emptied_marker_or_manifest_says_how_to_go_on() {
    let (folder, store) = sealed_folder();
    let dataset = Dataset::open(&store).unwrap();
    let manifest = folder.path().join("manifest.json");
    let whole = std::fs::read(&manifest).unwrap();
    std::fs::write(&manifest, "").unwrap();
    let error = dataset.status().unwrap_err();
    assert_eq!(error.kind(), Kind::FixData, "it is not taken for sealed");
    assert!(
        error.to_string().ends_with("remove the manifest and seal again"),
        "{error}"
    );
    std::fs::remove_file(&manifest).unwrap();
    assert!(!dataset.status().unwrap().sealed);
    seal(&store, &mut ()).unwrap();
    assert_eq!(std::fs::read(&manifest).unwrap(), whole);

    std::fs::write(folder.path().join("commits/00001.json"), "").unwrap();
    let error = dataset.status().unwrap_err().to_string();
    assert!(error.contains("commits/00001.json is no marker"), "{error}");
    assert!(error.ends_with("remove it and run the work again"), "{error}");
}

#[test]
fn cut_missing_and_added_files_are_found_and_all_named() {
    let (folder, store) = sealed_folder();
    let table = folder.path().join("data/train-00001-of-00002.parquet");
    let whole = std::fs::read(&table).unwrap();
    for length in [0, 1, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&table, &whole[..length]).unwrap();
        for error in [verify(&store, &mut ()).unwrap_err(), read(&store).unwrap_err()] {
            assert_eq!(error.kind(), Kind::FixData);
            let want = format!(
                "train-00001-of-00002.parquet has {length} bytes, its record says {}; it was changed or cut",
                whole.len()
            );
            assert!(error.to_string().ends_with(&want), "{error}");
        }
    }
    std::fs::remove_file(&table).unwrap();
    std::fs::remove_file(folder.path().join("README.md")).unwrap();
    std::fs::write(folder.path().join("data/train-00002-of-00002.parquet"), &whole).unwrap();
    let error = verify(&store, &mut ()).unwrap_err().to_string();
    for want in [
        "data/train-00002-of-00002.parquet is not part of the dataset; move it away",
        "README.md is missing",
        "data/train-00001-of-00002.parquet is missing",
    ] {
        assert!(error.contains(want), "{error}");
    }
    assert!(
        read(&store)
            .unwrap_err()
            .to_string()
            .ends_with("data/train-00001-of-00002.parquet is missing")
    );
}

#[test]
fn what_is_beside_a_dataset_but_not_of_it_is_left_alone() {
    let (folder, store) = sealed_folder();
    std::fs::write(folder.path().join(".gitattributes"), "*.parquet filter=lfs\n").unwrap();
    std::fs::write(
        folder.path().join("staging/00000.0000000000000000.parquet"),
        "an attempt that did not count",
    )
    .unwrap();
    verify(&store, &mut ()).unwrap();
    std::fs::remove_dir_all(folder.path().join("staging")).unwrap();
    std::fs::remove_dir_all(folder.path().join("inputs")).unwrap();
    verify(&store, &mut ()).unwrap();
    read(&store).unwrap();
}

/// Replaces a file by itself with some text replaced; a manifest gets its own hash again.
fn rewrite(store: &Store, path: &str, from: &str, to: &str) {
    let text = String::from_utf8(store.get(path).unwrap().to_vec()).unwrap();
    assert!(text.contains(from), "{text}");
    let mut value: serde_json::Value = serde_json::from_str(&text.replacen(from, to, 1)).unwrap();
    if path == "manifest.json" {
        value.as_object_mut().unwrap().remove("sha256");
        let own = sha256_hex(value.to_string().as_bytes());
        value["sha256"] = own.into();
    }
    store.delete(path).unwrap();
    store.put_new(path, format!("{value:#}\n")).unwrap();
}

#[test]
fn newer_formats_and_unknown_features_are_refused() {
    let open = |from: &str, to: &str| {
        let (_folder, store) = sealed_folder();
        rewrite(&store, "manifest.json", from, to);
        let error = Reader::open(&store).unwrap_err();
        assert_eq!(verify(&store, &mut ()).unwrap_err().to_string(), error.to_string());
        (error.kind(), error.to_string())
    };
    let (kind, text) = open("\"format_version\": 1", "\"format_version\": 2");
    assert_eq!(kind, Kind::Unsupported);
    assert!(
        text.ends_with("manifest.json has format version 2, but this decant reads up to 1; use a newer decant"),
        "{text}"
    );
    let (kind, text) = open("\"reader_flags\": []", "\"reader_flags\": [\"ragged\"]");
    assert_eq!(kind, Kind::Unsupported);
    assert!(
        text.ends_with("needs the reader feature \"ragged\", which this decant does not have; use a newer decant"),
        "{text}"
    );
    // A feature that only writers must know does not keep a reader out.
    let (_folder, store) = sealed_folder();
    rewrite(
        &store,
        "manifest.json",
        "\"writer_flags\": []",
        "\"writer_flags\": [\"later\"]",
    );
    read(&store).unwrap();
    // A plan of a later version, met before there is a manifest.
    let store = memory("newer");
    plan(&store, &spec(), &rows(1, &spec(), 2, 20));
    rewrite(&store, "plan.json", "\"format_version\": 1", "\"format_version\": 2");
    assert_eq!(
        decant_data::Dataset::open(&store).unwrap_err().kind(),
        Kind::Unsupported
    );
}

#[test]
fn records_that_were_edited_are_refused() {
    let store = memory("edited");
    let rows = rows(1, &spec(), 4, 20);
    capture_all(&plan(&store, &spec(), &rows), &rows);
    rewrite(&store, "commits/00000.json", "\"rows\": 4", "\"rows\": 3");
    let error = seal(&store, &mut ()).unwrap_err().to_string();
    assert!(error.contains("commits/00000.json has 3 rows"), "{error}");
    rewrite(&store, "plan.json", "\"seed\": 7", "\"seed\": 8");
    let error = seal(&store, &mut ()).unwrap_err().to_string();
    assert!(error.contains("plan.json was changed: its spec hashes to"), "{error}");
    let store = memory("nonsense");
    for nonsense in [
        "",
        "{",
        "[]",
        "{\"spec\": {\"format_version\": 1}}",
        "{\"spec\": {\"format_version\": -1}}",
    ] {
        store.put_new("plan.json", nonsense.as_bytes()).unwrap();
        let error = decant_data::Dataset::open(&store).unwrap_err();
        assert!(
            error.kind() == Kind::FixData && error.to_string().contains("plan.json"),
            "{nonsense}: {error}"
        );
        store.delete("plan.json").unwrap();
    }
}

type Columns = Vec<(String, ArrayRef)>;

/// Seals a dataset whose one table was written anew by another program, hashes and all, after `change`; gives the error
/// of reading it.
fn read_forged(change: impl Fn(&mut Columns, &mut Vec<KeyValue>)) -> String {
    let store = memory("forged");
    let rows = rows(2, &spec(), 4, 20);
    let dataset = plan(&store, &spec(), &rows);
    capture_all(&dataset, &rows);
    let object = dataset.markers().unwrap()[0].objects[0].object.clone();
    let forged = forge(store.get(&object.path).unwrap(), change);
    store.delete(&object.path).unwrap();
    store.put_new(&object.path, forged.clone()).unwrap();
    rewrite(&store, "commits/00000.json", &object.sha256, &sha256_hex(&forged));
    let (from, to) = (
        format!("\"bytes\": {}", object.bytes),
        format!("\"bytes\": {}", forged.len()),
    );
    rewrite(&store, "commits/00000.json", &from, &to);
    seal(&store, &mut ()).unwrap();
    let error = read(&store).expect_err("the forged table was read");
    error.to_string().replace(store.url(), "")
}

fn forge(table: Bytes, change: impl Fn(&mut Columns, &mut Vec<KeyValue>)) -> Vec<u8> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(table).unwrap();
    let mut metadata = reader.metadata().file_metadata().key_value_metadata().unwrap().clone();
    metadata.retain(|entry| entry.key != "ARROW:schema");
    let batch = reader.build().unwrap().next().unwrap().unwrap();
    let names = batch
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect::<Vec<_>>();
    let mut columns = names.into_iter().zip(batch.columns().iter().cloned()).collect();
    change(&mut columns, &mut metadata);
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
            .unwrap();
    let properties = WriterProperties::builder()
        .set_key_value_metadata(Some(metadata))
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

fn column<'a>(columns: &'a mut Columns, name: &str) -> &'a mut ArrayRef {
    &mut columns.iter_mut().find(|(found, _)| found == name).unwrap().1
}

/// Changes the numbers of a list column row by row.
fn floats(columns: &mut Columns, name: &str, change: impl Fn(usize, &mut Vec<Option<f32>>)) {
    let column = column(columns, name);
    let field = Field::new("element", DataType::Float32, true);
    let mut lists = ListBuilder::new(Float32Builder::new()).with_field(field);
    for (row, list) in column.as_list::<i32>().iter().enumerate() {
        let mut numbers = list.unwrap().as_primitive::<Float32Type>().iter().collect();
        change(row, &mut numbers);
        lists.append_value(numbers);
    }
    *column = Arc::new(lists.finish());
}

fn ints(columns: &mut Columns, name: &str, change: impl Fn(usize, &mut Vec<Option<i32>>)) {
    let column = column(columns, name);
    let field = Field::new("element", DataType::Int32, true);
    let mut lists = ListBuilder::new(Int32Builder::new()).with_field(field);
    for (row, list) in column.as_list::<i32>().iter().enumerate() {
        let mut numbers = list.unwrap().as_primitive::<Int32Type>().iter().collect();
        change(row, &mut numbers);
        lists.append_value(numbers);
    }
    *column = Arc::new(lists.finish());
}

#[test]
fn tables_of_other_programs_are_read_when_they_are_right() {
    // Nullable everywhere, without the Arrow schema, other encodings: the same facts.
    let store = memory("right");
    let rows = rows(2, &spec(), 4, 20);
    let dataset = plan(&store, &spec(), &rows);
    capture_all(&dataset, &rows);
    let object = dataset.markers().unwrap()[0].objects[0].object.clone();
    let forged = forge(store.get(&object.path).unwrap(), |_, _| {});
    assert_ne!(sha256_hex(&forged), object.sha256);
    store.delete(&object.path).unwrap();
    store.put_new(&object.path, forged.clone()).unwrap();
    rewrite(&store, "commits/00000.json", &object.sha256, &sha256_hex(&forged));
    let (from, to) = (
        format!("\"bytes\": {}", object.bytes),
        format!("\"bytes\": {}", forged.len()),
    );
    rewrite(&store, "commits/00000.json", &from, &to);
    seal(&store, &mut ()).unwrap();
    assert_eq!(read(&store).unwrap(), rows);
}

#[test]
fn a_table_that_contradicts_itself_is_refused_with_file_and_row() {
    let row = "/data/train-00000-of-00001.parquet row";
    let length = |columns: &mut Columns, _: &mut Vec<KeyValue>| {
        let lengths = column(columns, "length");
        let mut numbers: Vec<i32> = lengths.as_primitive::<Int32Type>().values().to_vec();
        numbers[1] += 1;
        *lengths = Arc::new(Int32Array::from(numbers));
    };
    let cases: Vec<(&str, String, String)> = vec![
        ("length", read_forged(length), format!("{row} 1: length is ")),
        (
            "an id beyond the vocabulary",
            read_forged(|columns, _| {
                ints(columns, "top_ids", |row, ids| {
                    if row == 2 {
                        ids[0] = Some(50)
                    }
                })
            }),
            format!("{row} 2: position 0: id 50 is not one of the 50 outcomes"),
        ),
        (
            "a negative id",
            read_forged(|columns, _| {
                ints(columns, "top_ids", |row, ids| {
                    if row == 2 {
                        ids[0] = Some(-1)
                    }
                })
            }),
            format!("{row} 2: top_ids has a -1"),
        ),
        (
            "a null in a list",
            read_forged(|columns, _| {
                ints(columns, "top_ids", |row, ids| {
                    if row == 2 {
                        ids[0] = None
                    }
                })
            }),
            format!("{row} 2: top_ids has a null in it"),
        ),
        (
            "one id too few",
            read_forged(|columns, _| {
                ints(columns, "top_ids", |row, ids| {
                    if row == 3 {
                        ids.truncate(ids.len() - 1)
                    }
                })
            }),
            format!("{row} 3: "),
        ),
        (
            "a token too many",
            read_forged(|columns, _| {
                ints(columns, "input_ids", |row, ids| {
                    if row == 0 {
                        ids.push(Some(1))
                    }
                })
            }),
            format!("{row} 0: "),
        ),
        (
            "a gap that is not a number",
            read_forged(|columns, _| {
                floats(columns, "top_gaps", |row, gaps| {
                    if row == 1 {
                        gaps[1] = Some(f32::NAN)
                    }
                })
            }),
            format!("{row} 1: position 0: the gap of id "),
        ),
        (
            "a negative gap",
            read_forged(|columns, _| {
                floats(columns, "top_gaps", |row, gaps| {
                    if row == 1 {
                        gaps[1] = Some(-0.5)
                    }
                })
            }),
            format!("{row} 1: position 0: a gap of -0.5 at id "),
        ),
        (
            "a tail above 1",
            read_forged(|columns, _| {
                floats(columns, "log_tail_t0_5", |row, tails| {
                    if row == 3 {
                        tails[0] = Some(0.5)
                    }
                })
            }),
            format!("{row} 3: position 0: a log tail of 0.5, more than 0"),
        ),
        (
            "an infinite logit",
            read_forged(|columns, _| {
                floats(columns, "largest", |row, tops| {
                    if row == 0 {
                        tops[0] = Some(f32::INFINITY)
                    }
                })
            }),
            format!("{row} 0: position 0: the largest logit is inf"),
        ),
    ];
    for (what, found, want) in cases {
        assert!(
            found.starts_with(&want),
            "{what}: {found:?} does not begin with {want:?}"
        );
    }
}

#[test]
fn a_table_of_another_plan_or_shape_is_refused() {
    let table = "/data/train-00000-of-00001.parquet";
    let set = |key: &'static str, value: Option<&'static str>| {
        read_forged(move |_, metadata| {
            metadata.retain(|entry| entry.key != key);
            metadata.extend(value.map(|value| KeyValue::new(key.to_string(), value.to_string())));
        })
    };
    let cases = [
        (
            set("softlabel.plan", Some("0000000000000000")),
            "softlabel.plan is 0000000000000000, but the plan says ",
        ),
        (
            set("softlabel.split", Some("test")),
            "softlabel.split is test, but the plan says train",
        ),
        (
            set("softlabel.teacher", None),
            "softlabel.teacher is missing; the plan says {",
        ),
        (
            set("softlabel.format_version", None),
            "has no softlabel.format_version in its metadata; not a table of this format",
        ),
        (
            set("softlabel.format_version", Some("9")),
            "has format version 9, but this decant reads up to 1",
        ),
        (
            set("softlabel.reader_flags", Some("[\"x\"]")),
            "needs the reader feature \"x\"",
        ),
        (
            set("softlabel.reader_flags", Some("none")),
            "has no list of names in softlabel.reader_flags",
        ),
        (
            read_forged(|columns, _| columns.retain(|(name, _)| name != "largest")),
            "column 10 is \"log_tail_t1\", not \"largest\"",
        ),
        (
            read_forged(|columns, _| drop(columns.pop())),
            "column \"log_tail_t0_5\" is missing",
        ),
        (
            read_forged(|columns, _| columns.push(("extra".into(), columns[0].1.clone()))),
            "there is a column \"extra\" too many",
        ),
        (
            read_forged(|columns, _| {
                let ids = column(columns, "top_ids").clone();
                *column(columns, "top_gaps") = ids;
            }),
            "column \"top_gaps\" is List(non-null Int32",
        ),
        (
            read_forged(|columns, _| {
                columns
                    .iter_mut()
                    .for_each(|(_, column)| *column = column.slice(0, column.len() - 1))
            }),
            "has 3 rows, the plan says 4",
        ),
    ];
    for (found, want) in cases {
        assert!(
            found.starts_with(table) && found.contains(want),
            "{found:?} does not say {want:?}"
        );
    }
}

#[test]
fn bytes_that_are_no_parquet_are_an_error_and_no_panic() {
    let rows = rows(2, &spec(), 4, 20);
    let dataset = plan(&memory("parquet"), &spec(), &rows);
    capture_all(&dataset, &rows);
    let object = dataset.markers().unwrap()[0].objects[0].object.clone();
    let whole = dataset.store().get(&object.path).unwrap().to_vec();
    let mut random = Random(9);
    for round in 0..300 {
        let mut bytes = whole.clone();
        match round % 3 {
            0 => bytes.truncate(random.below(whole.len() as u64) as usize),
            // The footer, where the structure is, and anywhere.
            1 => (0..3).for_each(|_| {
                let end = bytes.len();
                bytes[end - 1 - random.below(end.min(2000) as u64) as usize] = random.bits() as u8;
            }),
            _ => (0..8).for_each(|_| {
                let place = random.below(whole.len() as u64) as usize;
                bytes[place] = random.bits() as u8;
            }),
        }
        let store = memory("hostile");
        let dataset = plan(&store, &spec(), &rows);
        let attempt = dataset.begin(0).unwrap().unwrap();
        drop(attempt);
        // A marker and a table that agree with each other, as an attacker would write them.
        store.put_new("staging/00000.x.parquet", bytes.clone()).unwrap();
        let marker = serde_json::json!({
            "attempt": "x",
            "build": {"kernel_path": "portable", "version": "0.0.1"},
            "format_version": 1,
            "objects": [{
                "bytes": bytes.len(), "path": "staging/00000.x.parquet", "role": "table", "sha256": sha256_hex(&bytes),
            }],
            "plan": dataset.plan().id,
            "positions": dataset.plan().positions(),
            "rows": 4,
            "shard": 0,
        });
        store.put_new("commits/00000.json", format!("{marker:#}\n")).unwrap();
        seal(&store, &mut ()).unwrap();
        match read(&store) {
            Ok(_) => {}
            Err(error) => assert!(error.to_string().contains("train-00000-of-00001.parquet"), "{error}"),
        }
    }
}
