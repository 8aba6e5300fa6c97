//! What somebody who mistyped a word may have meant.

/// The word of `words` that is most like `word`; `None` if none is like it.
pub fn nearest<'a>(word: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let distance = |known: &str| strsim::damerau_levenshtein(&lower, &known.to_lowercase());
    let best = words.into_iter().map(|known| (distance(known), known)).min_by_key(|(distance, _)| *distance);
    // A third of the letters wrong is not a slip any more.
    best.filter(|(distance, known)| distance * 3 <= word.chars().count().max(known.chars().count()))
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        let keys = ["bridge", "isGateway", "isDefaultGateway", "ipMasq", "mtu", "vlan"];
        for (typed, meant) in [
            ("isGatway", "isGateway"),
            ("ISGATEWAY", "isGateway"),
            ("ipMask", "ipMasq"),
            ("mut", "mtu"),
            ("brigde", "bridge"),
        ] {
            assert_eq!(nearest(typed, keys), Some(meant), "{typed}");
        }
        assert_eq!(nearest("comment", keys), None);
        assert_eq!(nearest("x", []), None);
    }
}
