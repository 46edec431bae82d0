//! Where a dataset lies: a folder or an object store, behind calls that block.
//!
//! A store is opened by its URL's scheme. A further kind of object store (`s3`, `gs`, `az`) is one more arm of
//! [`Store::open`] that builds the [`ObjectStore`]; everything else here needs only reading, listing, deleting, uploads
//! in parts and create-only puts.

use std::collections::BTreeMap;
use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

use crate::hash::Hasher;
use crate::{Error, Result};

mod trouble;
mod upload;

pub(crate) use upload::Upload;

/// The schemes that [`Store::open`] knows.
const SCHEMES: &str = "a path, file:// and memory://";

/// An object with what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectRef {
    /// Its path in the store.
    pub path: String,
    /// Of its bytes.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
}

/// How a create-only put ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The object is there now, and durable.
    Created,
    /// Something was there. It may be our own: a reply can be lost, so read it back before judging.
    Exists,
}

/// A place for objects. Cheap to clone. Calls block: in async code use them where blocking is allowed.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<dyn ObjectStore>,
    prefix: Path,
    url: String,
    folder: Option<PathBuf>,
}

impl Store {
    /// Opens a place: a path, `file://` with an absolute path, or `memory://NAME`, which is shared by name inside this
    /// process. Nothing is made before the first write.
    ///
    /// # Errors
    /// A scheme without a store, or a path that no folder can have.
    pub fn open(location: &str) -> Result<Self> {
        match location.split_once("://") {
            None => Self::folder(FilePath::new(location), location),
            Some(("file", path)) if path.starts_with('/') => Self::folder(FilePath::new(path), location),
            Some(("file", _)) => Err(Error::Input(format!(
                "{location}: a file URL needs an absolute path: file:///..."
            ))),
            Some(("memory", name)) => Self::memory(name, location),
            Some((scheme, _)) => Err(Error::Unsupported(format!(
                "{location}: no store for {scheme}://; decant knows {SCHEMES}"
            ))),
        }
    }

    /// Wraps an object store, for tests that make one fail.
    pub fn from_object_store(inner: Arc<dyn ObjectStore>, url: impl Into<String>) -> Self {
        Self {
            inner,
            prefix: Path::default(),
            url: url.into(),
            folder: None,
        }
    }

    fn folder(path: &FilePath, location: &str) -> Result<Self> {
        let wrong = |why: String| Error::Input(format!("{location}: not a usable path: {why}"));
        if location.is_empty() {
            return Err(wrong("it is empty".into()));
        }
        let folder = resolve(path).map_err(|error| wrong(error.to_string()))?;
        if folder.exists() && !folder.is_dir() {
            return Err(wrong("it is a file, but a dataset is a folder".into()));
        }
        let prefix = Path::from_absolute_path(&folder).map_err(|error| wrong(error.to_string()))?;
        let inner = Arc::new(LocalFileSystem::new().with_fsync(true));
        Ok(Self {
            inner,
            prefix,
            url: location.trim_end_matches('/').into(),
            folder: Some(folder),
        })
    }

    fn memory(location: &str, url: &str) -> Result<Self> {
        static STORES: Mutex<BTreeMap<String, Arc<InMemory>>> = Mutex::new(BTreeMap::new());
        let (name, prefix) = location.split_once('/').unwrap_or((location, ""));
        let prefix = Path::parse(prefix).map_err(|error| Error::Input(format!("{url}: not a usable path: {error}")))?;
        let mut stores = STORES.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let inner = Arc::clone(stores.entry(name.to_string()).or_default());
        Ok(Self {
            inner,
            prefix,
            url: url.trim_end_matches('/').into(),
            folder: None,
        })
    }

    /// The location as it was given.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The folder on this machine, where it is one.
    pub fn local_folder(&self) -> Option<&FilePath> {
        self.folder.as_deref()
    }

    /// An object's name for people: the location and the path.
    pub fn place(&self, path: &str) -> String {
        format!("{}/{path}", self.url)
    }

    fn path(&self, path: &str) -> Result<Path> {
        let parsed = Path::parse(path).map_err(|error| Error::Input(format!("{}: {error}", self.place(path))))?;
        Ok(self.prefix.parts().chain(parsed.parts()).collect())
    }

    /// The whole object.
    ///
    /// # Errors
    /// It is not there ([`Error::is_not_found`]) or cannot be read.
    pub fn get(&self, path: &str) -> Result<Bytes> {
        let object = self.path(path)?;
        let bytes = runtime().block_on(async { self.inner.get(&object).await?.bytes().await });
        bytes.map_err(|error| self.trouble("reading", path, error))
    }

    /// Puts an object where nothing is, durably.
    ///
    /// # Errors
    /// No space, no permission, a read-only place, a network in trouble.
    pub fn put_new(&self, path: &str, bytes: impl Into<Bytes>) -> Result<Put> {
        let object = self.path(path)?;
        let options = PutOptions {
            mode: PutMode::Create,
            ..PutOptions::default()
        };
        match runtime().block_on(self.inner.put_opts(&object, bytes.into().into(), options)) {
            Ok(_) => Ok(Put::Created),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Ok(Put::Exists)
            }
            Err(error) => Err(self.trouble("writing", path, error)),
        }
    }

    /// Puts an object where nothing is, or finds the same bytes there.
    ///
    /// # Errors
    /// As [`put_new`](Self::put_new); [`Error::Input`] when other bytes are there.
    pub fn put_same(&self, path: &str, bytes: &Bytes) -> Result<()> {
        // A conflict may be reported where nothing is, and an object may go away between the two calls: look again.
        for _ in 0..ATTEMPTS {
            if self.put_new(path, bytes.clone())? == Put::Created {
                return Ok(());
            }
            match self.get(path) {
                Ok(found) if found == *bytes => return Ok(()),
                Ok(_) => {
                    let place = self.place(path);
                    return Err(Error::Input(format!(
                        "{place} is there already with other content; use an empty place"
                    )));
                }
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Err(self.undecided(path))
    }

    /// Whether the object is there.
    ///
    /// # Errors
    /// The place cannot be read.
    pub fn exists(&self, path: &str) -> Result<bool> {
        Ok(self.size(path)?.is_some())
    }

    /// The object's size in bytes; `None`: it is not there.
    ///
    /// # Errors
    /// The place cannot be read.
    pub fn size(&self, path: &str) -> Result<Option<u64>> {
        let object = self.path(path)?;
        match runtime().block_on(self.inner.head(&object)) {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.trouble("reading", path, error)),
        }
    }

    /// Every object under a folder of the store (`""`: all of it), as path and size, in path order.
    ///
    /// # Errors
    /// The place cannot be read.
    pub fn list(&self, folder: &str) -> Result<Vec<(String, u64)>> {
        let under = self.path(folder)?;
        let all = runtime().block_on(self.inner.list(Some(&under)).try_collect::<Vec<_>>());
        let all = all.map_err(|error| self.trouble("listing", folder, error))?;
        let skipped = self.prefix.parts().count();
        let relative = |path: &Path| path.parts().skip(skipped).collect::<Path>().to_string();
        let mut found: Vec<_> = all.iter().map(|meta| (relative(&meta.location), meta.size)).collect();
        found.sort();
        Ok(found)
    }

    /// Removes an object; one that is not there is no error.
    ///
    /// # Errors
    /// No permission, a read-only place, a network in trouble.
    pub fn delete(&self, path: &str) -> Result<()> {
        let object = self.path(path)?;
        match runtime().block_on(self.inner.delete(&object)) {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.trouble("deleting", path, error)),
        }
    }

    /// Reads an object piece by piece and gives its sha256 and size.
    ///
    /// # Errors
    /// It is not there or cannot be read, or `each` stops.
    pub(crate) fn read_hashed(&self, path: &str, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<(String, u64)> {
        let object = self.path(path)?;
        let trouble = |error| self.trouble("reading", path, error);
        let mut pieces = runtime()
            .block_on(self.inner.get(&object))
            .map_err(trouble)?
            .into_stream();
        let (mut hasher, mut size) = (Hasher::new(), 0);
        while let Some(piece) = runtime().block_on(pieces.try_next()).map_err(trouble)? {
            hasher.update(&piece);
            size += piece.len() as u64;
            each(&piece)?;
        }
        Ok((hasher.hex(), size))
    }

    /// Whether an object's bytes are the ones of its record.
    ///
    /// # Errors
    /// [`Error::Data`] naming both sides when they are not, or when it is missing.
    pub(crate) fn verify_object(&self, object: &ObjectRef, each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let place = self.place(&object.path);
        match self.read_hashed(&object.path, each) {
            Ok((_, size)) if size != object.bytes => Err(Error::Data(format!(
                "{place} has {size} bytes, its record says {}; it was changed or cut",
                object.bytes
            ))),
            Ok((sha256, _)) if sha256 != object.sha256 => Err(Error::Data(format!(
                "{place} has sha256 {sha256}, its record says {}; it was changed",
                object.sha256
            ))),
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Err(Error::Data(format!("{place} is missing"))),
            Err(error) => Err(error),
        }
    }

    /// The whole object, if its bytes are the ones of its record.
    ///
    /// # Errors
    /// As [`verify_object`](Self::verify_object).
    pub(crate) fn get_verified(&self, object: &ObjectRef) -> Result<Bytes> {
        let mut bytes = Vec::with_capacity(usize::try_from(object.bytes.min(1 << 30)).unwrap_or(0));
        self.verify_object(object, |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(bytes.into())
    }

    pub(crate) fn undecided(&self, path: &str) -> Error {
        Error::Store {
            action: "writing",
            place: self.place(path),
            reason: format!("the store said {ATTEMPTS} times that it exists and that it does not; try again later"),
            kind: crate::Kind::Retry,
            source: None,
        }
    }
}

/// How often a conflict on an object that cannot be read back is tried again.
pub(crate) const ATTEMPTS: u32 = 5;

/// The runtime that drives object stores. They need one even for local folders.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let built = builder
            .worker_threads(1)
            .thread_name("decant-store")
            .enable_all()
            .build();
        built.expect("the system gives one thread and one poller to a process that just started")
    })
}

/// An absolute path without `.`, `..` and links, whose end need not exist.
fn resolve(path: &FilePath) -> std::io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    let mut missing = Vec::new();
    let mut there = path.as_path();
    loop {
        match std::fs::canonicalize(there) {
            Ok(resolved) => return Ok(missing.iter().rev().fold(resolved, |path, name| path.join(name))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let (Some(parent), Some(name)) = (there.parent(), there.file_name()) else {
            return Err(std::io::Error::new(
                std::io::ErrorKind::InvalidInput,
                "`..` after a folder that does not exist",
            ));
        };
        missing.push(name.to_owned());
        there = parent;
    }
}
