//! Checks every byte of a sealed dataset.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use crate::manifest::{Manifest, Role};
use crate::{Error, Marker, ObjectRef, Plan, Progress, Result, Store};

/// What [`verify`] looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    /// Files whose bytes are right, the manifest included.
    pub files: u64,
    /// Their bytes, without the manifest's.
    pub bytes: u64,
    /// What a person should know though nothing is wrong.
    pub notes: Vec<String>,
}

/// How many troubles a message names.
const NAMED: usize = 10;

/// Reads every file of a sealed dataset and compares it with its record: the manifest's files, and, as long as they are
/// kept, the planned inputs and the committed tables in staging. What nobody recorded is reported too, except attempts in
/// staging that did not count, inputs of a plan that never came about, and what version control and download caches put
/// beside a dataset.
///
/// # Errors
/// Not sealed; [`Error::Data`] naming every file that is missing, changed or too many.
pub fn verify(store: &Store, progress: &mut dyn Progress) -> Result<Verified> {
    let manifest = Manifest::read(store)?;
    let plan = manifest.read_plan(store)?;
    let there: BTreeMap<String, u64> = store.list("")?.into_iter().collect();
    let optional = optional(store, &manifest, &plan)?
        .into_iter()
        .filter(|object| there.contains_key(&object.path));
    let objects: Vec<ObjectRef> = manifest
        .files
        .iter()
        .map(|file| file.object.clone())
        .chain(optional)
        .collect();
    let known: BTreeSet<&str> = objects.iter().map(|object| object.path.as_str()).collect();
    let ignored = |path: &str| {
        ["staging/", "inputs/", ".git", ".cache/"]
            .iter()
            .any(|prefix| path.starts_with(prefix))
    };
    let extra = there
        .keys()
        .filter(|path| *path != Manifest::PATH && !known.contains(path.as_str()) && !ignored(path));
    let mut troubles: Vec<String> = extra
        .map(|path| format!("{} is not part of the dataset; move it away", store.place(path)))
        .collect();

    let bytes = objects.iter().map(|object| object.bytes).sum();
    progress.begin("verifying", "bytes", bytes);
    troubles.extend(rehash(store, &objects, progress));
    if !troubles.is_empty() {
        let more = match troubles.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        let named = troubles.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
        return Err(Error::Data(format!("{named}{more}")));
    }
    let mut notes = Vec::new();
    if manifest.builds.len() > 1 {
        let builds = manifest
            .builds
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ");
        notes.push(format!("the tables were made by different builds: {builds}"));
    }
    notes.iter().for_each(|note| progress.note(note));
    Ok(Verified {
        files: objects.len() as u64 + 1,
        bytes,
        notes,
    })
}

/// Objects that may be gone once a dataset is sealed, but are right where they are there.
fn optional(store: &Store, manifest: &Manifest, plan: &Plan) -> Result<Vec<ObjectRef>> {
    let mut objects: BTreeMap<String, ObjectRef> = plan
        .shards
        .iter()
        .map(|shard| (shard.inputs.path.clone(), shard.inputs.clone()))
        .collect();
    for file in manifest.files.iter().filter(|file| file.role == Role::Marker) {
        // A marker that cannot be read is found by its hash.
        let Some(shard) = Marker::shard_of(&file.object.path) else {
            continue;
        };
        if let Ok(marker) = Marker::read(store, plan, shard) {
            let staged = marker.objects.into_iter().map(|staged| staged.object);
            objects.extend(staged.map(|object| (object.path.clone(), object)));
        }
    }
    Ok(objects.into_values().collect())
}

/// Hashes objects on all cores; gives one line for each that is wrong, in their order.
fn rehash(store: &Store, objects: &[ObjectRef], progress: &mut dyn Progress) -> Vec<String> {
    let next = AtomicUsize::new(0);
    let wrong: Mutex<BTreeMap<usize, Error>> = Mutex::new(BTreeMap::new());
    let (sender, receiver) = mpsc::channel();
    std::thread::scope(|scope| {
        let workers = std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(objects.len());
        for _ in 0..workers {
            let sender = sender.clone();
            scope.spawn(|| {
                let sender = sender;
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(object) = objects.get(index) else { break };
                    let checked = store.verify_object(object, |piece| {
                        let _ = sender.send(piece.len() as u64);
                        Ok(())
                    });
                    if let Err(error) = checked {
                        wrong
                            .lock()
                            .unwrap_or_else(std::sync::PoisonError::into_inner)
                            .insert(index, error);
                    }
                }
            });
        }
        drop(sender);
        receiver.iter().for_each(|bytes| progress.advance(bytes));
    });
    let wrong = wrong.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    wrong.into_values().map(|error| error.to_string()).collect()
}
