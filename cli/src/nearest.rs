//! The nearest known name, for messages about a name that is not known.

/// The known name that `name` was most likely meant to be, or `None` when nothing is close.
///
/// Names are compared without regard to case, `-` and `_`.
pub fn nearest<'a, K: AsRef<str> + ?Sized + 'a>(name: &str, known: impl IntoIterator<Item = &'a K>) -> Option<&'a str> {
    let wanted = plain(name);
    known
        .into_iter()
        .map(|candidate| {
            (
                strsim::jaro_winkler(&wanted, &plain(candidate.as_ref())),
                candidate.as_ref(),
            )
        })
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

fn plain(name: &str) -> String {
    name.chars()
        .filter(|c| !matches!(c, '-' | '_'))
        .flat_map(char::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::nearest;

    const KNOWN: [&str; 4] = ["max-length", "temperatures", "top-k", "values"];

    #[test]
    fn a_slip_of_the_keys_finds_its_name() {
        assert_eq!(nearest("temperature", KNOWN), Some("temperatures"));
        assert_eq!(nearest("max_lenght", KNOWN), Some("max-length"));
        assert_eq!(nearest("TOPK", KNOWN), Some("top-k"));
    }

    #[test]
    fn an_unrelated_name_finds_nothing() {
        assert_eq!(nearest("zzz", KNOWN), None);
        assert_eq!(nearest("anything", [] as [&str; 0]), None);
    }
}
