//! Reads one Parquet table, one row group in memory at a time.

use std::fs::File;

use arrow_array::RecordBatch;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::file::reader::ChunkReader;

use crate::schema::{self, Layout};
use crate::{Error, ObjectRef, Result, Store};

mod decode;
mod scan;

use decode::Decoder;
pub(crate) use scan::Scan;

enum Source {
    File(File),
    Bytes(Bytes),
}

/// A table whose bytes are verified and whose columns are the expected ones.
pub(crate) struct Table {
    place: String,
    source: Source,
    metadata: ArrowReaderMetadata,
}

impl Table {
    /// Verifies an object against its record and opens it as a table of this layout.
    ///
    /// # Errors
    /// Other bytes than recorded, no Parquet, other columns.
    pub(crate) fn open(store: &Store, object: &ObjectRef, layout: &Layout) -> Result<Self> {
        let place = store.place(&object.path);
        match store.local_folder() {
            Some(folder) => {
                store.verify_object(object, |_| Ok(()))?;
                let path = folder.join(&object.path);
                let file = File::open(&path).map_err(|source| Error::Io {
                    action: "reading",
                    path,
                    source,
                })?;
                Self::new(place, Source::File(file), layout)
            }
            None => Self::new(place, Source::Bytes(store.get_verified(object)?), layout),
        }
    }

    fn new(place: String, source: Source, layout: &Layout) -> Result<Self> {
        let options = ArrowReaderOptions::new();
        let metadata = match &source {
            Source::File(file) => ArrowReaderMetadata::load(file, options),
            Source::Bytes(bytes) => ArrowReaderMetadata::load(bytes, options),
        };
        let metadata = metadata.map_err(Error::parquet(&place))?;
        schema::compare(metadata.schema(), &layout.schema()).map_err(|why| Error::Data(format!("{place}: {why}")))?;
        Ok(Self {
            place,
            source,
            metadata,
        })
    }

    /// The key-value metadata of the file, later ones of a key first.
    pub(crate) fn metadata(&self, key: &str) -> Option<&str> {
        let entries = self.metadata.metadata().file_metadata().key_value_metadata()?;
        entries.iter().rev().find(|entry| entry.key == key)?.value.as_deref()
    }

    /// Its name for people.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// How many row groups it has.
    pub(crate) fn groups(&self) -> usize {
        self.metadata.metadata().num_row_groups()
    }

    /// How many rows it has.
    pub(crate) fn rows(&self) -> u64 {
        u64::try_from(self.metadata.metadata().file_metadata().num_rows()).unwrap_or(0)
    }

    /// All columns of one row group.
    pub(crate) fn group(&self, group: usize) -> Result<Vec<RecordBatch>> {
        match &self.source {
            Source::File(file) => {
                let file = file.try_clone().map_err(|source| Error::Io {
                    action: "reading",
                    path: self.place.clone().into(),
                    source,
                })?;
                self.read(file, group)
            }
            Source::Bytes(bytes) => self.read(bytes.clone(), group),
        }
    }

    fn read<R: ChunkReader + 'static>(&self, source: R, group: usize) -> Result<Vec<RecordBatch>> {
        let damaged = || Error::parquet(format!("{} row group {group}", self.place));
        let rows = self.metadata.metadata().row_group(group).num_rows();
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(source, self.metadata.clone())
            .with_row_groups(vec![group])
            .with_batch_size(usize::try_from(rows).unwrap_or(0).max(1))
            .build()
            .map_err(damaged())?;
        reader
            .map(|batch| batch.map_err(|error| damaged()(error.into())))
            .collect()
    }
}
