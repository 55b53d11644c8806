//! A row of the table of places, in memory.

use redress_coordinator::ports::NewPlace;
use redress_core::SagaId;

/// A place in the order of a key. Its number is its index in the table, which only grows at its end.
#[derive(Clone, Debug)]
pub(super) struct PlaceRow {
    pub(super) id: SagaId,
    pub(super) place: NewPlace,
    pub(super) standing: Standing,
}

/// Where a place stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    New,
    Waiting,
    First,
    LetGo,
}

impl PlaceRow {
    pub(super) fn is_of_key_of(&self, other: &Self) -> bool {
        (&self.place.scope, &self.place.key) == (&other.place.scope, &other.place.key)
    }

    pub(super) const fn has_changed(&self) -> bool {
        matches!(self.standing, Standing::New | Standing::LetGo)
    }
}
