//! One unit of work: read, decide, write, commit.
//!
//! Replies are decided on rows that are not locked, and written by one statement that is its own transaction: two round
//! trips, and no row is written twice. The revision guards it: if any of the sagas has moved in the meantime, nothing
//! of the batch is written, and the same is done again with locks. What needs more than that statement (standing
//! faults, audit, dead letters, timers) is done in a transaction, under the same guard.

use std::time::Duration;

use redress_core::state::SagaState;
use redress_core::{JsonText, Name, SagaId, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::{Connection as _, PgConnection, Row};
use uuid::Uuid;

use super::faults;
use super::upkeep::interval;
use super::{JournalError, PgJournal};
use crate::ports::{Audit, Buried, Changes, Inserted, Journal, NewSaga, Selection, Snapshot, Stored};

/// How long the timer leaves a saga alone that cannot be decided on: somebody must look at it first.
const SET_ASIDE: Duration = Duration::from_secs(60 * 60);
/// How long it leaves one alone that met trouble of the database's.
const PUT_OFF: Duration = Duration::from_secs(5);

impl Journal for PgJournal {
    async fn transact<T: Send + 'static>(
        &self,
        selection: Selection,
        decide: impl FnOnce(Snapshot) -> (Changes, T) + Send + 'static,
    ) -> Result<T, JournalError> {
        let journal = self.clone();
        self.unit(async move {
            let mut connection = journal.work.acquire().await.map_err(JournalError::of_connecting)?;
            if selection.is_locked() || journal.may_have_faults() {
                let mut transaction = connection.begin().await.map_err(JournalError::of_connecting)?;
                let snapshot = journal.snapshot(&mut transaction, &selection.locked()).await?;
                let (changes, result) = decide(snapshot);
                write(&mut transaction, &changes).await?;
                transaction.commit().await.map_err(JournalError::of_commit)?;
                return Ok(result);
            }
            let snapshot = journal.snapshot(&mut connection, &selection).await?;
            let (changes, result) = decide(snapshot);
            if changes.are_of_sagas_alone() {
                if !changes.sagas.is_empty() {
                    write_sagas(&mut connection, &changes).await.map_err(JournalError::of_its_commit)?;
                }
            } else {
                let mut transaction = connection.begin().await.map_err(JournalError::of_connecting)?;
                write(&mut transaction, &changes).await?;
                transaction.commit().await.map_err(JournalError::of_commit)?;
            }
            Ok(result)
        })
        .await
    }

    async fn insert(
        &self,
        sagas: Vec<NewSaga>,
        struck: Vec<(i64, u32)>,
    ) -> Result<Vec<Inserted>, JournalError> {
        let journal = self.clone();
        self.unit(async move { journal.insert_all(&sagas, &struck).await }).await
    }

    async fn bury(&self, letters: Vec<Buried>) -> Result<(), JournalError> {
        let journal = self.clone();
        self.unit(async move {
            let mut connection = journal.work.acquire().await.map_err(JournalError::of_connecting)?;
            write_dead_letters(&mut connection, &letters).await
        })
        .await
    }
}

impl PgJournal {
    async fn snapshot(
        &self,
        connection: &mut PgConnection,
        selection: &Selection,
    ) -> Result<Snapshot, JournalError> {
        let rows = match selection {
            Selection::Unlocked(ids) => {
                let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
                sqlx::query(
                    "SELECT id, saga, version, revision, state, data, clock_timestamp() AS now FROM sagas \
                     WHERE id = ANY($1) ORDER BY id",
                )
                .bind(ids)
                .fetch_all(&mut *connection)
                .await?
            }
            Selection::These(ids) => {
                let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
                sqlx::query(
                    "SELECT id, saga, version, revision, state, data, clock_timestamp() AS now FROM sagas \
                     WHERE id = ANY($1) ORDER BY id FOR UPDATE",
                )
                .bind(ids)
                .fetch_all(&mut *connection)
                .await?
            }
            Selection::Alone(id) => {
                sqlx::query(
                    "SELECT id, saga, version, revision, state, data, clock_timestamp() AS now FROM sagas \
                     WHERE id = $1 FOR UPDATE NOWAIT",
                )
                .bind(id.0)
                .fetch_all(&mut *connection)
                .await?
            }
            Selection::Due { known, limit } => {
                let (names, versions): (Vec<&str>, Vec<i32>) =
                    known.iter().map(|(name, version)| (name.as_str(), signed(*version))).unzip();
                sqlx::query(
                    // Definition by definition, as the index is: what waits for a version that nobody here knows is
                    // not even looked at, and a flood of one definition leaves the others their turn.
                    "SELECT due.* FROM unnest($1::text[], $2::integer[]) AS known (saga, version), LATERAL ( \
                         SELECT id, saga, version, revision, state, data, clock_timestamp() AS now FROM sagas \
                         WHERE sagas.saga = known.saga AND sagas.version = known.version AND wake_at <= now() \
                         ORDER BY wake_at LIMIT $3 FOR UPDATE SKIP LOCKED \
                     ) AS due",
                )
                .bind(names)
                .bind(versions)
                .bind(limit)
                .fetch_all(&mut *connection)
                .await?
            }
        };
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
        let faults = if rows.is_empty() { Default::default() } else { self.lock_faults(connection).await? };
        let sagas = rows.iter().map(stored).collect::<Result<_, _>>()?;
        Ok(Snapshot { now, sagas, faults })
    }
}

fn stored(row: &PgRow) -> Result<Stored, JournalError> {
    let name: &str = row.try_get("saga")?;
    let version: i32 = row.try_get("version")?;
    Ok(Stored {
        id: SagaId(row.try_get("id")?),
        saga: Name::new(name).map_err(|error| JournalError::Unreadable(error.to_string()))?,
        version: version.unsigned_abs(),
        revision: row.try_get("revision")?,
        state: state(row.try_get("state")?, row.try_get("data")?),
    })
}

/// The state of a saga from its two columns.
pub(super) fn state(state: &[u8], data: &[u8]) -> Result<SagaState, String> {
    let mut state: SagaState = serde_json::from_slice(state).map_err(|error| error.to_string())?;
    state.data = JsonText::parse(data).map_err(|error| error.to_string())?;
    Ok(state)
}

pub(super) fn signed(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// Rows of history, column by column, as `unnest` takes them.
#[derive(Default)]
pub(super) struct HistoryColumns<'a> {
    pub(super) ids: Vec<Uuid>,
    pub(super) seqs: Vec<i32>,
    pub(super) ats: Vec<Timestamp>,
    pub(super) events: Vec<&'static str>,
    pub(super) steps: Vec<Option<&'a str>>,
    pub(super) phases: Vec<Option<&'static str>>,
    pub(super) attempts: Vec<Option<i32>>,
    pub(super) details: Vec<&'a [u8]>,
}

impl<'a> HistoryColumns<'a> {
    pub(super) fn push(&mut self, id: SagaId, entry: &'a redress_core::history::HistoryEntry) {
        self.ids.push(id.0);
        self.seqs.push(signed(entry.seq));
        self.ats.push(entry.at);
        self.events.push(entry.event.as_str());
        self.steps.push(entry.step.as_deref());
        self.phases.push(entry.phase.map(redress_core::Phase::as_str));
        self.attempts.push(entry.attempt.map(signed));
        self.details.push(entry.detail.as_bytes());
    }
}

async fn write(connection: &mut PgConnection, changes: &Changes) -> Result<(), JournalError> {
    if !changes.sagas.is_empty() {
        write_sagas(connection, changes).await?;
    }
    if !changes.dead_letters.is_empty() {
        write_dead_letters(connection, &changes.dead_letters).await?;
    }
    if !changes.struck.is_empty() {
        faults::count_down(connection, &changes.struck).await?;
    }
    for audit in &changes.audit {
        write_audit(connection, audit).await?;
    }
    for (ids, pause) in [(&changes.set_aside, SET_ASIDE), (&changes.put_off, PUT_OFF)] {
        if !ids.is_empty() {
            let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
            sqlx::query("UPDATE sagas SET wake_at = now() + $2 WHERE id = ANY($1) AND wake_at <= now()")
                .bind(ids)
                .bind(interval(pause))
                .execute(&mut *connection)
                .await?;
        }
    }
    Ok(())
}

/// All new states and all new history in one statement; if a saga has not the revision that was decided on, none.
///
/// The rows are locked in the order given, which is that of the ids: the plan is a loop over the arrays.
async fn write_sagas(connection: &mut PgConnection, changes: &Changes) -> Result<(), JournalError> {
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
    }
    let mut history = HistoryColumns::default();
    for (id, entry) in &changes.history {
        history.push(*id, entry);
    }
    let wanted = i64::try_from(count).unwrap_or(i64::MAX);
    sqlx::query(
        "WITH moved AS ( \
             UPDATE sagas SET status = n.status, revision = sagas.revision + n.moved::integer, state = n.state, \
                    data = coalesce(n.data, sagas.data), due_at = n.due_at, ended_at = n.ended_at, \
                    wake_at = CASE WHEN n.fired OR n.due_at IS NULL THEN n.due_at \
                                   ELSE least(sagas.wake_at, n.due_at) END \
             FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::bytea[], $5::bytea[], $6::timestamptz[], \
                         $7::timestamptz[], $8::boolean[], $9::boolean[]) \
                  AS n (id, revision, status, state, data, due_at, ended_at, moved, fired) \
             WHERE sagas.id = n.id AND sagas.revision = n.revision RETURNING 1 \
         ), appended AS ( \
             INSERT INTO saga_history (saga_id, seq, at, event, step, phase, attempt, detail) \
             SELECT * FROM unnest($10::uuid[], $11::integer[], $12::timestamptz[], $13::text[], $14::text[], \
                                  $15::text[], $16::integer[], $17::bytea[]) \
         ) SELECT all_of($18, count(*)) FROM moved",
    )
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
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) fn encode(state: &SagaState) -> Result<Vec<u8>, JournalError> {
    serde_json::to_vec(state).map_err(|error| JournalError::Unreadable(error.to_string()))
}

async fn write_dead_letters(connection: &mut PgConnection, letters: &[Buried]) -> Result<(), JournalError> {
    for letter in letters {
        let headers: serde_json::Map<String, serde_json::Value> = letter
            .headers
            .iter()
            .map(|(name, value)| (name.replace('\0', ""), value.replace('\0', "").into()))
            .collect();
        sqlx::query(
            "INSERT INTO dead_letters (saga_id, reason, subject, headers, payload) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(letter.saga_id.map(|id| id.0))
        .bind(letter.reason.replace('\0', ""))
        .bind(letter.subject.replace('\0', ""))
        .bind(serde_json::Value::Object(headers))
        .bind(&letter.payload)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

async fn write_audit(connection: &mut PgConnection, audit: &Audit) -> Result<(), JournalError> {
    sqlx::query("INSERT INTO audit_log (actor, verb, saga_id, reason, order_id) VALUES ($1, $2, $3, $4, $5)")
        .bind(audit.actor.replace('\0', ""))
        .bind(audit.verb)
        .bind(audit.saga_id.0)
        .bind(audit.reason.replace('\0', ""))
        .bind(audit.order_id)
        .execute(connection)
        .await?;
    Ok(())
}
