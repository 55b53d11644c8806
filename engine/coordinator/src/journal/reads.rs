//! Reads for people: never a lock, never without a limit.

use std::str::FromStr;

use redress_core::history::{HistoryEntry, HistoryEvent};
use redress_core::state::SagaState;
use redress_core::{JsonText, Name, Phase, SagaId, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row};
use uuid::Uuid;

use super::unit::state;
use super::{JournalError, PgJournal};

/// A saga as it is stored.
#[derive(Debug)]
pub struct SagaRow {
    /// The saga.
    pub id: SagaId,
    /// Its definition's name.
    pub saga: String,
    /// Its definition's version.
    pub version: u32,
    /// How often it has moved.
    pub revision: i64,
    /// Where it stands.
    pub state: SagaState,
    /// The input as it was given.
    pub input: JsonText,
    /// Labels.
    pub tags: serde_json::Value,
    /// The replies to its actions, by step.
    pub replies: Vec<(String, JsonText)>,
}

/// Which sagas to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct ListFilter {
    /// Only of this status.
    pub status: Option<String>,
    /// Only of this definition.
    pub saga: Option<String>,
    /// Only with this text in the id or the input.
    pub text: Option<String>,
    /// Only with this label.
    pub tag: Option<(String, String)>,
    /// Only started at or after.
    pub since: Option<Timestamp>,
    /// Only started before.
    pub until: Option<Timestamp>,
    /// Only those that come after this one in the list.
    pub after: Option<SagaId>,
    /// At most so many.
    pub limit: i64,
    /// Only those that go on by themselves, but for longer than they should.
    pub stalled: bool,
    /// Since when they should not; the engine fills it in.
    pub stalled_before: Option<Timestamp>,
}

/// A row of history with its saga.
pub type HistoryRow = HistoryEntry;

const COLUMNS: &str = "SELECT id, saga, version, revision, state, data, input, tags FROM sagas";

impl PgJournal {
    /// One saga.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer or the row is unreadable.
    pub async fn saga(&self, id: SagaId) -> Result<Option<SagaRow>, JournalError> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE id = $1")))
            .bind(id.0)
            .fetch_optional(&self.read);
        let row = self.reading(row).await?;
        let Some(row) = row else { return Ok(None) };
        let mut sagas = vec![Ok(saga_row(&row)?)];
        self.reading(add_replies(&self.read, &mut sagas)).await?;
        Ok(sagas.pop().and_then(Result::ok))
    }

    /// A page of sagas, newest first; one that cannot be read is named and hides no other.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub async fn sagas(&self, filter: &ListFilter) -> Result<Vec<Result<SagaRow, SagaId>>, JournalError> {
        let pattern = filter.text.as_deref().map(|text| format!("%{}%", escaped(text)));
        let tag = filter.tag.as_ref().map(|(name, value)| serde_json::json!({ name: value }));
        // What is open is found by its own small index, however many have ended.
        let is_open = match filter.status.as_deref() {
            Some("running" | "compensating" | "parked" | "paused") => "ended_at IS NULL AND",
            _ if filter.stalled_before.is_some() => "ended_at IS NULL AND",
            Some(_) | None => "",
        };
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{COLUMNS} WHERE {is_open} ($1::text IS NULL OR status = $1) AND ($2::text IS NULL OR saga = $2) \
             AND ($3::text IS NULL OR id::text ILIKE $3 OR convert_from(input, 'UTF8') ILIKE $3) \
             AND ($4::jsonb IS NULL OR tags @> $4) \
             AND ($5::timestamptz IS NULL OR started_at >= $5) AND ($6::timestamptz IS NULL OR started_at < $6) \
             AND ($7::uuid IS NULL OR id < $7) \
             AND ($9::timestamptz IS NULL OR (status IN ('running', 'compensating') AND started_at < $9)) \
             ORDER BY id DESC LIMIT $8"
        )))
        .bind(&filter.status)
        .bind(&filter.saga)
        .bind(pattern)
        .bind(tag)
        .bind(filter.since)
        .bind(filter.until)
        .bind(filter.after.map(|id| id.0))
        .bind(filter.limit)
        .bind(filter.stalled_before)
        .fetch_all(&self.read);
        let rows = self.reading(rows).await?;
        let mut sagas = Vec::with_capacity(rows.len());
        for row in &rows {
            let id = SagaId(row.try_get("id")?);
            sagas.push(saga_row(row).map_err(|error| {
                tracing::error!(saga_id = %id, error = error.with_causes(), "saga unreadable");
                id
            }));
        }
        self.reading(add_replies(&self.read, &mut sagas)).await?;
        Ok(sagas)
    }

    /// A page of a saga's history, oldest first, after the row `after`.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer or a row is unreadable.
    pub async fn history(
        &self,
        id: SagaId,
        after: i32,
        limit: i64,
    ) -> Result<Vec<HistoryEntry>, JournalError> {
        let rows = sqlx::query(
            "SELECT seq, at, event, step, phase, attempt, detail FROM saga_history \
             WHERE saga_id = $1 AND seq > $2 ORDER BY seq LIMIT $3",
        )
        .bind(id.0)
        .bind(after)
        .bind(limit)
        .fetch_all(&self.read);
        let rows = self.reading(rows).await?;
        rows.iter().map(history_entry).collect()
    }

    /// Whether an order was carried out: asked when the answer to its commit was lost.
    pub(crate) async fn has_order(&self, order_id: Uuid) -> Result<bool, JournalError> {
        let found = sqlx::query_scalar("SELECT EXISTS (SELECT FROM audit_log WHERE order_id = $1)");
        self.reading(found.bind(order_id).fetch_one(&self.read)).await
    }

    /// How many sagas that have not ended stand where: by definition, version and status. (What has ended grows without
    /// bound, and is counted by the metrics.)
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub async fn census(&self) -> Result<Vec<(String, u32, String, i64)>, JournalError> {
        let rows = sqlx::query(
            "SELECT saga, version, status, count(*) AS sagas FROM sagas WHERE ended_at IS NULL \
             GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
        )
        .fetch_all(&self.read);
        let rows = self.reading(rows).await?;
        rows.iter()
            .map(|row| {
                let version: i32 = row.try_get("version")?;
                Ok((
                    row.try_get("saga")?,
                    version.unsigned_abs(),
                    row.try_get("status")?,
                    row.try_get("sagas")?,
                ))
            })
            .collect()
    }
}

/// `%` and `_` of a search mean themselves.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_").replace('\0', "")
}

fn saga_row(row: &PgRow) -> Result<SagaRow, JournalError> {
    let version: i32 = row.try_get("version")?;
    let input: &[u8] = row.try_get("input")?;
    Ok(SagaRow {
        id: SagaId(row.try_get("id")?),
        saga: row.try_get("saga")?,
        version: version.unsigned_abs(),
        revision: row.try_get("revision")?,
        state: state(row.try_get("state")?, row.try_get("data")?).map_err(JournalError::Unreadable)?,
        input: JsonText::parse(input).map_err(|error| JournalError::Unreadable(error.to_string()))?,
        tags: row.try_get("tags")?,
        replies: Vec::new(),
    })
}

async fn add_replies(pool: &PgPool, sagas: &mut [Result<SagaRow, SagaId>]) -> Result<(), JournalError> {
    if sagas.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = sagas.iter().flatten().map(|saga| saga.id.0).collect();
    let rows = sqlx::query(
        "SELECT saga_id, step, detail FROM saga_history \
         WHERE saga_id = ANY($1) AND event = 'done' AND phase IN ('action', 'settlement') ORDER BY saga_id, seq",
    )
    .bind(ids)
    .fetch_all(pool)
    .await?;
    for row in rows {
        let id: Uuid = row.try_get("saga_id")?;
        let detail: &[u8] = row.try_get("detail")?;
        let Ok(Done { reply }) = serde_json::from_slice::<Done>(detail) else { continue };
        let step: Option<String> = row.try_get("step")?;
        if let Some(saga) = sagas.iter_mut().flatten().find(|saga| saga.id.0 == id) {
            saga.replies.push((step.unwrap_or_default(), reply));
        }
    }
    Ok(())
}

#[derive(serde::Deserialize)]
struct Done {
    reply: JsonText,
}

fn history_entry(row: &PgRow) -> Result<HistoryEntry, JournalError> {
    let unreadable = |error: String| JournalError::Unreadable(error);
    let seq: i32 = row.try_get("seq")?;
    let attempt: Option<i32> = row.try_get("attempt")?;
    let step: Option<&str> = row.try_get("step")?;
    let phase: Option<&str> = row.try_get("phase")?;
    Ok(HistoryEntry {
        seq: seq.unsigned_abs(),
        at: row.try_get("at")?,
        event: HistoryEvent::from_str(row.try_get("event")?).map_err(|e| unreadable(e.to_string()))?,
        step: step.map(Name::new).transpose().map_err(|e| unreadable(e.to_string()))?,
        phase: phase.map(Phase::from_str).transpose().map_err(|e| unreadable(e.to_string()))?,
        attempt: attempt.map(i32::unsigned_abs),
        detail: JsonText::parse(row.try_get("detail")?).map_err(|e| unreadable(e.to_string()))?,
    })
}
