//! Dead letters: written once, listed, counted, decided on, pruned.

use std::time::Duration;

use redress_core::SagaId;
use redress_core::dead_letter::LetterCode;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::columns::interval;
use super::errors::of_connecting;
use super::pg::PgJournal;
use super::reads::{PAGE_BYTES_MAX, page, while_they_fit};
use crate::ports::{
    DeadLetter, JournalError, JournalLetters, LetterDecision, LetterFilter, LetterGroup, LetterRoom,
    LetterRow, LetterState, LetterStep, Rows, decided_status,
};

/// The columns of a letter, but for its body.
const COLUMNS: &str = "id, at, source, code, saga_id, reason, subject, headers, missing, status, decided_at, actor, \
                       decision_reason, octet_length(payload)::bigint AS payload_bytes";

/// The letters that a filter finds.
const FOUND: &str = "($1::text IS NULL OR code = $1) AND ($2::text IS NULL OR source = $2) \
                     AND ($3::uuid IS NULL OR saga_id = $3) AND ($4::text IS NULL OR status = $4) \
                     AND ($5::timestamptz IS NULL OR at >= $5) AND ($6::timestamptz IS NULL OR at < $6)";

macro_rules! bind_filter {
    ($query:expr, $filter:expr) => {
        $query
            .bind($filter.code.map(LetterCode::as_str))
            .bind(&$filter.source)
            .bind($filter.saga.map(|id| id.0))
            .bind($filter.status.map(|status| status.as_str()))
            .bind($filter.since)
            .bind($filter.until)
    };
}

/// Writes letters, each once: one that is there already stays as it is.
pub(super) async fn write(connection: &mut PgConnection, letters: &[DeadLetter]) -> Result<(), JournalError> {
    for letter in letters {
        let headers: Vec<[String; 2]> =
            letter.headers.iter().map(|(name, value)| [storable(name), storable(value)]).collect();
        sqlx::query(
            "INSERT INTO dead_letters (id, source, code, saga_id, reason, subject, headers, payload, missing) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (id) DO NOTHING",
        )
        .bind(letter.id)
        .bind(storable(&letter.source))
        .bind(letter.code.as_str())
        .bind(letter.saga_id.map(|id| id.0))
        .bind(storable(&letter.reason))
        .bind(storable(&letter.subject))
        .bind(sqlx::types::Json(headers))
        .bind(&letter.payload)
        .bind(letter.missing.as_deref().map(storable))
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// Without the one character that the database cannot keep.
fn storable(text: &str) -> String {
    text.replace('\0', "")
}

impl JournalLetters for PgJournal {
    async fn letters(&self, filter: &LetterFilter) -> Result<Rows<LetterRow>, JournalError> {
        let rows = format!(
            "SELECT {COLUMNS}, ''::bytea AS payload, pg_column_size(headers) + octet_length(reason) AS bytes \
             FROM dead_letters WHERE {FOUND} AND ($7::uuid IS NULL OR id < $7) ORDER BY id DESC LIMIT $8"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(while_they_fit(&rows, "id DESC", "$9")));
        let rows = bind_filter!(rows, filter)
            .bind(filter.after)
            .bind(filter.limit.saturating_add(1))
            .bind(PAGE_BYTES_MAX)
            .fetch_all(&self.read);
        let Rows { rows, more } = page(self.reading(rows).await?, filter.limit)?;
        Ok(Rows { rows: rows.iter().map(letter_row).collect::<Result<_, _>>()?, more })
    }

    async fn letter(&self, id: Uuid) -> Result<Option<LetterRow>, JournalError> {
        let sql = format!("SELECT {COLUMNS}, payload FROM dead_letters WHERE id = $1");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(id).fetch_optional(&self.read);
        self.reading(row).await?.as_ref().map(letter_row).transpose()
    }

    async fn letter_groups(&self, filter: &LetterFilter) -> Result<Vec<LetterGroup>, JournalError> {
        let sql = format!(
            "SELECT source, code, count(*) AS letters FROM dead_letters WHERE {FOUND} GROUP BY 1, 2 ORDER BY 1, 2"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql));
        let rows = bind_filter!(rows, filter).fetch_all(&self.probe);
        let group = |row: &PgRow| {
            let code = LetterCode::read(row.try_get("code")?);
            Ok(LetterGroup { source: row.try_get("source")?, code, count: row.try_get("letters")? })
        };
        self.reading(rows).await?.iter().map(group).collect()
    }

    async fn move_letter(&self, step: LetterStep) -> Result<bool, JournalError> {
        let journal = self.clone();
        self.unit(async move {
            let mut connection = journal.work.acquire().await.map_err(of_connecting)?;
            let moved = match step {
                LetterStep::Decided { id, verb, command_id, actor, reason } => {
                    // One statement is one transaction: the decision, and its row in the audit log.
                    let decided = sqlx::query(
                        "WITH decided AS ( \
                             UPDATE dead_letters SET status = $2, decided_at = now(), actor = $3, decision_reason = $4 \
                             WHERE id = $1 AND status = 'kept' RETURNING saga_id \
                         ) INSERT INTO audit_log (actor, verb, saga_id, reason, order_id, letter_id) \
                           SELECT $3, $5, saga_id, $4, $6, $1 FROM decided",
                    );
                    let decided = decided.bind(id).bind(decided_status(verb).as_str());
                    let decided = decided.bind(storable(&actor)).bind(storable(&reason));
                    decided.bind(verb.audited_as()).bind(command_id).execute(&mut *connection).await
                }
                LetterStep::Published { id } => {
                    let published = "UPDATE dead_letters SET status = 'replayed' WHERE id = $1 AND status = 'replaying'";
                    sqlx::query(published).bind(id).execute(&mut *connection).await
                }
                LetterStep::NotPublished { id } => {
                    let kept = "UPDATE dead_letters SET status = 'kept', decided_at = NULL, actor = NULL, \
                                       decision_reason = NULL WHERE id = $1 AND status = 'replaying'";
                    sqlx::query(kept).bind(id).execute(&mut *connection).await
                }
            };
            Ok(moved.map_err(JournalError::from).map_err(JournalError::of_its_commit)?.rows_affected() == 1)
        })
        .await
    }

    async fn give_back_letters(&self, after: Duration) -> Result<u64, JournalError> {
        let given_back = sqlx::query(
            "UPDATE dead_letters SET status = 'kept', decided_at = NULL, actor = NULL, decision_reason = NULL \
             WHERE status = 'replaying' AND decided_at < now() - $1",
        )
        .bind(interval(after))
        .execute(&self.work);
        Ok(self.working(given_back).await?.rows_affected())
    }

    async fn prune_excess_letters(&self, room: LetterRoom, limit: i64) -> Result<u64, JournalError> {
        let letters = sqlx::query(
            "DELETE FROM dead_letters WHERE id IN ( \
                 SELECT id FROM ( \
                     SELECT id, saga_id, status = 'kept' AS is_kept, row_number() OVER worth AS place, \
                            sum(octet_length(payload) + pg_column_size(headers)) OVER worth AS bytes \
                     FROM dead_letters WINDOW worth AS (ORDER BY status = 'kept' DESC, id DESC ROWS UNBOUNDED PRECEDING) \
                 ) AS ranked \
                 WHERE (place > $1 OR bytes > $2) AND NOT EXISTS ( \
                     SELECT FROM sagas WHERE sagas.id = ranked.saga_id AND ended_at IS NULL) \
                 ORDER BY is_kept, id LIMIT $3)",
        )
        .bind(room.letters)
        .bind(room.bytes)
        .bind(limit)
        .execute(&self.work);
        Ok(self.working(letters).await?.rows_affected())
    }
}

fn letter_row(row: &PgRow) -> Result<LetterRow, JournalError> {
    let id: Uuid = row.try_get("id")?;
    let unreadable = |problem: String| JournalError::Unreadable(format!("dead letter {id}: {problem}"));
    let payload_bytes: i64 = row.try_get("payload_bytes")?;
    let saga_id: Option<Uuid> = row.try_get("saga_id")?;
    let decision = || -> Result<LetterDecision, JournalError> {
        Ok(LetterDecision {
            at: row.try_get("decided_at")?,
            actor: row.try_get("actor")?,
            reason: row.try_get("decision_reason")?,
        })
    };
    let state = match row.try_get::<&str, _>("status")? {
        "kept" => LetterState::Kept,
        "replaying" => LetterState::Replaying(decision()?),
        "replayed" => LetterState::Replayed(decision()?),
        "discarded" => LetterState::Discarded(decision()?),
        other => return Err(unreadable(format!("its status is `{other}`"))),
    };
    Ok(LetterRow {
        letter: DeadLetter {
            id,
            source: row.try_get("source")?,
            code: LetterCode::read(row.try_get("code")?),
            saga_id: saga_id.map(SagaId),
            reason: row.try_get("reason")?,
            subject: row.try_get("subject")?,
            headers: headers(row.try_get("headers")?),
            payload: row.try_get("payload")?,
            missing: row.try_get("missing")?,
        },
        at: row.try_get("at")?,
        payload_bytes: payload_bytes.unsigned_abs(),
        state,
    })
}

/// Headers as they are stored: pairs in their order, or, by an older version, an object.
fn headers(stored: serde_json::Value) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    match stored {
        serde_json::Value::Array(pairs) => {
            pairs.iter().map(|pair| (text(&pair[0]), text(&pair[1]))).collect()
        }
        serde_json::Value::Object(map) => {
            map.iter().map(|(name, value)| (name.clone(), text(value))).collect()
        }
        _ => Vec::new(),
    }
}
