//! The end of a saga, with its data in their own type.
//!
//! Coordinators and clients over HTTP give the same: what a saga ended as, why, and the data as they were then.

use thiserror::Error;

use crate::contract::SagaData;
use crate::ids::SagaId;
use crate::json::JsonText;
use crate::state::Cause;

/// A saga that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedSaga<D> {
    /// The saga.
    pub id: SagaId,
    /// How it ended.
    pub end: SagaEnd,
    /// Its data at the end, with all replies folded in.
    pub data: D,
}

/// How a saga ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SagaEnd {
    /// Every awaited effect stands.
    Completed,
    /// No effect that has a compensation stands.
    Compensated {
        /// Why it turned back.
        cause: Cause,
    },
    /// An operator ended it by hand: its remaining effects are that operator's to clear up.
    Closed {
        /// Why it was going back, if it was.
        cause: Option<Cause>,
    },
}

impl SagaEnd {
    /// The end that a saga's status says; `None` if it has not ended, or if the cause is missing that belongs to it.
    pub fn of_status(status: &str, cause: Option<&Cause>) -> Option<Self> {
        match (status, cause) {
            ("completed", _) => Some(Self::Completed),
            ("compensated", Some(cause)) => Some(Self::Compensated { cause: cause.clone() }),
            ("closed", cause) => Some(Self::Closed { cause: cause.cloned() }),
            (_, _) => None,
        }
    }
}

impl<D> EndedSaga<D> {
    /// Returns true if every awaited effect stands.
    pub const fn is_completed(&self) -> bool {
        match self.end {
            SagaEnd::Completed => true,
            SagaEnd::Compensated { .. } | SagaEnd::Closed { .. } => false,
        }
    }

    /// The cause for which it turned back, if it did.
    pub const fn cause(&self) -> Option<&Cause> {
        match &self.end {
            SagaEnd::Completed => None,
            SagaEnd::Compensated { cause } => Some(cause),
            SagaEnd::Closed { cause } => cause.as_ref(),
        }
    }
}

impl<D: SagaData> EndedSaga<D> {
    /// An ended saga with its stored data.
    ///
    /// # Errors
    /// [`UnreadableData`] if they are not of type `D`.
    pub fn read(id: SagaId, end: SagaEnd, data: &JsonText) -> Result<Self, UnreadableData> {
        let data = data.read().map_err(|problem| UnreadableData { id, problem: problem.to_string() })?;
        Ok(Self { id, end, data })
    }
}

/// The data of a saga are not of the type as which they are read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "the data of saga {id} cannot be read ({problem}): read them with the type of the saga's own version"
)]
pub struct UnreadableData {
    /// The saga.
    pub id: SagaId,
    /// The first thing that does not fit.
    pub problem: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{CauseKind, Status};

    #[test]
    fn end_is_known_of_ended_statuses_alone() {
        let cause = || Cause {
            step: None,
            kind: CauseKind::Cancelled,
            code: "cancelled".to_owned(),
            message: "by alice".to_owned(),
        };
        let ends = Status::WORDS.map(|word| SagaEnd::of_status(word, Some(&cause())));
        let compensated = SagaEnd::Compensated { cause: cause() };
        let closed = SagaEnd::Closed { cause: Some(cause()) };
        assert_eq!(ends, [None, None, None, None, Some(SagaEnd::Completed), Some(compensated), Some(closed)]);
        assert_eq!(SagaEnd::of_status("closed", None), Some(SagaEnd::Closed { cause: None }));
        assert_eq!(SagaEnd::of_status("compensated", None), None);
    }
}
