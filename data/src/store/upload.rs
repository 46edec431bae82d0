//! Writing a large object as it comes into being, with one part of it in memory.

use std::io::{self, Write};

use object_store::{MultipartUpload, ObjectStoreExt};

use super::{ObjectRef, Store, runtime};
use crate::Result;
use crate::hash::Hasher;

/// Bytes of a part. Object stores want at least 5 MiB and at most 10,000 parts.
const PART: usize = 8 << 20;

/// An object on its way, invisible to others until it is finished. Dropped before, it leaves nothing.
pub(crate) struct Upload {
    store: Store,
    path: String,
    upload: Option<Box<dyn MultipartUpload>>,
    part: Vec<u8>,
    hasher: Hasher,
    bytes: u64,
}

impl Store {
    /// Begins to write an object, replacing what is there once it is finished.
    ///
    /// # Errors
    /// No permission, a read-only place, a network in trouble.
    pub(crate) fn upload(&self, path: &str) -> Result<Upload> {
        let object = self.path(path)?;
        let upload = runtime().block_on(self.inner.put_multipart(&object));
        let upload = upload.map_err(|error| self.trouble("writing", path, error))?;
        let (store, path) = (self.clone(), path.to_string());
        Ok(Upload {
            store,
            path,
            upload: Some(upload),
            part: Vec::new(),
            hasher: Hasher::new(),
            bytes: 0,
        })
    }
}

impl Upload {
    /// Makes the object visible and durable, and says what is in it.
    ///
    /// # Errors
    /// No space, no permission, a network in trouble.
    pub(crate) fn finish(mut self) -> Result<ObjectRef> {
        self.send()?;
        let mut upload = self.upload.take().expect("an upload is taken only here and by drop");
        if let Err(error) = runtime().block_on(upload.complete()) {
            // Left to drop, it is aborted.
            self.upload = Some(upload);
            return Err(self.store.trouble("writing", &self.path, error));
        }
        let hasher = std::mem::replace(&mut self.hasher, Hasher::new());
        Ok(ObjectRef {
            path: std::mem::take(&mut self.path),
            sha256: hasher.hex(),
            bytes: self.bytes,
        })
    }

    fn send(&mut self) -> Result<()> {
        let upload = self.upload.as_mut().expect("an upload is taken only when it ends");
        let part = std::mem::take(&mut self.part);
        self.hasher.update(&part);
        self.bytes += part.len() as u64;
        let sent = runtime().block_on(upload.put_part(part.into()));
        sent.map_err(|error| self.store.trouble("writing", &self.path, error))
    }
}

impl Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PART - self.part.len());
        self.part.extend_from_slice(&bytes[..taken]);
        if self.part.len() == PART {
            self.send().map_err(io::Error::other)?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(mut upload) = self.upload.take() {
            // What could not be removed is an orphan in staging, which nothing trusts.
            let _ = runtime().block_on(upload.abort());
        }
    }
}
