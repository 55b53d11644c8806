//! The inbox table, for rows that have no answer yet: each is changed only if it still is what it was.

use redress_core::Timestamp;
use redress_core::inbox::Recorded;
use sqlx::PgConnection;

use crate::row::stored;
use crate::unit_error::UnitError;

/// What a row holds that has no answer yet, and the time of its call.
pub(crate) type Before = (&'static str, Option<Timestamp>);

/// Of a row that this transaction has claimed.
pub(crate) const CLAIMED: Before = ("claimed", None);

/// Changes of rows, to be written together.
#[derive(Default)]
pub(crate) struct Changes<'c> {
    keys: Vec<&'c str>,
    fingerprints: Vec<Option<&'c [u8]>>,
    outcomes: Vec<&'static str>,
    replies: Vec<Option<Vec<u8>>>,
    called_untils: Vec<Option<Timestamp>>,
    old_outcomes: Vec<&'static str>,
    old_called_untils: Vec<Option<Timestamp>>,
}

impl<'c> Changes<'c> {
    /// One more; without a fingerprint the row keeps its own.
    pub(crate) fn add(
        &mut self,
        key: &'c str,
        before: Before,
        recorded: &Recorded,
        fingerprint: Option<&'c [u8]>,
    ) {
        let (outcome, reply) = stored(recorded);
        self.keys.push(key);
        self.fingerprints.push(fingerprint);
        self.outcomes.push(outcome);
        self.replies.push(reply);
        self.called_untils.push(called_until(recorded));
        self.old_outcomes.push(before.0);
        self.old_called_untils.push(before.1);
    }

    /// Writes them.
    ///
    /// # Errors
    /// [`UnitError::Overtaken`] if a row is not what it was.
    pub(crate) async fn write(self, connection: &mut PgConnection) -> Result<(), UnitError> {
        if self.keys.is_empty() {
            return Ok(());
        }
        let changes = i64::try_from(self.keys.len()).unwrap_or(i64::MAX);
        let written: i64 = sqlx::query_scalar("SELECT inbox_change($1, $2, $3, $4, $5, $6, $7)")
            .bind(self.keys)
            .bind(self.fingerprints)
            .bind(self.outcomes)
            .bind(self.replies)
            .bind(self.called_untils)
            .bind(self.old_outcomes)
            .bind(self.old_called_untils)
            .fetch_one(connection)
            .await?;
        if written == changes { Ok(()) } else { Err(UnitError::Overtaken) }
    }
}

/// Locks the row of a call that is to be concluded, if it is still this call's.
pub(crate) async fn hold_call(
    connection: &mut PgConnection,
    key: &str,
    called_until: Timestamp,
) -> Result<(), UnitError> {
    let is_held: bool = sqlx::query_scalar("SELECT inbox_hold_call($1, $2)")
        .bind(key)
        .bind(called_until)
        .fetch_one(connection)
        .await?;
    if is_held { Ok(()) } else { Err(UnitError::Overtaken) }
}

/// Says that this call is over, though nobody knows what became of it.
pub(crate) async fn end_call(
    connection: &mut PgConnection,
    key: &str,
    called_until: Timestamp,
) -> Result<(), sqlx::Error> {
    let end = sqlx::query("SELECT inbox_end_call($1, $2)").bind(key).bind(called_until);
    end.execute(connection).await.map(drop)
}

/// When the call ends at the latest that may be under way for it.
pub(crate) const fn called_until(recorded: &Recorded) -> Option<Timestamp> {
    match recorded {
        Recorded::Prepared { called_until, .. } => Some(*called_until),
        Recorded::Done { .. }
        | Recorded::Rejected(_)
        | Recorded::Fenced
        | Recorded::Open
        | Recorded::GivenUp { .. } => None,
    }
}
