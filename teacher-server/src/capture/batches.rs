//! Cutting a shard into batches: the one place where the shape of a forward pass is decided.
//!
//! The cut is a function of the plan alone (sizes, order, budget), because a matrix product may round differently at
//! another shape: the same plan must give the same batches on every worker.

/// Cuts examples of these sizes into batches of indices.
///
/// Examples are sorted by size, ties by input order, and a batch grows while its padded size, the number of its
/// examples times its largest one, is within `budget`. An example over the budget gets a batch of its own.
pub(super) fn cut(sizes: &[usize], budget: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&index| sizes[index]); // stable: ties stay in input order
    let mut batches: Vec<Vec<usize>> = Vec::new();
    for index in order {
        match batches.last_mut() {
            // sorted by size, so the newcomer is the widest
            Some(batch) if (batch.len() + 1).saturating_mul(sizes[index]) <= budget => batch.push(index),
            _ => batches.push(vec![index]),
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn sorted_by_size_with_ties_in_input_order() {
        assert_eq!(cut(&[3, 2, 3, 2], 100), vec![vec![1, 3, 0, 2]]);
    }

    #[test]
    fn padding_counts_towards_the_budget() {
        // 1 + 1 + 5 is 7 tokens, but 15 with padding
        assert_eq!(cut(&[5, 1, 1], 10), vec![vec![1, 2], vec![0]]);
        assert_eq!(cut(&[5, 1, 1], 15), vec![vec![1, 2, 0]]);
    }

    #[test]
    fn an_example_over_the_budget_is_alone() {
        assert_eq!(cut(&[20, 4, 30, 4], 10), vec![vec![1, 3], vec![0], vec![2]]);
        assert_eq!(cut(&[20], 1), vec![vec![0]]);
    }

    #[test]
    fn nothing_gives_no_batch() {
        assert!(cut(&[], 10).is_empty());
    }
}
