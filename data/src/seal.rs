//! Makes a dataset whole: final names, card, sums and, last, the manifest.
//!
//! Every step can be repeated, and two sealers at once do no harm: they write the same bytes.

use std::io::Write;

use bytes::Bytes;

use crate::dataset::Dataset;
use crate::hash::sha256_hex;
use crate::manifest::{Manifest, ManifestFile, Role, SplitSummary};
use crate::plan::PLAN_PATH;
use crate::{
    Error, FORMAT_VERSION, Marker, ObjectRef, Plan, Progress, Put, READER_FLAGS, Result, Store, WRITER_FLAGS, card,
};

const CARD_PATH: &str = "README.md";
const SUMS_PATH: &str = "SHA256SUMS";
/// How many missing shards a message names.
const NAMED: usize = 10;

/// Puts every committed table under its final name and writes sums, card and, last, the manifest. A card that is there
/// already is kept. Staged tables stay where they are.
///
/// # Errors
/// A shard without a marker; a staged table that was changed; a sealed dataset whose files were changed.
pub fn seal(store: &Store, progress: &mut dyn Progress) -> Result<Manifest> {
    let dataset = Dataset::open(store)?;
    let plan = dataset.plan();
    refuse_missing(&dataset)?;
    let markers = dataset.markers()?;
    let status = dataset.status()?;
    if status.builds.len() > 1 {
        let builds = status
            .builds
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ");
        progress.note(&format!(
            "the shards were made by different builds ({builds}); making them again may give other bytes"
        ));
    }
    progress.begin("sealing", "bytes", status.bytes);
    let mut files = vec![];
    for (shard, marker) in plan.shards.iter().zip(&markers) {
        let table = marker.table(store, plan)?;
        let object = place_table(store, table, &plan.final_path(shard), progress)?;
        files.push(ManifestFile {
            role: Role::Table,
            object,
            shard: Some(shard.index),
        });
    }
    for marker in &markers {
        let (path, bytes) = (Marker::path(marker.shard), marker.to_bytes());
        files.push(file(Role::Marker, object(path, &bytes)));
    }
    files.push(file(Role::Plan, object(PLAN_PATH.into(), &plan.to_bytes())));
    for model in &plan.files {
        store.verify_object(model, |_| Ok(()))?;
        files.push(file(Role::Model, model.clone()));
    }
    let splits = splits(plan, &files);
    let card = keep_or_put(store, CARD_PATH, card::write(plan, &splits))?;
    files.push(file(Role::Card, object(CARD_PATH.into(), &card)));
    let sums = Bytes::from(sums(&files));
    store.put_same(SUMS_PATH, &sums)?;
    files.push(file(Role::Sums, object(SUMS_PATH.into(), &sums)));
    files.sort_by(|left, right| left.object.path.cmp(&right.object.path));

    let flags = |flags: &[&str]| flags.iter().map(ToString::to_string).collect();
    let manifest = Manifest {
        format_version: FORMAT_VERSION,
        reader_flags: flags(READER_FLAGS),
        writer_flags: flags(WRITER_FLAGS),
        plan: plan.id.clone(),
        splits,
        builds: status.builds,
        files,
    };
    store.put_same(Manifest::PATH, &manifest.to_bytes().into())?;
    Ok(manifest)
}

fn refuse_missing(dataset: &Dataset) -> Result<()> {
    let missing = dataset.missing()?;
    if missing.is_empty() {
        return Ok(());
    }
    let named = missing
        .iter()
        .take(NAMED)
        .map(u32::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    let more = if missing.len() > NAMED { ", ..." } else { "" };
    let (url, count, shards) = (dataset.store().url(), missing.len(), dataset.plan().shards.len());
    Err(Error::Input(format!(
        "{url}: {count} of {shards} shards are not committed ({named}{more}); finish the work, then seal again"
    )))
}

/// Copies a staged table to its final name, hashing it on the way; one that is there and right stays.
fn place_table(store: &Store, staged: &ObjectRef, path: &str, progress: &mut dyn Progress) -> Result<ObjectRef> {
    let placed = ObjectRef {
        path: path.into(),
        ..staged.clone()
    };
    if store.size(path)? == Some(staged.bytes) && store.verify_object(&placed, |_| Ok(())).is_ok() {
        progress.advance(staged.bytes);
        return Ok(placed);
    }
    let mut upload = store.upload(path)?;
    let copied = store.verify_object(staged, |piece| {
        progress.advance(piece.len() as u64);
        upload
            .write_all(piece)
            .map_err(|error| upload_error(store, path, error))
    });
    match copied {
        Ok(()) => upload.finish(),
        Err(Error::Data(why)) => Err(Error::Data(format!(
            "{why}; remove the shard's marker from {} and run the work again",
            Marker::FOLDER
        ))),
        Err(error) => Err(error),
    }
}

/// The store's error that an upload passed through `io::Write`.
fn upload_error(store: &Store, path: &str, error: std::io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(source) => Error::Io {
            action: "writing",
            path: store.place(path).into(),
            source,
        },
    }
}

/// Writes an object, or keeps what is there; gives what is there then.
fn keep_or_put(store: &Store, path: &str, bytes: String) -> Result<Bytes> {
    let bytes = Bytes::from(bytes);
    match store.put_new(path, bytes.clone())? {
        Put::Created => Ok(bytes),
        Put::Exists => store.get(path),
    }
}

fn splits(plan: &Plan, files: &[ManifestFile]) -> Vec<SplitSummary> {
    let summary = |name: &&str| {
        let shards = || plan.shards.iter().filter(|shard| shard.split == *name);
        let paths: Vec<String> = shards().map(|shard| plan.final_path(shard)).collect();
        SplitSummary {
            name: name.to_string(),
            examples: shards().map(|shard| shard.examples).sum(),
            positions: shards().map(|shard| shard.positions).sum(),
            bytes: files
                .iter()
                .filter(|file| paths.contains(&file.object.path))
                .map(|file| file.object.bytes)
                .sum(),
        }
    };
    plan.splits().iter().map(summary).collect()
}

/// What `sha256sum -c` reads.
fn sums(files: &[ManifestFile]) -> String {
    let mut lines: Vec<_> = files
        .iter()
        .map(|file| (&file.object.path, &file.object.sha256))
        .collect();
    lines.sort();
    lines
        .into_iter()
        .map(|(path, sha256)| format!("{sha256}  {path}\n"))
        .collect()
}

fn object(path: String, bytes: &[u8]) -> ObjectRef {
    ObjectRef {
        path,
        sha256: sha256_hex(bytes),
        bytes: bytes.len() as u64,
    }
}

fn file(role: Role, object: ObjectRef) -> ManifestFile {
    ManifestFile {
        role,
        object,
        shard: None,
    }
}
