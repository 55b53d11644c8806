//! Decides what follows a batch that failed: a function of its error, its size, and whether the database is there.

use redress_core::IdempotencyKey;

use crate::unit_error::{Disposition, UnitError};

/// The way on for the members of a failed batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Recovery<'e> {
    /// All of them are put back, and no others are taken until the database is there.
    WaitForDatabase,
    /// The others run on without these, whose handler did not end.
    RunWithout(&'e [IdempotencyKey]),
    /// Each in a transaction of its own, so that the culprit fails alone.
    RunOneByOne,
    /// It comes again; if its connection was lost and the database is there, until it is given up.
    PutBack,
    /// It was rolled back, and the coordinator decides whether it is tried again.
    Fail,
}

/// Returns true if the error may mean that the database is not there: that is to be looked at before
/// [`after_failure`].
pub(crate) fn may_be_down(error: &UnitError) -> bool {
    match error.disposition() {
        Disposition::Down
        | Disposition::ReadsOnly
        | Disposition::Unready
        | Disposition::Exhausted
        | Disposition::Overdue => true,
        Disposition::Collision | Disposition::Held | Disposition::Elsewhere | Disposition::Other => false,
    }
}

/// The way on after this error of a batch of so many members.
pub(crate) fn after_failure(error: &UnitError, members: usize, is_down: bool) -> Recovery<'_> {
    match error {
        _ if is_down => Recovery::WaitForDatabase,
        UnitError::Overdue { keys, .. } => Recovery::RunWithout(keys),
        _ if members > 1 => Recovery::RunOneByOne,
        _ => match error.disposition() {
            Disposition::Down
            | Disposition::ReadsOnly
            | Disposition::Unready
            | Disposition::Exhausted
            | Disposition::Elsewhere => Recovery::PutBack,
            Disposition::Collision | Disposition::Held | Disposition::Overdue | Disposition::Other => {
                Recovery::Fail
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sqlx::Error;

    use super::*;

    #[test]
    fn failed_batch_is_split_and_failed_member_answers_or_comes_again() {
        let lost = UnitError::from(Error::PoolTimedOut);
        let wrong = UnitError::from(Error::RowNotFound);
        assert!(may_be_down(&lost) && !may_be_down(&wrong));
        assert_eq!(after_failure(&lost, 2, true), Recovery::WaitForDatabase);
        assert_eq!(after_failure(&lost, 2, false), Recovery::RunOneByOne);
        assert_eq!(after_failure(&lost, 1, false), Recovery::PutBack);
        assert_eq!(after_failure(&wrong, 2, false), Recovery::RunOneByOne);
        assert_eq!(after_failure(&wrong, 1, false), Recovery::Fail);
    }

    #[test]
    fn handler_that_does_not_end_is_set_aside_even_alone() {
        let overdue = UnitError::Overdue { limit: Duration::from_secs(60), keys: Vec::new() };
        assert_eq!(after_failure(&overdue, 1, false), Recovery::RunWithout(&[]));
        assert_eq!(after_failure(&overdue, 1, true), Recovery::WaitForDatabase);
    }
}
