//! Long documents cut into windows of tokens.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How a document is cut.
///
/// A window holds `length` tokens in all, `prefix` included, which is put in front unless the token there already is
/// it. The next window starts `stride` tokens of the document further on, or where this one ends if that comes first:
/// no token is skipped. The last window may be shorter; one of fewer than 2 tokens predicts nothing and is left out,
/// and so is one whose tokens all stand in the window before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Tokens in a window, the prefix among them; at least 2.
    pub length: usize,
    /// Tokens between the starts of two windows; `length`: they touch and do not overlap.
    pub stride: usize,
    /// A token put in front of every window, as a tokenizer puts its beginning-of-sequence token.
    pub prefix: Option<u32>,
}

impl Window {
    /// A window; the stride is, unless given, its length.
    ///
    /// # Errors
    /// A length without room for 2 tokens, a stride of 0 or one that would skip tokens.
    pub fn new(length: usize, stride: Option<usize>, prefix: Option<u32>) -> Result<Self> {
        if length < 2 {
            return Err(Error::Input(format!(
                "a window of {length} tokens predicts nothing; give at least 2"
            )));
        }
        match stride.unwrap_or(length) {
            0 => Err(Error::Input("a stride of 0 tokens never ends; give at least 1".into())),
            stride if stride > length => Err(Error::Input(format!(
                "a stride of {stride} skips tokens between windows of {length}; give at most {length}"
            ))),
            stride => Ok(Window { length, stride, prefix }),
        }
    }

    /// The id of a document's window, counted from 0.
    pub fn id(document: &str, window: usize) -> String {
        format!("{document}#{window}")
    }
}

/// The windows of a document, in order.
pub fn windows(tokens: &[u32], window: &Window) -> impl Iterator<Item = Vec<u32>> {
    windows_with_mask(tokens, None, window).map(|(tokens, _)| tokens)
}

/// The windows of a document with their part of its loss mask; nothing predicts a prefix, so its entry is `false`.
pub fn windows_with_mask<'a>(
    tokens: &'a [u32],
    mask: Option<&'a [bool]>,
    window: &Window,
) -> impl Iterator<Item = (Vec<u32>, Option<Vec<bool>>)> + 'a {
    let Window { length, stride, prefix } = *window;
    let mut start = Some(0);
    std::iter::from_fn(move || {
        let from = start?;
        let prefix = prefix.filter(|prefix| tokens.get(from) != Some(prefix));
        let end = tokens
            .len()
            .min(from.saturating_add(length.saturating_sub(usize::from(prefix.is_some()))));
        let next = from.saturating_add(stride).min(end);
        start = (end < tokens.len() && next > from).then_some(next);
        let own = tokens.get(from..end)?;
        let mask = mask.map(|mask| {
            let own = mask.get(from..end).unwrap_or_default();
            prefix.map(|_| false).into_iter().chain(own.iter().copied()).collect()
        });
        Some((prefix.into_iter().chain(own.iter().copied()).collect::<Vec<_>>(), mask))
    })
    .filter(|(tokens, _)| tokens.len() >= 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(tokens: &[u32], length: usize, stride: usize, prefix: Option<u32>) -> Vec<Vec<u32>> {
        windows(tokens, &Window::new(length, Some(stride), prefix).unwrap()).collect()
    }

    #[test]
    fn windows_tile_or_overlap() {
        let tokens = [1, 2, 3, 4, 5, 6, 7];
        let tiles = cut(&tokens, 3, 3, None);
        assert_eq!(tiles, [[1, 2, 3], [4, 5, 6]], "a single last token predicts nothing");
        assert_eq!(cut(&tokens, 4, 4, None), [vec![1, 2, 3, 4], vec![5, 6, 7]]);
        let overlapping = cut(&tokens, 4, 3, None);
        assert_eq!(
            overlapping,
            [[1, 2, 3, 4], [4, 5, 6, 7]],
            "nothing new after the last token"
        );
        assert_eq!(cut(&tokens, 100, 100, None), [tokens.to_vec()]);
        assert!(cut(&[5], 4, 4, None).is_empty());
        assert!(cut(&[], 4, 4, Some(0)).is_empty());
    }

    #[test]
    fn a_prefix_stands_before_every_window_once() {
        let tokens = [0, 1, 2, 3, 4, 5, 6];
        // Window 0 begins with the prefix already, and so holds one token more; each other begins with it anew.
        assert_eq!(cut(&tokens, 4, 4, Some(0)), [vec![0, 1, 2, 3], vec![0, 4, 5, 6]]);
        assert_eq!(
            cut(&tokens, 4, 3, Some(0)),
            [vec![0, 1, 2, 3], vec![0, 3, 4, 5], vec![0, 6]]
        );
        // A stride as long as the window would skip a token here: the windows touch.
        assert_eq!(cut(&tokens[1..], 4, 4, Some(0)), [vec![0, 1, 2, 3], vec![0, 4, 5, 6]]);
        assert_eq!(
            cut(&tokens[1..], 4, 2, Some(0)),
            [vec![0, 1, 2, 3], vec![0, 3, 4, 5], vec![0, 5, 6]]
        );
        assert_eq!(cut(&tokens[1..], 2, 2, Some(0)).len(), 6);
    }

    #[test]
    fn the_mask_goes_with_its_tokens() {
        let mask = [true, false, true, true, false];
        let window = Window::new(4, None, Some(9)).unwrap();
        assert_eq!(window.stride, 4);
        let cut: Vec<_> = windows_with_mask(&[1, 2, 3, 4, 5], Some(&mask), &window).collect();
        assert_eq!(cut[0], (vec![9, 1, 2, 3], Some(vec![false, true, false, true])));
        assert_eq!(cut[1], (vec![9, 4, 5], Some(vec![false, true, false])));
        assert_eq!(cut.len(), 2);
    }

    #[test]
    fn a_stride_that_skips_tokens_is_refused() {
        for (length, stride) in [(1, None), (4, Some(5)), (4, Some(0))] {
            assert!(Window::new(length, stride, None).is_err(), "{length} {stride:?}");
        }
        assert_eq!(Window::id("a", 3), "a#3");
    }
}
