//! What a model is given: token sequences laid out in rows, or images.

use candle_core::Tensor;

use crate::{Error, Result};

/// One batch of examples.
#[derive(Clone, Debug)]
pub enum Batch {
    /// Token sequences, for language models.
    Tokens(TokenBatch),
    /// `[n, channels, height, width]`, preprocessed (see [`crate::ImageProcessor`]).
    Images(Tensor),
}

/// Where one token sequence lies in a [`TokenBatch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Document {
    /// Row of the batch.
    pub row: usize,
    /// Position of its first token in the row.
    pub start: usize,
    /// Number of tokens.
    pub len: usize,
}

impl Document {
    /// Index of its first token among `rows * width` positions.
    fn flat(&self, width: usize) -> usize {
        self.row * width + self.start
    }
}

/// Token sequences laid out in `rows` rows of `width` positions.
///
/// A position attends only inside its own document and positions count from 0 in each, so a document's values do not
/// depend on what lies beside it. What belongs to no document is padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenBatch {
    /// Number of rows.
    pub rows: usize,
    /// Positions in each row.
    pub width: usize,
    /// `rows * width` token ids; padding holds 0.
    pub ids: Vec<u32>,
    /// The sequences, in the order in which they were given.
    pub documents: Vec<Document>,
}

impl TokenBatch {
    /// One document a row, padded on the right to the longest.
    pub fn padded<T: AsRef<[u32]>>(docs: &[T]) -> Self {
        let width = docs.iter().map(|doc| doc.as_ref().len()).max().unwrap_or(0);
        let documents = docs
            .iter()
            .enumerate()
            .map(|(row, doc)| Document {
                row,
                start: 0,
                len: doc.as_ref().len(),
            })
            .collect();
        Self::lay_out(docs, documents, docs.len(), width)
    }

    /// Several documents a row, each in the first row that has room for it.
    ///
    /// # Errors
    /// When a document is longer than `width`.
    pub fn packed<T: AsRef<[u32]>>(docs: &[T], width: usize) -> Result<Self> {
        let mut used: Vec<usize> = Vec::new();
        let mut documents = Vec::with_capacity(docs.len());
        for (index, doc) in docs.iter().enumerate() {
            let len = doc.as_ref().len();
            if len > width {
                return Err(Error::Batch(format!(
                    "cannot hold document {index} of {len} tokens in rows of {width}; widen the rows or cut the document"
                )));
            }
            let row = used.iter().position(|taken| taken + len <= width).unwrap_or_else(|| {
                used.push(0);
                used.len() - 1
            });
            documents.push(Document {
                row,
                start: used[row],
                len,
            });
            used[row] += len;
        }
        Ok(Self::lay_out(docs, documents, used.len(), width))
    }

    fn lay_out<T: AsRef<[u32]>>(docs: &[T], documents: Vec<Document>, rows: usize, width: usize) -> Self {
        let mut ids = vec![0; rows * width];
        for (doc, place) in docs.iter().zip(&documents) {
            let start = place.flat(width);
            ids[start..start + place.len].copy_from_slice(doc.as_ref());
        }
        Self {
            rows,
            width,
            ids,
            documents,
        }
    }

    /// Flat indices `row * width + position` of the positions that predict a next token: all but the last of each
    /// document, in the order in which the documents were given.
    pub fn predicting(&self) -> Vec<u32> {
        self.documents
            .iter()
            .flat_map(|doc| {
                let start = doc.flat(self.width);
                (start..start + doc.len.saturating_sub(1)).map(|index| index as u32)
            })
            .collect()
    }

    /// For each position, where its document starts in its row and its place in it; padding is alone with itself.
    ///
    /// # Errors
    /// When documents leave their row or overlap, when a document is longer than `max_len`, or when an id is not below
    /// `vocab_size`.
    pub(crate) fn checked_positions(&self, vocab_size: usize, max_len: usize) -> Result<Positions> {
        if self.ids.len() != self.rows * self.width || self.ids.is_empty() {
            let (rows, width, ids) = (self.rows, self.width, self.ids.len());
            return Err(Error::Batch(format!(
                "of {rows} rows of {width} positions holds {ids} ids"
            )));
        }
        if let Some(id) = self.ids.iter().find(|&&id| id as usize >= vocab_size) {
            return Err(Error::Batch(format!(
                "holds token id {id}, the model's vocabulary ends below {vocab_size}; use the model's own tokenizer"
            )));
        }
        let mut first: Vec<u32> = (0..self.ids.len()).map(|index| (index % self.width) as u32).collect();
        let mut place = vec![0u32; self.ids.len()];
        let mut taken = vec![false; self.ids.len()];
        for (index, doc) in self.documents.iter().enumerate() {
            if doc.len > max_len {
                return Err(Error::Batch(format!(
                    "holds document {index} of {} tokens, longer than the {max_len} positions of the model",
                    doc.len
                )));
            }
            if doc.row >= self.rows || doc.start + doc.len > self.width {
                return Err(Error::Batch(format!("has document {index} outside its row: {doc:?}")));
            }
            let start = doc.flat(self.width);
            for offset in 0..doc.len {
                if std::mem::replace(&mut taken[start + offset], true) {
                    return Err(Error::Batch(format!("has document {index} over another: {doc:?}")));
                }
                first[start + offset] = doc.start as u32;
                place[start + offset] = offset as u32;
            }
        }
        Ok(Positions { first, place })
    }
}

/// What attention needs to know of a batch's layout; each has `rows * width` entries.
pub(crate) struct Positions {
    /// First position in the row that a position may attend to.
    pub(crate) first: Vec<u32>,
    /// Position inside the document.
    pub(crate) place: Vec<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_first_fit_and_keeps_the_order_of_documents() {
        let batch = TokenBatch::packed(&[vec![1, 2, 3], vec![4, 5, 6, 7], vec![8]], 5).unwrap();
        assert_eq!((batch.rows, batch.width), (2, 5));
        assert_eq!(batch.ids, [1, 2, 3, 8, 0, 4, 5, 6, 7, 0]);
        assert_eq!(
            batch.documents[2],
            Document {
                row: 0,
                start: 3,
                len: 1
            }
        );
        assert_eq!(batch.predicting(), [0, 1, 5, 6, 7]);
        let positions = batch.checked_positions(9, 5).unwrap();
        assert_eq!(positions.first, [0, 0, 0, 3, 4, 0, 0, 0, 0, 4]);
        assert_eq!(positions.place, [0, 1, 2, 0, 0, 0, 1, 2, 3, 0]);
    }

    #[test]
    fn says_what_is_wrong_with_a_batch() {
        let text = |error: Error| error.to_string();
        assert!(text(TokenBatch::packed(&[[1, 2, 3]], 2).unwrap_err()).contains("document 0 of 3 tokens in rows of 2"));
        let batch = TokenBatch::padded(&[[1, 7, 3]]);
        assert!(text(batch.checked_positions(7, 9).err().unwrap()).contains("token id 7"));
        assert!(text(batch.checked_positions(8, 2).err().unwrap()).contains("longer than the 2 positions"));
        let mut overlapping = TokenBatch::packed(&[[1, 2], [3, 4]], 4).unwrap();
        overlapping.documents[1].start = 1;
        assert!(text(overlapping.checked_positions(8, 9).err().unwrap()).contains("document 1 over another"));
        overlapping.documents[1].start = 3;
        assert!(text(overlapping.checked_positions(8, 9).err().unwrap()).contains("outside its row"));
    }
}
