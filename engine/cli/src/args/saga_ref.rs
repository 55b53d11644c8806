//! A saga as the command line names it.

use std::str::FromStr;

use redress_core::SagaId;

/// The fewest digits of an id that stand for it: fewer would be taken for a slip.
const PREFIX_DIGITS_MIN: usize = 4;
/// The digits of an id, and where its dashes stand among them.
const ID_DIGITS: usize = 32;
const DASHES_AFTER: [usize; 4] = [8, 12, 16, 20];

/// A saga as it is named on the command line: by its id, or by how its id begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SagaRef {
    /// The id.
    Id(SagaId),
    /// The first digits of the id, with the dashes between them.
    Prefix(String),
}

impl FromStr for SagaRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        let digits: String = text.chars().filter(|c| *c != '-').map(|c| c.to_ascii_lowercase()).collect();
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hex || !(PREFIX_DIGITS_MIN..ID_DIGITS).contains(&digits.len()) {
            return Err(format!(
                "an id is 32 hexadecimal digits, and {PREFIX_DIGITS_MIN} or more of its first ones stand for it"
            ));
        }
        let mut prefix = String::with_capacity(ID_DIGITS + DASHES_AFTER.len());
        for (at, digit) in digits.chars().enumerate() {
            if DASHES_AFTER.contains(&at) {
                prefix.push('-');
            }
            prefix.push(digit);
        }
        Ok(Self::Prefix(prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_prefix_stands_for_id_with_or_without_dashes() {
        let prefix = |text: &str| match text.parse() {
            Ok(SagaRef::Prefix(prefix)) => prefix,
            other => panic!("{text}: {other:?}"),
        };
        for (given, meant) in [
            ("0190", "0190"),
            ("0190163D", "0190163d"),
            ("0190163d-", "0190163d"),
            ("0190163d8", "0190163d-8"),
            ("0190163d-8694-7", "0190163d-8694-7"),
            ("0190163d8694739baea5966c", "0190163d-8694-739b-aea5-966c"),
        ] {
            assert_eq!(prefix(given), meant);
        }
        let whole = "0190163d-8694-739b-aea5-966c26f8ad91";
        assert_eq!(whole.parse(), Ok(SagaRef::Id(whole.parse().unwrap())));
        for given in ["", "019", "seven", "0190163d-8694-739b-aea5-966c26f8ad911", "0190_"] {
            assert!(given.parse::<SagaRef>().is_err(), "{given}");
        }
    }
}
