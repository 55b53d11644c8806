//! Reads for people: never a lock, never without a limit, of rows and of bytes. Lists of sagas are in `list`.
//!
//! A page ends early when it has grown large, and the database itself does the sum: rows that would not be sent are not
//! fetched.

use std::str::FromStr;

use redress_core::history::{HistoryEntry, HistoryEvent};
use redress_core::{JsonText, Name, Phase, SagaId};
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row};
use uuid::Uuid;

use super::columns::state;
use super::errors::of_connecting;
use super::pg::PgJournal;
use crate::ports::{Include, JournalError, Replied, Rows, SagaRow};

/// A page ends after so many bytes, however few rows are on it; one row is always there.
pub const PAGE_BYTES_MAX: i64 = 1024 * 1024;
/// Replies of one saga that are shown with it, in bytes; the history has the others, page by page.
pub(super) const REPLIES_BYTES_MAX: i64 = 4 * PAGE_BYTES_MAX;

pub(super) const IS_REPLY: &str = "event = 'done' AND phase IN ('action', 'settlement')";

/// What stands before and behind a query whose rows have `bytes`, to give those of them before which there are fewer bytes
/// than the number that follows, and how many there are in all.
pub(super) fn fitting(order: &str) -> (String, &'static str) {
    let head = format!(
        "SELECT * FROM (SELECT found.*, count(*) OVER () AS found_in_all, \
            sum(bytes) OVER (ORDER BY {order} ROWS UNBOUNDED PRECEDING) - bytes AS bytes_before FROM ("
    );
    (head, ") AS found) AS counted WHERE bytes_before < ")
}

/// Of `rows`, those before which there are fewer than so many bytes, and how many there are in all.
pub(super) fn while_they_fit(rows: &str, order: &str, bytes: &str) -> String {
    let (head, tail) = fitting(order);
    format!("{head}{rows}{tail}{bytes} ORDER BY {order}")
}

impl PgJournal {
    /// A page of a saga's history, oldest first, after the row `after`.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer or a row is unreadable.
    pub async fn history(
        &self,
        id: SagaId,
        after: i32,
        limit: i64,
    ) -> Result<Rows<HistoryEntry>, JournalError> {
        let rows = "SELECT seq, at, event, step, phase, attempt, detail, octet_length(detail) AS bytes \
                    FROM saga_history WHERE saga_id = $1 AND seq > $2 ORDER BY seq LIMIT $3";
        let rows = sqlx::query(sqlx::AssertSqlSafe(while_they_fit(rows, "seq", "$4")))
            .bind(id.0)
            .bind(after)
            .bind(limit.saturating_add(1))
            .bind(PAGE_BYTES_MAX)
            .fetch_all(&self.read);
        let Rows { rows, more } = page(self.reading(rows).await?, limit)?;
        Ok(Rows { rows: rows.iter().map(history_entry).collect::<Result<_, _>>()?, more })
    }

    /// Returns true if an operator command was carried out: looked up when the answer to its commit was lost. A standby
    /// may not have heard of it, so the query goes to a connection that could write.
    pub(crate) async fn has_operator_command(&self, command_id: Uuid) -> Result<bool, JournalError> {
        let found = sqlx::query_scalar("SELECT EXISTS (SELECT FROM audit_log WHERE order_id = $1)");
        let found = found.bind(command_id);
        let journal = self.clone();
        self.unit(async move {
            let begun = journal.work.begin_with("BEGIN READ WRITE").await;
            let mut transaction = begun.map_err(of_connecting)?;
            Ok(found.fetch_one(&mut *transaction).await?)
        })
        .await
    }

    /// The number of sagas that have not ended, by definition, version and status. (Ended ones grow without bound, and
    /// are counted by the metrics.)
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub async fn census(&self) -> Result<Vec<(String, u32, String, i64)>, JournalError> {
        let rows = sqlx::query(
            "SELECT saga, version, status, count(*) AS sagas FROM sagas WHERE ended_at IS NULL \
             GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
        )
        .fetch_all(&self.probe);
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

/// A page of the rows that [`while_they_fit`] gave, one more than wanted if there is one.
pub(super) fn page(mut rows: Vec<PgRow>, limit: i64) -> Result<Rows<PgRow>, JournalError> {
    let found_in_all: i64 = rows.first().map_or(Ok(0), |row| row.try_get("found_in_all"))?;
    rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let more = i64::try_from(rows.len()).unwrap_or(i64::MAX) < found_in_all;
    Ok(Rows { rows, more })
}

pub(super) fn saga_row(row: &PgRow, include: Include, known: u32) -> Result<SagaRow, JournalError> {
    let version: i32 = row.try_get("version")?;
    let input: &[u8] = row.try_get("input")?;
    let id = SagaId(row.try_get("id")?);
    let format: i32 = row.try_get("state_format")?;
    let format = format.unsigned_abs();
    // Also of a newer form people are shown the part that can be read.
    let unreadable = |problem: String| match format > known {
        true => JournalError::Newer { id, format, known },
        false => JournalError::Unreadable(problem),
    };
    Ok(SagaRow {
        id,
        saga: row.try_get("saga")?,
        version: version.unsigned_abs(),
        revision: row.try_get("revision")?,
        state: state(row.try_get("state")?, row.try_get("data")?).map_err(unreadable)?,
        input: JsonText::parse(input).map_err(|error| JournalError::Unreadable(error.to_string()))?,
        tags: row.try_get("tags")?,
        replies: Vec::new(),
        include,
    })
}

pub(super) async fn add_replies(
    pool: &PgPool,
    sagas: &mut [Result<SagaRow, SagaId>],
) -> Result<(), JournalError> {
    if sagas.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = sagas.iter().flatten().map(|saga| saga.id.0).collect();
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
        "SELECT saga_id, step, CASE WHEN bytes <= $2 THEN detail END AS detail FROM ( \
            SELECT saga_id, seq, step, detail, sum(octet_length(detail)) \
                OVER (PARTITION BY saga_id ORDER BY seq ROWS UNBOUNDED PRECEDING) AS bytes \
            FROM saga_history WHERE saga_id = ANY($1) AND {IS_REPLY}) AS replies ORDER BY saga_id, seq"
    )))
    .bind(ids)
    .bind(REPLIES_BYTES_MAX)
    .fetch_all(pool)
    .await?;
    for row in rows {
        let id: Uuid = row.try_get("saga_id")?;
        let detail: Option<&[u8]> = row.try_get("detail")?;
        let Some(replied) = replied(detail) else { continue };
        let step: Option<String> = row.try_get("step")?;
        if let Some(saga) = sagas.iter_mut().flatten().find(|saga| saga.id.0 == id) {
            saga.replies.push((step.unwrap_or_default(), replied));
        }
    }
    Ok(())
}

/// The reply in a row of history, which may have been too large to be fetched; nothing if it cannot be read.
pub(super) fn replied(detail: Option<&[u8]>) -> Option<Replied> {
    match detail.map(serde_json::from_slice::<Done>) {
        None => Some(Replied::LeftOut),
        Some(Ok(Done { reply })) => Some(Replied::Said(reply)),
        Some(Err(_)) => None,
    }
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
