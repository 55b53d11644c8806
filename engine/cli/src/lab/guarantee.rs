//! The three delivery guarantees, and what each of them promises.

/// A delivery guarantee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::enum_variant_names, reason = "the names by which the field knows them")]
pub(super) enum Guarantee {
    /// A notification: sent once, heard at most once, never answered.
    AtMostOnce,
    /// A step that is sent until it is answered, without an inbox behind it.
    AtLeastOnce,
    /// The default: the effect commits together with the row of the inbox.
    ExactlyOnce,
}

impl Guarantee {
    pub(super) const ALL: [Self; 3] = [Self::AtMostOnce, Self::AtLeastOnce, Self::ExactlyOnce];

    /// Its name in JSON, and the name of its service.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::AtMostOnce => "at-most-once",
            Self::AtLeastOnce => "at-least-once",
            Self::ExactlyOnce => "exactly-once",
        }
    }

    /// Its name, for people.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::AtMostOnce => "at most once",
            Self::AtLeastOnce => "at least once",
            Self::ExactlyOnce => "exactly once",
        }
    }

    /// Its saga.
    pub(super) const fn saga(self) -> &'static str {
        match self {
            Self::AtMostOnce => "lab-at-most-once",
            Self::AtLeastOnce => "lab-at-least-once",
            Self::ExactlyOnce => "lab-exactly-once",
        }
    }

    /// The database of its service and its account.
    pub(super) const fn database(self) -> &'static str {
        match self {
            Self::AtMostOnce => "redress_lab_at_most_once",
            Self::AtLeastOnce => "redress_lab_at_least_once",
            Self::ExactlyOnce => "redress_lab_exactly_once",
        }
    }

    /// The promise, as the words behind "never".
    pub(super) const fn never(self) -> &'static str {
        match self {
            Self::AtMostOnce => "doubled",
            Self::AtLeastOnce => "lost",
            Self::ExactlyOnce => "lost or doubled",
        }
    }

    /// Returns true if no charge may be lost.
    pub(super) const fn promises_no_loss(self) -> bool {
        match self {
            Self::AtMostOnce => false,
            Self::AtLeastOnce | Self::ExactlyOnce => true,
        }
    }

    /// Returns true if no charge may be doubled.
    pub(super) const fn promises_no_double(self) -> bool {
        match self {
            Self::AtLeastOnce => false,
            Self::AtMostOnce | Self::ExactlyOnce => true,
        }
    }
}
