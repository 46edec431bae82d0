//! The exported table against values computed with numpy, and against what can go wrong.

#[path = "fixtures/small.rs"]
mod small;

use std::fs::File;
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type};
use arrow_array::{Array, RecordBatch};
use decant_data::export::{Exported, export};
use decant_data::{Kind, Reader, Result, Store, Values};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// A row as exported: id, position, class, probability.
type Line = (String, Option<i32>, Option<i32>, f64);

fn exported(store: &Store, temperature: f32, to: &Path) -> Result<Exported> {
    export(&Reader::open(store)?, temperature, to, &mut ())
}

fn lines(batch: &RecordBatch) -> Vec<Line> {
    let (ids, probabilities) = (
        batch.column(0).as_string::<i32>(),
        batch.column(3).as_primitive::<Float64Type>(),
    );
    let number = |column: usize, row| {
        let column = batch.column(column).as_primitive::<Int32Type>();
        column.is_valid(row).then(|| column.value(row))
    };
    let line = |row| {
        (
            ids.value(row).to_owned(),
            number(1, row),
            number(2, row),
            probabilities.value(row),
        )
    };
    (0..batch.num_rows()).map(line).collect()
}

fn read(path: &Path) -> (Vec<Line>, Vec<(String, String)>) {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let names: Vec<_> = builder
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    assert_eq!(names, ["id", "position", "class", "probability"]);
    let metadata = builder.metadata().file_metadata().key_value_metadata().unwrap().clone();
    let metadata = metadata
        .into_iter()
        .map(|entry| (entry.key, entry.value.unwrap()))
        .collect();
    (
        builder
            .build()
            .unwrap()
            .flat_map(|batch| lines(&batch.unwrap()))
            .collect(),
        metadata,
    )
}

fn compare(found: &[Line], wanted: &[(&str, Option<i32>, Option<i32>, f64)], within: f64) {
    assert_eq!(found.len(), wanted.len());
    for (found, wanted) in found.iter().zip(wanted) {
        assert_eq!((found.0.as_str(), found.1, found.2), (wanted.0, wanted.1, wanted.2));
        assert!((found.3 - wanted.3).abs() <= within, "{found:?} {wanted:?}");
    }
}

/// numpy: `p = exp(z / 2); p / p.sum()` for z of [2, -1, .5], [0, 0, 0], [-3.25, 4, 1.1].
const IMAGES: [f64; 9] = [
    0.5897976636568125,
    0.13160164714691433,
    0.278600689196273,
    1.0 / 3.0,
    1.0 / 3.0,
    1.0 / 3.0,
    0.021129628710286997,
    0.7928834678186767,
    0.18598690347103633,
];

fn image_lines() -> Vec<(&'static str, Option<i32>, Option<i32>, f64)> {
    let ids = ["image-0", "image-1", "image-2"];
    (0..9)
        .map(|n| (ids[n / 3], None, Some(n as i32 % 3), IMAGES[n]))
        .collect()
}

#[test]
fn dense_at_any_temperature() {
    let folder = tempfile::tempdir().unwrap();
    let store = small::images(&folder.path().join("cache"), Values::F32, 0);
    let to = folder.path().join("table.parquet");
    let done = exported(&store, 2.0, &to).unwrap();
    assert_eq!(
        done,
        Exported {
            examples: 3,
            positions: 3,
            rows: 9,
            error: 0.0
        }
    );
    let (found, metadata) = read(&to);
    // 1.1 is an f32: half a unit in its last place, 6e-8, at T = 2.
    compare(&found, &image_lines(), 1e-8);
    let value = |key: &str| &metadata.iter().find(|(name, _)| name == key).unwrap().1;
    assert_eq!(value("softlabel.kind"), "probabilities");
    assert_eq!(value("softlabel.temperature"), "2");
    assert_eq!(value("softlabel.probability_error"), "0");
    assert_eq!(value("softlabel.plan"), &Reader::open(&store).unwrap().plan().id);
}

#[test]
fn rounded_values_stay_within_the_bound_that_the_file_states() {
    let folder = tempfile::tempdir().unwrap();
    let mut bounds = Vec::new();
    for values in [Values::F16, Values::Bf16] {
        let store = small::images(&folder.path().join(values.name()), values, 0);
        let to = folder.path().join(format!("{}.parquet", values.name()));
        let done = exported(&store, 2.0, &to).unwrap();
        let (found, metadata) = read(&to);
        compare(&found, &image_lines(), done.error);
        assert!(metadata.contains(&("softlabel.probability_error".into(), done.error.to_string())));
        // 1.1 has no short form: something is off, and the bound may not say otherwise.
        assert!(
            found
                .iter()
                .zip(IMAGES)
                .any(|(found, exact)| (found.3 - exact).abs() > 1e-6)
        );
        bounds.push(done.error);
    }
    // 8 significant bits instead of 11.
    assert!(bounds[1] > 4.0 * bounds[0] && bounds[1] < 0.01, "{bounds:?}");
}

#[test]
fn top_k_with_its_tail_as_a_row_without_class() {
    let folder = tempfile::tempdir().unwrap();
    let store = small::tokens(&folder.path().join("cache"));
    let to = folder.path().join("table.parquet");
    let done = exported(&store, 2.0, &to).unwrap();
    assert_eq!((done.examples, done.positions, done.rows), (1, 2, 6));
    assert!(done.error > 0.0 && done.error < 1e-6);
    // numpy: q = exp(-gap / 2); q / q.sum() * (1 - exp(log_tail)), exp(log_tail)
    let wanted = [
        ("text#0", Some(0), Some(1), 0.42932281886720225),
        ("text#0", Some(0), Some(3), 0.20279773996135536),
        ("text#0", Some(0), None, 0.36787944117144233),
        ("text#0", Some(1), Some(2), 0.37901533976507934),
        ("text#0", Some(1), Some(0), 0.33447986337473057),
        ("text#0", Some(1), None, 0.2865047968601901),
    ];
    compare(&read(&to).0, &wanted, 1e-14);
}

#[test]
fn what_cannot_be_exported_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let store = small::tokens(&cache);
    let to = folder.path().join("table.parquet");
    let error = exported(&store, 3.0, &to).unwrap_err();
    assert!(error.to_string().contains("declared: 1, 2"), "{error}");
    assert!(exported(&store, f32::NAN, &to).is_err());

    std::fs::write(&to, "mine").unwrap();
    let error = exported(&store, 1.0, &to).unwrap_err();
    assert_eq!(error.kind(), Kind::FixInput);
    assert!(
        error
            .to_string()
            .ends_with("table.parquet exists already; give another name, or remove it"),
        "{error}"
    );
    assert_eq!(std::fs::read(&to).unwrap(), b"mine");

    let error = exported(&store, 1.0, &folder.path().join("no/such/table.parquet")).unwrap_err();
    assert!(error.to_string().starts_with("writing "), "{error}");

    let table = std::fs::read_dir(cache.join("data"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let mut bytes = std::fs::read(&table).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&table, bytes).unwrap();
    let error = exported(&store, 1.0, &folder.path().join("broken.parquet")).unwrap_err();
    assert_eq!(error.kind(), Kind::FixData);
    let left: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 2, "{left:?}");
}
