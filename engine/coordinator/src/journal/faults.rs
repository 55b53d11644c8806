//! Standing faults: injected failures of the whole installation.
//!
//! A unit of work looks at them only if there may be any: the coordinator looks every few hundred milliseconds, and at
//! once if one is added to it. When there are some, they are locked, so that `times` is exact with any number of
//! coordinators.

use std::sync::atomic::Ordering;

use redress_core::Timestamp;
use redress_core::fault::{Fault, FaultBook, StandingFault};
use serde::Serialize;
use sqlx::{PgConnection, Row};

use super::pg::{MAY_BE_SOME, PgJournal};
use crate::ports::JournalError;

/// One addition more.
const ADDITION: u64 = 2;

/// A standing fault, for people.
#[derive(Clone, Debug, Serialize)]
pub struct ListedFault {
    /// Its number.
    pub id: i64,
    /// The fault.
    pub fault: Fault,
    /// The number of strikes that are left; nothing means for ever.
    pub remaining: Option<u32>,
    /// The time at which it was added.
    pub added_at: Timestamp,
}

impl PgJournal {
    pub(super) async fn lock_faults(&self, connection: &mut PgConnection) -> Result<FaultBook, JournalError> {
        if !self.may_have_faults() {
            return Ok(FaultBook::default());
        }
        let rows = sqlx::query(
            "SELECT id, fault, remaining FROM faults WHERE remaining IS NULL OR remaining > 0 \
             ORDER BY id FOR UPDATE",
        )
        .fetch_all(connection)
        .await?;
        let standing = rows.iter().filter_map(|row| {
            let fault = serde_json::from_value(row.try_get("fault").ok()?).ok()?;
            let remaining: Option<i32> = row.try_get("remaining").ok()?;
            Some(StandingFault {
                id: row.try_get("id").ok()?,
                fault,
                remaining: remaining.map(i32::unsigned_abs),
            })
        });
        Ok(FaultBook::new(standing.collect()))
    }

    /// The standing faults without a lock, for a start: `times` may be passed by a few when many begin at once.
    pub(crate) async fn read_faults(&self) -> Result<FaultBook, JournalError> {
        if !self.may_have_faults() {
            return Ok(FaultBook::default());
        }
        let standing = self.faults().await?.into_iter().map(|listed| StandingFault {
            id: listed.id,
            remaining: listed.remaining,
            fault: listed.fault,
        });
        Ok(FaultBook::new(standing.filter(|s| s.remaining != Some(0)).collect()))
    }

    pub(crate) fn may_have_faults(&self) -> bool {
        self.allow_faults && self.fault_knowledge.load(Ordering::Relaxed) & MAY_BE_SOME != 0
    }

    /// Looks up if there are any.
    pub(crate) async fn look_for_faults(&self) -> Result<(), JournalError> {
        if self.allow_faults {
            let before = self.fault_knowledge.load(Ordering::Relaxed);
            let row = sqlx::query(
                "SELECT EXISTS (SELECT 1 FROM faults WHERE remaining IS NULL OR remaining > 0) AS some",
            )
            .fetch_one(&self.work);
            let row = self.working(row).await?;
            let some: bool = row.try_get("some")?;
            let after = if some { before | MAY_BE_SOME } else { before & !MAY_BE_SOME };
            // A fault that was added here in the meantime is newer than this look.
            let _ =
                self.fault_knowledge.compare_exchange(before, after, Ordering::Relaxed, Ordering::Relaxed);
        }
        Ok(())
    }

    /// All standing faults, those that are used up included.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub async fn faults(&self) -> Result<Vec<ListedFault>, JournalError> {
        let rows = sqlx::query("SELECT id, fault, remaining, added_at FROM faults ORDER BY id")
            .fetch_all(&self.read);
        let rows = self.reading(rows).await?;
        rows.iter()
            .map(|row| {
                let fault = serde_json::from_value(row.try_get("fault")?)
                    .map_err(|error| JournalError::Unreadable(error.to_string()))?;
                let remaining: Option<i32> = row.try_get("remaining")?;
                Ok(ListedFault {
                    id: row.try_get("id")?,
                    fault,
                    remaining: remaining.map(i32::unsigned_abs),
                    added_at: row.try_get("added_at")?,
                })
            })
            .collect()
    }

    /// Adds a standing fault and gives its number.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub async fn add_fault(&self, fault: &Fault) -> Result<i64, JournalError> {
        let json =
            serde_json::to_value(fault).map_err(|error| JournalError::Unreadable(error.to_string()))?;
        let remaining = fault.times.map(|times| i32::try_from(times).unwrap_or(i32::MAX));
        let row = sqlx::query("INSERT INTO faults (fault, remaining) VALUES ($1, $2) RETURNING id")
            .bind(json)
            .bind(remaining)
            .fetch_one(&self.read);
        let row = self.reading(row).await?;
        let seen = |knowledge: u64| Some(knowledge.wrapping_add(ADDITION) | MAY_BE_SOME);
        let _ = self.fault_knowledge.fetch_update(Ordering::Relaxed, Ordering::Relaxed, seen);
        Ok(row.try_get("id")?)
    }

    /// Takes all standing faults away and says how many there were.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub async fn clear_faults(&self) -> Result<u64, JournalError> {
        Ok(self.reading(sqlx::query("DELETE FROM faults").execute(&self.read)).await?.rows_affected())
    }
}

pub(super) async fn count_down(
    connection: &mut PgConnection,
    struck: &[(i64, u32)],
) -> Result<(), JournalError> {
    for (id, times) in struck {
        sqlx::query("UPDATE faults SET remaining = greatest(remaining - $2, 0) WHERE id = $1")
            .bind(id)
            .bind(i32::try_from(*times).unwrap_or(i32::MAX))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
