//! The places of steps in the orders of their keys, as they pass between the coordinator and its journal.
//!
//! A journal promises: places are numbered in the order in which their starts are committed, key by key; a place that it
//! tells to be the first stays the first until it is let go; what is let go is written with the state that lets it go.
//! A change of a key is told until the saga that is the first there knows it, so that no wake-up is lost for good.

use redress_core::state::PlaceMove;
use redress_core::state::SagaState;
use redress_core::{Name, SagaDefinition, SagaId};

/// A place that a saga takes when it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPlace {
    /// The step.
    pub step: Name,
    /// The scope of its order.
    pub scope: String,
    /// The key of its order.
    pub key: String,
}

impl NewPlace {
    /// The places that a saga takes which begins in this state, in the order of its steps.
    pub fn of(definition: &SagaDefinition, state: &SagaState) -> Vec<Self> {
        let steps = definition.steps.iter().zip(&state.steps);
        let taken = steps.filter_map(|(step, step_state)| {
            let key = step_state.place.as_ref()?.key()?.to_owned();
            Some(Self { step: step.name.clone(), scope: step.order_scope(), key })
        });
        taken.collect()
    }
}

/// A change of a place, written with the state of its saga.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceChange {
    /// The saga.
    pub id: SagaId,
    /// The step.
    pub step: Name,
    /// Where it stands now.
    pub mark: PlaceMark,
}

/// Where a place stands, as its saga says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaceMark {
    /// The saga knows that it is the first.
    First,
    /// The saga has let it go.
    LetGo,
}

impl PlaceMark {
    /// The mark of a change; none if the journal need not keep it.
    pub(crate) const fn of(place_move: PlaceMove) -> Option<Self> {
        match place_move {
            PlaceMove::Waits => None,
            PlaceMove::IsFirst => Some(Self::First),
            PlaceMove::IsLetGo => Some(Self::LetGo),
        }
    }

    /// The mark as one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::LetGo => "let-go",
        }
    }
}
