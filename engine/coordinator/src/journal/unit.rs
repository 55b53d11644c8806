//! One unit of work: read, decide, write, commit.
//!
//! Replies are decided on rows that are not locked, and written by one statement that is its own transaction: two round
//! trips, and no row is written twice. The revision guards it: if any of the sagas has moved in the meantime, nothing
//! of the batch is written, and the same is done again with locks. Units that need more than that statement (standing
//! faults, audit, dead letters, timers) are done in a transaction, under the same guard.

use std::time::Duration;

use redress_core::fault::{FaultBook, Strike};
use redress_core::{Name, SagaDefinition, SagaId, Timestamp};
use redress_postgres::Sessions;
use sqlx::postgres::PgRow;
use sqlx::{Connection as _, PgConnection, Row};
use uuid::Uuid;

use super::columns::{HistoryColumns, encode, interval, signed, state};
use super::errors::{of_commit, of_connecting};
use super::pg::PgJournal;
use super::pools::begin;
use super::select::select;
use super::{faults, letters, places};
use crate::ports::{
    Audit, Changes, DeadLetter, Inserted, Journal, JournalError, NewSaga, RegisterError, Selection, Snapshot,
    Stored, StoredStart, StoredState,
};

/// How long the timer leaves a saga alone that cannot be decided on: a person must look at it first.
const SET_ASIDE: Duration = Duration::from_secs(60 * 60);
/// How long it leaves one alone that met trouble of the database's.
const PUT_OFF: Duration = Duration::from_secs(5);

impl Journal for PgJournal {
    async fn transact<T: Send + 'static>(
        &self,
        selection: Selection,
        bytes_max: usize,
        decide: impl FnOnce(Snapshot) -> (Changes, T) + Send + 'static,
    ) -> Result<T, JournalError> {
        let journal = self.clone();
        self.unit(async move {
            let mut connection = journal.work_leases.take().await.map_err(of_connecting)?;
            if selection.is_locked() || journal.may_have_faults() || journal.sessions == Sessions::Shared {
                let begun = connection.begin_with(begin(journal.sessions)).await;
                let mut transaction = begun.map_err(of_connecting)?;
                let snapshot = journal.snapshot(&mut transaction, &selection.locked(), bytes_max).await?;
                let (changes, result) = decide(snapshot);
                write(&mut transaction, &changes, journal.state_format).await?;
                transaction.commit().await.map_err(of_commit)?;
                connection.keep();
                return Ok(result);
            }
            let snapshot = match selection {
                Selection::Known { read, known, now } if read.is_empty() => Snapshot::known(known, now),
                Selection::Known { read, known, .. } => {
                    let read = Selection::Unlocked(read);
                    journal.snapshot(&mut connection, &read, bytes_max).await?.and_known(known)
                }
                selection @ (Selection::Unlocked(_)
                | Selection::These(_)
                | Selection::Alone(_)
                | Selection::Due { .. }
                | Selection::Waiting { .. }) => {
                    journal.snapshot(&mut connection, &selection, bytes_max).await?
                }
            };
            let (changes, result) = decide(snapshot);
            if changes.are_of_sagas_alone() {
                if !changes.sagas.is_empty() {
                    write_sagas(&mut connection, &changes, journal.state_format)
                        .await
                        .map_err(JournalError::of_its_commit)?;
                }
            } else {
                let begun = connection.begin_with(begin(journal.sessions)).await;
                let mut transaction = begun.map_err(of_connecting)?;
                write(&mut transaction, &changes, journal.state_format).await?;
                transaction.commit().await.map_err(of_commit)?;
            }
            connection.keep();
            Ok(result)
        })
        .await
    }

    async fn insert(&self, sagas: Vec<NewSaga>, struck: Vec<Strike>) -> Result<Vec<Inserted>, JournalError> {
        let journal = self.clone();
        self.unit(async move { journal.insert_all(&sagas, &struck).await }).await
    }

    async fn dead_letter(&self, dead: Vec<DeadLetter>) -> Result<(), JournalError> {
        let journal = self.clone();
        self.unit(async move {
            let mut connection = journal.work.acquire().await.map_err(of_connecting)?;
            letters::write(&mut connection, &dead).await
        })
        .await
    }

    async fn start_of(&self, key: &str) -> Result<Option<StoredStart>, JournalError> {
        Self::start_of(self, key).await
    }

    async fn has_operator_command(&self, command_id: Uuid) -> Result<bool, JournalError> {
        Self::has_operator_command(self, command_id).await
    }

    async fn read_faults(&self) -> Result<FaultBook, JournalError> {
        Self::read_faults(self).await
    }

    async fn look_for_faults(&self) -> Result<(), JournalError> {
        Self::look_for_faults(self).await
    }

    async fn now(&self) -> Result<Timestamp, JournalError> {
        Self::now(self).await
    }

    async fn should_isolate(&self, error: &JournalError) -> bool {
        Self::should_isolate(self, error).await
    }

    async fn id(&self) -> Result<String, JournalError> {
        Self::id(self).await
    }

    async fn register(&self, definition: &SagaDefinition) -> Result<(), RegisterError> {
        Self::register(self, definition).await
    }
}

impl PgJournal {
    async fn snapshot(
        &self,
        connection: &mut PgConnection,
        selection: &Selection,
        bytes_max: usize,
    ) -> Result<Snapshot, JournalError> {
        let rows = select(connection, selection, bytes_max, self.state_format).await?;
        // Read before the wait for a lock, but anew for a row that changed meanwhile: the latest is the time now.
        let mut now = None;
        for row in &rows {
            now = now.max(Some(row.try_get("now")?));
        }
        let now = match now {
            Some(now) => now,
            None => sqlx::query("SELECT clock_timestamp() AS now")
                .fetch_one(&mut *connection)
                .await?
                .try_get("now")?,
        };
        let mut faults =
            if rows.is_empty() { Default::default() } else { self.lock_faults(connection).await? };
        if faults.asks_for_tags() {
            faults::tell_tags(connection, &rows, &mut faults).await?;
        }
        let (mut sagas, mut left) = (Vec::with_capacity(rows.len()), Vec::new());
        for row in &rows {
            match stored(row, self.state_format)? {
                Ok(saga) => sagas.push(saga),
                Err(id) => left.push(id),
            }
        }
        Ok(Snapshot { now, sagas, left, faults })
    }
}

/// A saga of a snapshot, or the id of one that was left.
fn stored(row: &PgRow, known: u32) -> Result<Result<Stored, SagaId>, JournalError> {
    let id = SagaId(row.try_get("id")?);
    let (state_bytes, data): (Option<&[u8]>, Option<&[u8]>) = (row.try_get("state")?, row.try_get("data")?);
    let (Some(state_bytes), Some(data)) = (state_bytes, data) else { return Ok(Err(id)) };
    let name: &str = row.try_get("saga")?;
    let version: i32 = row.try_get("version")?;
    Ok(Ok(Stored {
        id,
        saga: Name::new(name).map_err(|error| JournalError::Unreadable(error.to_string()))?,
        version: version.unsigned_abs(),
        revision: row.try_get("revision")?,
        wake_at: row.try_get("wake_at")?,
        state: stored_state(row.try_get("state_format")?, known, state_bytes, data),
    }))
}

/// The state of a saga, if it is stored in a form that is known here.
fn stored_state(format: i32, known: u32, bytes: &[u8], data: &[u8]) -> StoredState {
    let format = format.unsigned_abs();
    if format > known {
        return StoredState::Newer(format);
    }
    state(bytes, data).map_or_else(StoredState::Unreadable, |state| StoredState::Readable(Box::new(state)))
}

async fn write(
    connection: &mut PgConnection,
    changes: &Changes,
    state_format: u32,
) -> Result<(), JournalError> {
    if !changes.sagas.is_empty() {
        write_sagas(connection, changes, state_format).await?;
    }
    if !changes.dead_letters.is_empty() {
        letters::write(connection, &changes.dead_letters).await?;
    }
    if !changes.struck.is_empty() {
        faults::keep_strikes(connection, &changes.struck).await?;
    }
    if !changes.places.is_empty() {
        places::write(connection, &changes.places).await?;
    }
    for audit in &changes.audit {
        write_audit(connection, audit).await?;
    }
    for (ids, pause) in [(&changes.set_aside, SET_ASIDE), (&changes.put_off, PUT_OFF)] {
        if !ids.is_empty() {
            let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
            sqlx::query(
                "UPDATE sagas SET wake_at = now() + $2 WHERE id = ANY($1) AND wake_at <= now() AND state_format <= $3",
            )
            .bind(ids)
            .bind(interval(pause))
            .bind(signed(state_format))
                .execute(&mut *connection)
                .await?;
        }
    }
    Ok(())
}

/// Writes nothing if a saga has not the revision that was decided on.
const WRITE_SAGAS: &str = "WITH moved AS ( \
             UPDATE sagas SET status = n.status, revision = sagas.revision + n.moved::integer, state = n.state, \
                    data = coalesce(n.data, sagas.data), state_format = $19, due_at = n.due_at, ended_at = n.ended_at, \
                    awaiting = n.awaiting, \
                    wake_at = CASE WHEN n.fired OR n.due_at IS NULL THEN n.due_at \
                                   ELSE least(sagas.wake_at, n.due_at) END \
             FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::bytea[], $5::bytea[], $6::timestamptz[], \
                         $7::timestamptz[], $8::boolean[], $9::boolean[], $20::boolean[]) \
                  AS n (id, revision, status, state, data, due_at, ended_at, moved, fired, awaiting) \
             WHERE sagas.id = n.id AND sagas.revision = n.revision AND sagas.state_format <= $19 RETURNING 1 \
         ), appended AS ( \
             INSERT INTO saga_history (saga_id, seq, at, event, step, phase, attempt, detail) \
             SELECT * FROM unnest($10::uuid[], $11::integer[], $12::timestamptz[], $13::text[], $14::text[], \
                                  $15::text[], $16::integer[], $17::bytea[]) \
         ) SELECT all_of($18, count(*)) FROM moved";

/// All new states and all new history in one statement; if a saga has not the revision that was decided on, none.
///
/// The rows are locked in the order given, which is that of the ids: the plan is a loop over the arrays.
async fn write_sagas(
    connection: &mut PgConnection,
    changes: &Changes,
    state_format: u32,
) -> Result<(), JournalError> {
    let count = changes.sagas.len();
    let mut ids = Vec::with_capacity(count);
    let mut revisions = Vec::with_capacity(count);
    let mut statuses = Vec::with_capacity(count);
    let mut states = Vec::with_capacity(count);
    let mut datas: Vec<Option<&[u8]>> = Vec::with_capacity(count);
    let mut due_ats = Vec::with_capacity(count);
    let mut ended_ats = Vec::with_capacity(count);
    let mut moved = Vec::with_capacity(count);
    let mut fired = Vec::with_capacity(count);
    let mut awaiting = Vec::with_capacity(count);
    for change in &changes.sagas {
        ids.push(change.id.0);
        revisions.push(change.revision);
        statuses.push(change.state.status_word());
        states.push(encode(&change.state)?);
        datas.push(change.new_data.then(|| change.state.data.as_bytes()));
        due_ats.push(change.state.due_at());
        ended_ats.push(change.state.ended_at);
        moved.push(change.moved);
        fired.push(change.fired);
        awaiting.push(change.state.is_awaiting());
    }
    let mut history = HistoryColumns::default();
    for (id, entry) in &changes.history {
        history.push(*id, entry);
    }
    let wanted = i64::try_from(count).unwrap_or(i64::MAX);
    sqlx::query(WRITE_SAGAS)
        .bind(ids)
        .bind(revisions)
        .bind(statuses)
        .bind(states)
        .bind(datas)
        .bind(due_ats)
        .bind(ended_ats)
        .bind(moved)
        .bind(fired)
        .bind(history.ids)
        .bind(history.seqs)
        .bind(history.ats)
        .bind(history.events)
        .bind(history.steps)
        .bind(history.phases)
        .bind(history.attempts)
        .bind(history.details)
        .bind(wanted)
        .bind(signed(state_format))
        .bind(awaiting)
        .execute(connection)
        .await?;
    Ok(())
}

async fn write_audit(connection: &mut PgConnection, audit: &Audit) -> Result<(), JournalError> {
    sqlx::query("INSERT INTO audit_log (actor, verb, saga_id, reason, order_id) VALUES ($1, $2, $3, $4, $5)")
        .bind(audit.actor.replace('\0', ""))
        .bind(audit.verb)
        .bind(audit.saga_id.0)
        .bind(audit.reason.replace('\0', ""))
        .bind(audit.command_id)
        .execute(connection)
        .await?;
    Ok(())
}
