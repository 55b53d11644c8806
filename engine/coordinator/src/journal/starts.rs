//! Starts: key, saga and history in one statement for a whole batch.

use std::collections::{HashMap, HashSet};

use redress_core::fault::Strike;
use redress_core::{SagaId, Timestamp};
use redress_postgres::Sessions;
use sqlx::{Connection as _, PgConnection, Row};
use uuid::Uuid;

use super::columns::{HistoryColumns, encode, signed};
use super::errors::{of_commit, of_connecting};
use super::pg::PgJournal;
use super::pools::begin;
use super::{faults, places};
use crate::ports::{Inserted, JournalError, NewSaga, StoredStart};

impl PgJournal {
    /// Inserts a batch in a transaction of its own.
    pub(super) async fn insert_all(
        &self,
        sagas: &[NewSaga],
        struck: &[Strike],
    ) -> Result<Vec<Inserted>, JournalError> {
        let mut connection = self.work_leases.take().await.map_err(of_connecting)?;
        let is_ordered = sagas.iter().any(|saga| !saga.places.is_empty());
        if struck.is_empty() && self.sessions == Sessions::Own && !is_ordered {
            // One statement is its own transaction; its commit is answered with it.
            let inserted = insert(&mut connection, self.state_format, sagas).await;
            let inserted = inserted.map_err(JournalError::of_its_commit)?;
            connection.keep();
            return Ok(inserted);
        }
        let begun = connection.begin_with(begin(self.sessions)).await;
        let mut transaction = begun.map_err(of_connecting)?;
        let inserted = insert(&mut transaction, self.state_format, sagas).await?;
        let is_new = |strike: &&Strike| {
            let of_saga = |(saga, inserted): (&NewSaga, &Inserted)| {
                saga.id == strike.key.saga_id && *inserted == Inserted::New
            };
            sagas.iter().zip(&inserted).any(of_saga)
        };
        // A start that was made before sends nothing now.
        let struck: Vec<Strike> = struck.iter().filter(is_new).cloned().collect();
        faults::keep_strikes(&mut transaction, &struck).await?;
        transaction.commit().await.map_err(of_commit)?;
        connection.keep();
        Ok(inserted)
    }

    /// The start that this key names, by a connection for the work: a start that was committed a moment ago must be
    /// seen.
    pub(crate) async fn start_of(&self, key: &str) -> Result<Option<StoredStart>, JournalError> {
        self.working(async {
            let mut connection = self.work.acquire().await.map_err(of_connecting)?;
            start_of(&mut connection, key).await
        })
        .await
    }

    /// The database's clock.
    ///
    /// # Errors
    /// [`JournalError`] if it does not answer.
    pub async fn now(&self) -> Result<Timestamp, JournalError> {
        let row = sqlx::query("SELECT clock_timestamp() AS now").fetch_one(&self.work);
        let row = self.working(row).await?;
        Ok(row.try_get("now")?)
    }
}

/// Inserts a batch on this connection, which may be in a transaction of the caller's.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    state_format: u32,
    sagas: &[NewSaga],
) -> Result<Vec<Inserted>, JournalError> {
    let is_ordered = sagas.iter().any(|saga| !saga.places.is_empty());
    if is_ordered {
        places::lock_keys(connection, sagas).await?;
    }
    let new = insert_new(connection, state_format, sagas).await?;
    if is_ordered {
        places::take(connection, sagas, &new).await?;
    }
    let known: Vec<&str> =
        sagas.iter().filter(|saga| !new.contains(&saga.id.0)).map(|saga| saga.key.as_str()).collect();
    let holders = if known.is_empty() { HashMap::new() } else { holders(connection, known).await? };
    sagas
        .iter()
        .map(|saga| match holders.get(&saga.key) {
            _ if new.contains(&saga.id.0) => Ok(Inserted::New),
            Some(known) if saga.fingerprint.is_of(&known.fingerprint) => Ok(Inserted::Same(known.id)),
            Some(known) => Ok(Inserted::Other(known.id)),
            None => {
                Err(JournalError::Unreadable(format!("the key `{}` vanished while it was read", saga.key)))
            }
        })
        .collect()
}

/// Inserts the sagas whose keys are not known yet, with their history.
const INSERT_NEW: &str = "WITH keys AS ( \
         INSERT INTO idempotency_keys (key, fingerprint, saga_id) \
         SELECT * FROM unnest($1::text[], $2::bytea[], $3::uuid[]) \
         ON CONFLICT (key) DO NOTHING RETURNING saga_id \
     ), begun AS ( \
         INSERT INTO sagas (id, saga, version, status, revision, state, data, input, tags, started_at, \
                            ended_at, due_at, wake_at, key, state_format, awaiting) \
         SELECT n.id, n.saga, n.version, n.status, 1, n.state, n.data, n.input, n.tags, n.started_at, \
                n.ended_at, n.due_at, n.due_at, n.key, $22, n.awaiting \
         FROM unnest($3::uuid[], $4::text[], $5::integer[], $6::text[], $7::bytea[], $8::bytea[], \
                     $9::bytea[], $10::jsonb[], $11::timestamptz[], $12::timestamptz[], \
                     $21::timestamptz[], $1::text[], $23::boolean[]) \
              AS n (id, saga, version, status, state, data, input, tags, started_at, due_at, ended_at, key, \
                    awaiting) \
         WHERE n.id IN (SELECT saga_id FROM keys) \
     ), appended AS ( \
         INSERT INTO saga_history (saga_id, seq, at, event, step, phase, attempt, detail) \
         SELECT h.* FROM unnest($13::uuid[], $14::integer[], $15::timestamptz[], $16::text[], $17::text[], \
                                $18::text[], $19::integer[], $20::bytea[]) \
              AS h (saga_id, seq, at, event, step, phase, attempt, detail) \
         WHERE h.saga_id IN (SELECT saga_id FROM keys) \
     ) SELECT saga_id FROM keys";

/// The unique key alone decides which start is first; the others are read by a statement of their own.
async fn insert_new(
    connection: &mut PgConnection,
    state_format: u32,
    sagas: &[NewSaga],
) -> Result<HashSet<Uuid>, JournalError> {
    let mut sagas: Vec<&NewSaga> = sagas.iter().collect();
    // Two batches that share keys wait for each other in the same order.
    sagas.sort_by(|a, b| a.key.cmp(&b.key));
    let mut history = HistoryColumns::default();
    let mut states = Vec::with_capacity(sagas.len());
    for saga in &sagas {
        states.push(encode(&saga.state)?);
        for entry in &saga.history {
            history.push(saga.id, entry);
        }
    }
    let rows = sqlx::query(INSERT_NEW)
        .bind(sagas.iter().map(|saga| saga.key.as_str()).collect::<Vec<_>>())
        .bind(sagas.iter().map(|saga| saga.fingerprint.as_bytes().as_slice()).collect::<Vec<_>>())
        .bind(sagas.iter().map(|saga| saga.id.0).collect::<Vec<_>>())
        .bind(sagas.iter().map(|saga| saga.saga.as_str()).collect::<Vec<_>>())
        .bind(sagas.iter().map(|saga| signed(saga.version)).collect::<Vec<_>>())
        .bind(sagas.iter().map(|saga| saga.state.status_word()).collect::<Vec<_>>())
        .bind(states)
        .bind(sagas.iter().map(|saga| saga.state.data.as_bytes()).collect::<Vec<_>>())
        .bind(sagas.iter().map(|saga| saga.input.as_slice()).collect::<Vec<_>>())
        .bind(sagas.iter().map(|saga| saga.tags.clone()).collect::<Vec<_>>())
        .bind(sagas.iter().map(|saga| saga.state.started_at).collect::<Vec<_>>())
        .bind(sagas.iter().map(|saga| saga.state.due_at()).collect::<Vec<_>>())
        .bind(history.ids)
        .bind(history.seqs)
        .bind(history.ats)
        .bind(history.events)
        .bind(history.steps)
        .bind(history.phases)
        .bind(history.attempts)
        .bind(history.details)
        .bind(sagas.iter().map(|saga| saga.state.ended_at).collect::<Vec<_>>())
        .bind(signed(state_format))
        .bind(sagas.iter().map(|saga| saga.state.is_awaiting()).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| Ok(row.try_get("saga_id")?)).collect()
}

/// The start that this key names, as this connection sees it.
pub(crate) async fn start_of(
    connection: &mut PgConnection,
    key: &str,
) -> Result<Option<StoredStart>, JournalError> {
    Ok(holders(connection, vec![key]).await?.remove(key))
}

async fn holders(
    connection: &mut PgConnection,
    keys: Vec<&str>,
) -> Result<HashMap<String, StoredStart>, JournalError> {
    let rows = sqlx::query("SELECT key, fingerprint, saga_id FROM idempotency_keys WHERE key = ANY($1)")
        .bind(keys)
        .fetch_all(connection)
        .await?;
    rows.iter()
        .map(|row| {
            let fingerprint: Vec<u8> = row.try_get("fingerprint")?;
            let fingerprint = fingerprint
                .try_into()
                .map_err(|_| JournalError::Unreadable("a fingerprint has not 32 bytes".to_owned()))?;
            Ok((row.try_get("key")?, StoredStart { id: SagaId(row.try_get("saga_id")?), fingerprint }))
        })
        .collect()
}
