//! The nearest name to a misspelt one, for hints.

/// The candidates from nearest to farthest, those that resemble `wanted` only.
///
/// A candidate resembles it when it begins with it or when at most a third of the letters (at least two) must change.
pub(crate) fn nearest<'a>(wanted: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let allowed = (wanted.chars().count() / 3).max(2);
    let mut ranked: Vec<(usize, &str)> = candidates
        .into_iter()
        .map(|candidate| (distance(wanted, candidate), candidate))
        .filter(|(changes, candidate)| *changes <= allowed || (!wanted.is_empty() && candidate.starts_with(wanted)))
        .collect();
    ranked.sort();
    ranked.into_iter().map(|(_, candidate)| candidate).collect()
}

/// Levenshtein distance in characters.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, r) in right.iter().enumerate() {
            let changed = diagonal + usize::from(l != *r);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_changes() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("menu", "menu"), 0);
    }

    #[test]
    fn ranks_the_similar_and_leaves_out_the_rest() {
        assert_eq!(nearest("menus", ["orders", "menu", "accounts"]), ["menu"]);
        assert_eq!(nearest("order", ["orders", "menu", "border"]), ["border", "orders"]);
        assert!(nearest("menu", ["accounts", "orders"]).is_empty());
    }
}
