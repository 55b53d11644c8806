//! The books of an account, and what they prove: pure.
//!
//! The rows of charges are authoritative for what was lost and doubled, charge by charge; a balance alone would take one
//! that was lost and one that was doubled for nothing. Row and balance are written by one statement, so books that
//! contradict themselves are a breach of their own.

use std::collections::BTreeMap;
use std::fmt;

use super::guarantee::Guarantee;

/// The balance before the first charge, in cents.
pub(super) const OPENING_CENTS: i64 = 10_000;
/// The amount of each charge, in cents.
pub(super) const CHARGE_CENTS: i64 = 100;

/// The account of one guarantee after its charges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Books {
    /// Charges that were asked for; they have the numbers from 1 on.
    charges: u32,
    /// The number of rows of each charge that has any.
    effects: BTreeMap<u32, u64>,
    /// The balance that was found, in cents.
    balance_cents: i64,
}

/// What a guarantee promised and did not keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Breach {
    Lost { charges: usize },
    Doubled { charges: usize },
    Contradiction { rows: u64, balance_cents: i64 },
}

impl Books {
    /// The books with one entry for each row: the number of the charge that wrote it.
    pub(super) fn new(charges: u32, rows: impl IntoIterator<Item = u32>, balance_cents: i64) -> Self {
        let mut effects = BTreeMap::new();
        for number in rows {
            *effects.entry(number).or_default() += 1;
        }
        Self { charges, effects, balance_cents }
    }

    /// The balance if each charge has exactly one effect, in cents.
    pub(super) fn expected_cents(&self) -> i64 {
        OPENING_CENTS - i64::from(self.charges) * CHARGE_CENTS
    }

    /// The balance that was found, in cents.
    pub(super) const fn found_cents(&self) -> i64 {
        self.balance_cents
    }

    /// The charges without any effect.
    pub(super) fn lost(&self) -> Vec<u32> {
        (1..=self.charges).filter(|number| !self.effects.contains_key(number)).collect()
    }

    /// The charges with more than one effect.
    pub(super) fn doubled(&self) -> Vec<u32> {
        self.effects.iter().filter(|(_, effects)| **effects > 1).map(|(number, _)| *number).collect()
    }

    /// The effects beyond the first one of each charge.
    pub(super) fn surplus_effects(&self) -> u64 {
        self.effects.values().map(|effects| effects - 1).sum()
    }

    /// What the guarantee promised and these books disprove.
    pub(super) fn breaches(&self, guarantee: Guarantee) -> Vec<Breach> {
        let (lost, doubled) = (self.lost().len(), self.doubled().len());
        let rows: u64 = self.effects.values().sum();
        let by_rows = OPENING_CENTS.checked_sub_unsigned(rows.saturating_mul(CHARGE_CENTS.unsigned_abs()));
        let breaches = [
            (guarantee.promises_no_loss() && lost > 0).then_some(Breach::Lost { charges: lost }),
            (guarantee.promises_no_double() && doubled > 0).then_some(Breach::Doubled { charges: doubled }),
            (by_rows != Some(self.balance_cents))
                .then_some(Breach::Contradiction { rows, balance_cents: self.balance_cents }),
        ];
        breaches.into_iter().flatten().collect()
    }
}

/// As it follows the words for the guarantee.
impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost { charges } => write!(f, "lost {charges} of the charges"),
            Self::Doubled { charges } => write!(f, "doubled {charges} of the charges"),
            Self::Contradiction { rows, balance_cents } => {
                write!(f, "has {rows} rows of charges and a balance of {}", money(*balance_cents))
            }
        }
    }
}

/// An amount, for people.
pub(super) fn money(cents: i64) -> String {
    let sign = if cents < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", cents.unsigned_abs() / 100, cents.unsigned_abs() % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(rows: &[u32], balance_cents: i64) -> String {
        let books = Books::new(4, rows.iter().copied(), balance_cents);
        let breaches = Guarantee::ALL.map(|guarantee| {
            let words: Vec<String> = books.breaches(guarantee).iter().map(ToString::to_string).collect();
            format!(
                "{}: {}",
                guarantee.name(),
                if words.is_empty() { "held".to_owned() } else { words.join(", ") }
            )
        });
        format!(
            "expected {}, found {}, lost {:?}, doubled {:?} (+{})\n{}",
            money(books.expected_cents()),
            money(books.found_cents()),
            books.lost(),
            books.doubled(),
            books.surplus_effects(),
            breaches.join("\n"),
        )
    }

    #[test]
    fn each_charge_once_is_what_every_guarantee_allows() {
        insta::assert_snapshot!(told(&[1, 2, 3, 4], 9_600), @"
        expected 96.00, found 96.00, lost [], doubled [] (+0)
        at-most-once: held
        at-least-once: held
        exactly-once: held
        ");
    }

    #[test]
    fn loss_is_allowed_at_most_once_alone() {
        insta::assert_snapshot!(told(&[1, 3, 4], 9_700), @"
        expected 96.00, found 97.00, lost [2], doubled [] (+0)
        at-most-once: held
        at-least-once: lost 1 of the charges
        exactly-once: lost 1 of the charges
        ");
    }

    #[test]
    fn double_is_allowed_at_least_once_alone() {
        insta::assert_snapshot!(told(&[1, 2, 2, 2, 3, 4], 9_400), @"
        expected 96.00, found 94.00, lost [], doubled [2] (+2)
        at-most-once: doubled 1 of the charges
        at-least-once: held
        exactly-once: doubled 1 of the charges
        ");
    }

    #[test]
    fn loss_and_double_do_not_cancel_out() {
        insta::assert_snapshot!(told(&[1, 2, 2, 3], 9_600), @"
        expected 96.00, found 96.00, lost [4], doubled [2] (+1)
        at-most-once: doubled 1 of the charges
        at-least-once: lost 1 of the charges
        exactly-once: lost 1 of the charges, doubled 1 of the charges
        ");
    }

    #[test]
    fn books_that_contradict_themselves_are_a_breach() {
        insta::assert_snapshot!(told(&[1, 2, 3, 4], -1), @"
        expected 96.00, found -0.01, lost [], doubled [] (+0)
        at-most-once: has 4 rows of charges and a balance of -0.01
        at-least-once: has 4 rows of charges and a balance of -0.01
        exactly-once: has 4 rows of charges and a balance of -0.01
        ");
    }
}
