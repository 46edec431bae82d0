//! All rows of a table, one row group at a time.

use super::{Decoder, Table};
use crate::schema::Layout;
use crate::{Example, Result, Row};

/// An iterator over a table. The first error is the last item.
pub(crate) struct Scan<T> {
    table: Table,
    layout: Layout,
    decode: fn(&Decoder<'_>) -> Result<Vec<T>>,
    group: usize,
    first: u64,
    rows: std::vec::IntoIter<T>,
}

impl Table {
    /// Its examples, whatever else it has.
    pub(crate) fn examples(self, layout: Layout) -> Scan<Example> {
        Scan::new(self, layout, |decoder| decoder.examples())
    }

    /// Its rows, for a layout with a codec.
    pub(crate) fn rows_in_order(self, layout: Layout) -> Scan<Row> {
        Scan::new(self, layout, |decoder| decoder.rows())
    }
}

impl<T> Scan<T> {
    fn new(table: Table, layout: Layout, decode: fn(&Decoder<'_>) -> Result<Vec<T>>) -> Self {
        Self {
            table,
            layout,
            decode,
            group: 0,
            first: 0,
            rows: Vec::new().into_iter(),
        }
    }

    fn read_group(&mut self) -> Result<()> {
        let mut rows = Vec::new();
        for batch in self.table.group(self.group)? {
            let decoder = Decoder {
                place: &self.table.place,
                layout: &self.layout,
                batch: &batch,
                first: self.first,
            };
            rows.extend((self.decode)(&decoder)?);
            self.first += batch.num_rows() as u64;
        }
        self.rows = rows.into_iter();
        Ok(())
    }
}

impl<T> Iterator for Scan<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.rows.next() {
                return Some(Ok(row));
            }
            if self.group >= self.table.groups() {
                return None;
            }
            let read = self.read_group();
            self.group += 1;
            if let Err(error) = read {
                self.group = usize::MAX;
                return Some(Err(error));
            }
        }
    }
}
