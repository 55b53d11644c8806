//! Standing faults: injected failures of the whole installation.
//!
//! A unit of work looks at them only if there may be any: the coordinator looks every few hundred milliseconds, and at
//! once if one is added to it. When there are some, they are locked, so that `times` is exact with any number of
//! coordinators.
//!
//! Their strikes are written in the transaction of the decision that sends the struck commands, so each is counted once
//! or, if that transaction fails, not at all. The number, the first and the last time are kept for ever, and the last
//! [`LAST_STRIKES`] strikes themselves.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use redress_core::fault::{Fault, FaultBook, StandingFault, Strike};
use redress_core::{Name, Phase, SagaId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::pg::{MAY_BE_SOME, PgJournal};
use crate::ports::JournalError;

/// One addition more.
const ADDITION: u64 = 2;

/// Of each fault so many strikes are kept: enough to find the sagas of a test, and no more than a page shows.
const LAST_STRIKES: i32 = 20;

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
    /// What it has struck.
    pub struck: Struck,
}

/// What a standing fault has struck.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Struck {
    /// How many commands.
    pub count: u64,
    /// The time of the first one.
    pub first_at: Option<Timestamp>,
    /// The time of the last one.
    pub last_at: Option<Timestamp>,
    /// The last ones, 20 at the most, the newest last.
    pub last: Vec<ListedStrike>,
}

/// A command that carried a standing fault.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListedStrike {
    /// The saga that sent it.
    pub saga_id: SagaId,
    /// The step.
    pub step: Name,
    /// The phase.
    pub phase: Phase,
    /// 1, and one more when an operator re-opened the step.
    pub generation: u32,
    /// The attempt, from 1.
    pub attempt: u32,
    /// The journal's clock.
    pub at: Timestamp,
}

fn of_strike(strike: &Strike) -> Value {
    let Strike { key, attempt, .. } = strike;
    let (saga_id, step, phase, generation) = (key.saga_id, &key.step, key.phase, key.generation);
    json!({ "saga_id": saga_id, "step": step, "phase": phase, "generation": generation, "attempt": attempt })
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
        Ok(book(&rows))
    }

    /// The standing faults without a lock, for a start: `times` may be passed by a few when many begin at once.
    pub(crate) async fn read_faults(&self) -> Result<FaultBook, JournalError> {
        if !self.may_have_faults() {
            return Ok(FaultBook::default());
        }
        let rows = sqlx::query(
            "SELECT id, fault, remaining FROM faults WHERE remaining IS NULL OR remaining > 0 ORDER BY id",
        )
        .fetch_all(&self.work);
        Ok(book(&self.working(rows).await?))
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
        let rows = sqlx::query(
            "SELECT id, fault, remaining, added_at, struck, first_struck_at, last_struck_at, last_strikes \
             FROM faults ORDER BY id",
        )
        .fetch_all(&self.read);
        self.reading(rows).await?.iter().map(listed).collect()
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

    /// Takes a standing fault away; returns false if there is none of this number.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub async fn remove_fault(&self, id: i64) -> Result<bool, JournalError> {
        let removed = sqlx::query("DELETE FROM faults WHERE id = $1").bind(id).execute(&self.read);
        Ok(self.reading(removed).await?.rows_affected() > 0)
    }

    /// Takes all standing faults away and says how many there were.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub async fn clear_faults(&self) -> Result<u64, JournalError> {
        Ok(self.reading(sqlx::query("DELETE FROM faults").execute(&self.read)).await?.rows_affected())
    }
}

/// The faults of these rows. One that a newer coordinator has written is left to it.
fn book(rows: &[PgRow]) -> FaultBook {
    let standing = rows.iter().filter_map(|row| {
        let fault = serde_json::from_value(row.try_get("fault").ok()?).ok()?;
        let remaining: Option<i32> = row.try_get("remaining").ok()?;
        Some(StandingFault {
            id: row.try_get("id").ok()?,
            fault,
            remaining: remaining.map(i32::unsigned_abs),
        })
    });
    FaultBook::new(standing.collect())
}

fn listed(row: &PgRow) -> Result<ListedFault, JournalError> {
    let unreadable = |error: serde_json::Error| JournalError::Unreadable(error.to_string());
    let remaining: Option<i32> = row.try_get("remaining")?;
    let count: i64 = row.try_get("struck")?;
    Ok(ListedFault {
        id: row.try_get("id")?,
        fault: serde_json::from_value(row.try_get("fault")?).map_err(unreadable)?,
        remaining: remaining.map(i32::unsigned_abs),
        added_at: row.try_get("added_at")?,
        struck: Struck {
            count: count.unsigned_abs(),
            first_at: row.try_get("first_struck_at")?,
            last_at: row.try_get("last_struck_at")?,
            last: serde_json::from_value(row.try_get("last_strikes")?).map_err(unreadable)?,
        },
    })
}

/// Tells the book the tags of the sagas in these rows.
pub(super) async fn tell_tags(
    connection: &mut PgConnection,
    sagas: &[PgRow],
    book: &mut FaultBook,
) -> Result<(), JournalError> {
    let ids: Vec<Uuid> = sagas.iter().map(|row| row.try_get("id")).collect::<Result<_, _>>()?;
    let rows = sqlx::query("SELECT id, tags FROM sagas WHERE id = ANY($1)").bind(ids);
    for row in rows.fetch_all(connection).await? {
        book.know_tags(SagaId(row.try_get("id")?), &row.try_get("tags")?);
    }
    Ok(())
}

/// Counts strikes, and keeps the last ones.
pub(super) async fn keep_strikes(
    connection: &mut PgConnection,
    struck: &[Strike],
) -> Result<(), JournalError> {
    let mut by_fault: BTreeMap<i64, Vec<&Strike>> = BTreeMap::new();
    for strike in struck {
        by_fault.entry(strike.fault).or_default().push(strike);
    }
    // In the order of their ids, and each is locked before the time is taken: a statement that waits for a row goes on with the
    // time at which it began to wait.
    for (id, strikes) in by_fault {
        sqlx::query("SELECT FROM faults WHERE id = $1 FOR UPDATE").bind(id).execute(&mut *connection).await?;
        sqlx::query(
            "UPDATE faults SET remaining = greatest(remaining - $2, 0), struck = struck + $2, \
                 first_struck_at = coalesce(first_struck_at, clock.now), last_struck_at = clock.now, \
                 last_strikes = ( \
                     SELECT jsonb_agg(strike ORDER BY place) FROM ( \
                         SELECT strike, place FROM jsonb_array_elements(last_strikes || ( \
                             SELECT jsonb_agg(strike || jsonb_build_object('at', clock.now)) \
                             FROM jsonb_array_elements($3) AS new (strike))) \
                             WITH ORDINALITY AS kept (strike, place) \
                         ORDER BY place DESC LIMIT $4) AS newest) \
             FROM (SELECT clock_timestamp() AS now) AS clock WHERE id = $1",
        )
        .bind(id)
        .bind(i32::try_from(strikes.len()).unwrap_or(i32::MAX))
        .bind(strikes.into_iter().map(of_strike).collect::<Value>())
        .bind(LAST_STRIKES)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}
