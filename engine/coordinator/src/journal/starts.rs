//! Starts: key, saga and history in one statement for a whole batch.

use std::collections::{HashMap, HashSet};

use redress_core::{SagaId, Timestamp};
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::unit::{HistoryColumns, encode, signed};
use super::{JournalError, PgJournal, faults};
use crate::ports::{Inserted, NewSaga};

impl PgJournal {
    /// Inserts a batch in a transaction of its own.
    pub(super) async fn insert_all(
        &self,
        sagas: &[NewSaga],
        struck: &[(i64, u32)],
    ) -> Result<Vec<Inserted>, JournalError> {
        if struck.is_empty() {
            // One statement is its own transaction; its commit is answered with it.
            let mut connection = self.work.acquire().await.map_err(JournalError::of_connecting)?;
            return insert(&mut connection, sagas).await.map_err(JournalError::of_its_commit);
        }
        let mut transaction = self.work.begin().await.map_err(JournalError::of_connecting)?;
        let inserted = insert(&mut transaction, sagas).await?;
        faults::count_down(&mut transaction, struck).await?;
        transaction.commit().await.map_err(JournalError::of_commit)?;
        Ok(inserted)
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

/// Inserts a batch on this connection, which may be in a transaction of somebody else's.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    sagas: &[NewSaga],
) -> Result<Vec<Inserted>, JournalError> {
    let new = insert_new(connection, sagas).await?;
    let known: Vec<&str> =
        sagas.iter().filter(|saga| !new.contains(&saga.id.0)).map(|saga| saga.key.as_str()).collect();
    let holders = if known.is_empty() { HashMap::new() } else { holders(connection, known).await? };
    sagas
        .iter()
        .map(|saga| match holders.get(&saga.key) {
            _ if new.contains(&saga.id.0) => Ok(Inserted::New),
            Some((id, fingerprint)) if *fingerprint == saga.fingerprint => Ok(Inserted::Same(*id)),
            Some((id, _)) => Ok(Inserted::Other(*id)),
            None => {
                Err(JournalError::Unreadable(format!("the key `{}` vanished while it was read", saga.key)))
            }
        })
        .collect()
}

/// The unique key alone decides who is first; the others are read by a statement of their own.
async fn insert_new(connection: &mut PgConnection, sagas: &[NewSaga]) -> Result<HashSet<Uuid>, JournalError> {
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
    let rows = sqlx::query(
        "WITH keys AS ( \
             INSERT INTO idempotency_keys (key, fingerprint, saga_id) \
             SELECT * FROM unnest($1::text[], $2::bytea[], $3::uuid[]) \
             ON CONFLICT (key) DO NOTHING RETURNING saga_id \
         ), begun AS ( \
             INSERT INTO sagas (id, saga, version, status, revision, state, data, input, tags, started_at, \
                                ended_at, due_at, wake_at, key) \
             SELECT n.id, n.saga, n.version, n.status, 1, n.state, n.data, n.input, n.tags, n.started_at, \
                    n.ended_at, n.due_at, n.due_at, n.key \
             FROM unnest($3::uuid[], $4::text[], $5::integer[], $6::text[], $7::bytea[], $8::bytea[], \
                         $9::bytea[], $10::jsonb[], $11::timestamptz[], $12::timestamptz[], \
                         $21::timestamptz[], $1::text[]) \
                  AS n (id, saga, version, status, state, data, input, tags, started_at, due_at, ended_at, key) \
             WHERE n.id IN (SELECT saga_id FROM keys) \
         ), appended AS ( \
             INSERT INTO saga_history (saga_id, seq, at, event, step, phase, attempt, detail) \
             SELECT h.* FROM unnest($13::uuid[], $14::integer[], $15::timestamptz[], $16::text[], $17::text[], \
                                    $18::text[], $19::integer[], $20::bytea[]) \
                  AS h (saga_id, seq, at, event, step, phase, attempt, detail) \
             WHERE h.saga_id IN (SELECT saga_id FROM keys) \
         ) SELECT saga_id FROM keys",
    )
    .bind(sagas.iter().map(|saga| saga.key.as_str()).collect::<Vec<_>>())
    .bind(sagas.iter().map(|saga| saga.fingerprint.as_slice()).collect::<Vec<_>>())
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
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| Ok(row.try_get("saga_id")?)).collect()
}

async fn holders(
    connection: &mut PgConnection,
    keys: Vec<&str>,
) -> Result<HashMap<String, (SagaId, [u8; 32])>, JournalError> {
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
            Ok((row.try_get("key")?, (SagaId(row.try_get("saga_id")?), fingerprint)))
        })
        .collect()
}
