//! Rules that the compiler checks by value: comparisons of the texts in contracts, which `const` does not know.
//!
//! The builder uses them, and the code that `redress-macros` writes. Each gives an `Option`, so that the caller says
//! `.expect("the rule in words")` and rustc points at the caller and not into its own library.

/// `Some` if the texts are equal.
pub const fn same_text(a: &str, b: &str) -> Option<()> {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return None;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return None;
        }
        at += 1;
    }
    Some(())
}

/// `Some` if no text stands twice in the list.
pub const fn different_texts(texts: &[&str]) -> Option<()> {
    let mut one = 0;
    while one < texts.len() {
        let mut other = one + 1;
        while other < texts.len() {
            if same_text(texts[one], texts[other]).is_some() {
                return None;
            }
            other += 1;
        }
        one += 1;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_compared_by_their_bytes() {
        assert_eq!(same_text("charge", "charge"), Some(()));
        assert_eq!(same_text("", ""), Some(()));
        for other in ["", "charg", "charges", "chargE"] {
            assert_eq!(same_text("charge", other), None, "{other}");
        }
    }

    #[test]
    fn text_that_stands_twice_is_found_at_every_place() {
        assert_eq!(different_texts(&[]), Some(()));
        assert_eq!(different_texts(&["a", "b", "c"]), Some(()));
        for twice in [["a", "a", "b"], ["a", "b", "a"], ["b", "a", "a"]] {
            assert_eq!(different_texts(&twice), None, "{twice:?}");
        }
    }
}
