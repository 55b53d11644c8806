//! Reads of one saga, of the ends of many, and of the open ones with a label: the reads for callers that wait, which come
//! as often as sagas do.

use std::collections::HashMap;
use std::sync::Arc;

use redress_core::SagaId;
use redress_postgres::{FailureClass, Origin, classify};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::pg::PgJournal;
use super::reads::{IS_REPLY, REPLIES_BYTES_MAX, replied, saga_row};
use crate::ports::{Include, JournalError, OpenSaga, Rows, SagaRow};

impl PgJournal {
    /// One saga, with everything that belongs to it.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer or the row is unreadable.
    pub async fn saga(&self, id: SagaId) -> Result<Option<SagaRow>, JournalError> {
        let journal = self.clone();
        let rows = move |ids| journal.clone().rows(ids);
        let row = self.reading(async { self.saga_reads.ask(id, rows).await.ok_or(JournalError::Panicked)? });
        let Some(row) = row.await? else { return Ok(None) };
        let mut saga = saga_row(&row, Include::ALL, self.state_format)?;
        let steps: Option<Vec<Option<String>>> = row.try_get("steps")?;
        let details: Option<Vec<Option<Vec<u8>>>> = row.try_get("details")?;
        let replies = steps.into_iter().flatten().zip(details.into_iter().flatten());
        saga.replies = replies
            .filter_map(|(step, detail)| Some((step.unwrap_or_default(), replied(detail.as_deref())?)))
            .collect();
        Ok(Some(saga))
    }

    /// The rows of these sagas, with the replies to their actions.
    async fn rows(self, ids: Vec<SagaId>) -> Result<HashMap<SagaId, Arc<PgRow>>, JournalError> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        let rows = self.reading(async {
            let mut lease = self.read_leases.take().await?;
            let rows = match fetch(&mut lease, &ids).await {
                // The server has closed it while it rested; a read may be done again.
                Err(error) if lease.origin() == Origin::Rest && classify(&error) == FailureClass::Down => {
                    self.read_leases.close_resting();
                    drop(lease.into_pooled().detach());
                    lease = self.read_leases.take().await?;
                    fetch(&mut lease, &ids).await?
                }
                rows => rows?,
            };
            lease.keep();
            Ok::<_, sqlx::Error>(rows)
        });
        rows.await?.into_iter().map(|row| Ok((SagaId(row.try_get("id")?), Arc::new(row)))).collect()
    }

    /// Those of these sagas that have ended or are parked.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub(crate) async fn at_rest(&self, ids: &[SagaId]) -> Result<Vec<SagaId>, JournalError> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        let at_rest = sqlx::query_scalar(
            "SELECT id FROM sagas WHERE id = ANY($1) AND (ended_at IS NOT NULL OR status = 'parked')",
        );
        let at_rest: Vec<Uuid> = self.reading(at_rest.bind(ids).fetch_all(&self.read)).await?;
        Ok(at_rest.into_iter().map(SagaId).collect())
    }

    /// A page of the sagas that bear this label and have not ended, newest first, after the saga `after`.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub(crate) async fn open_with_tag(
        &self,
        tag: &(String, String),
        after: Option<SagaId>,
        limit: i64,
    ) -> Result<Rows<OpenSaga>, JournalError> {
        let (name, value) = tag;
        // The condition of the index, word for word.
        let found = sqlx::query(
            "SELECT id, saga, version FROM sagas WHERE ended_at IS NULL AND tags <> '{}' AND tags @> $1 \
             AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3",
        )
        .bind(serde_json::json!({ name: value }))
        .bind(after.map(|id| id.0))
        .bind(limit.saturating_add(1))
        .fetch_all(&self.read);
        let mut found = self.reading(found).await?;
        let limit = usize::try_from(limit).unwrap_or(0);
        let more = found.len() > limit;
        found.truncate(limit);
        let rows = found.iter().map(|row| {
            let version: i32 = row.try_get("version")?;
            Ok(OpenSaga {
                id: SagaId(row.try_get("id")?),
                saga: row.try_get("saga")?,
                version: version.unsigned_abs(),
            })
        });
        Ok(Rows { rows: rows.collect::<Result<_, JournalError>>()?, more })
    }
}

async fn fetch(connection: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<PgRow>, sqlx::Error> {
    let sagas = format!(
        "SELECT id, saga, version, revision, state_format, state, data, input, tags, steps, details \
         FROM sagas, LATERAL ( \
             SELECT array_agg(step ORDER BY seq) AS steps, \
                    array_agg(CASE WHEN bytes <= $2 THEN detail END ORDER BY seq) AS details \
             FROM (SELECT seq, step, detail, sum(octet_length(detail)) OVER (ORDER BY seq ROWS UNBOUNDED PRECEDING) AS bytes \
                   FROM saga_history WHERE saga_id = sagas.id AND {IS_REPLY}) AS replies \
         ) AS replied WHERE id = ANY($1)"
    );
    sqlx::query(sqlx::AssertSqlSafe(sagas)).bind(ids).bind(REPLIES_BYTES_MAX).fetch_all(connection).await
}
