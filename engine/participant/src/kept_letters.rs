//! Dead letters that the broker has refused: rows of the service's own database, until the broker takes them.
//!
//! A row is removed once the broker has stored its letter. Two instances may publish the same row, and one that dies in
//! between does so again: the letter has one id, and the journal keeps it once.

use std::sync::Arc;

use redress_core::LetterCode;
use redress_wire::{DeadLetter, PublishError};
use sqlx::{PgConnection, Row as _};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use crate::config::count;
use crate::unit_error::UnitError;
use crate::worker::Worker;

/// The most rows that are kept here, so that poison cannot fill the database of a service: some 50 MB at most.
const ROWS_MAX: i64 = 1_000;
/// The most that a row keeps of the body, in bytes.
const ROW_PAYLOAD_BYTES_MAX: usize = 32 << 10;
/// The most that a row keeps of the headers, in bytes.
const ROW_HEADERS_BYTES_MAX: usize = 16 << 10;
/// The most rows that are read at once: with bodies and headers a megabyte.
const FORWARD_MAX: i64 = 20;

/// A letter as the table keeps it.
pub(crate) struct Row {
    letter_id: sqlx::types::Uuid,
    code: &'static str,
    reason: String,
    subject: String,
    headers: String,
    payload: Vec<u8>,
    payload_bytes: i64,
    missing: Option<String>,
    not_kept: String,
}

impl Row {
    pub(crate) fn new(letter: &DeadLetter, error: &PublishError) -> Self {
        let headers: String =
            letter.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        let payload = &letter.payload[..letter.payload.len().min(ROW_PAYLOAD_BYTES_MAX)];
        let is_cut = headers.len() > ROW_HEADERS_BYTES_MAX || payload.len() < letter.payload.len();
        let size = || format!("{} headers and {} bytes came", letter.headers.len(), letter.payload.len());
        Self {
            letter_id: letter.id,
            code: letter.code.as_str(),
            reason: letter.reason.clone(),
            subject: storable(&letter.subject),
            headers: storable(&headers[..headers.floor_char_boundary(ROW_HEADERS_BYTES_MAX)]),
            payload: payload.to_vec(),
            payload_bytes: i64::try_from(letter.payload.len()).unwrap_or(i64::MAX),
            missing: letter.missing.as_deref().map(storable).or_else(|| is_cut.then(size)),
            not_kept: storable(&error.to_string()),
        }
    }
}

/// Without the one character that the database cannot keep.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// Writes as many as there is room for, in this order; says how many.
pub(crate) async fn keep(connection: &mut PgConnection, rows: Vec<Row>) -> Result<usize, sqlx::Error> {
    let (mut ids, mut codes, mut reasons) = (Vec::new(), Vec::new(), Vec::new());
    let (mut subjects, mut headers, mut missing) = (Vec::new(), Vec::new(), Vec::new());
    let (mut payloads, mut sizes, mut not_kept) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        ids.push(row.letter_id);
        codes.push(row.code);
        reasons.push(row.reason);
        subjects.push(row.subject);
        headers.push(row.headers);
        payloads.push(row.payload);
        sizes.push(row.payload_bytes);
        missing.push(row.missing);
        not_kept.push(row.not_kept);
    }
    let columns = "letter_id, code, reason, subject, headers, payload, payload_bytes, missing, not_kept";
    let kept = sqlx::query(sqlx::AssertSqlSafe(format!(
        "INSERT INTO inbox_dead_letters ({columns}) SELECT {columns} \
         FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::bigint[], $8::text[], \
                     $9::text[]) WITH ORDINALITY AS new ({columns}, place) \
         ORDER BY place LIMIT greatest($10 - (SELECT count(*) FROM inbox_dead_letters), 0)"
    )))
    .bind(ids)
    .bind(codes)
    .bind(reasons)
    .bind(subjects)
    .bind(headers)
    .bind(payloads)
    .bind(sizes)
    .bind(missing)
    .bind(not_kept)
    .bind(ROWS_MAX)
    .execute(connection)
    .await?;
    Ok(usize::try_from(kept.rows_affected()).unwrap_or(usize::MAX))
}

/// Publishes the letters that are kept here, now and again, until the shutdown.
pub(crate) async fn forward<S: Send + Sync + 'static>(worker: Arc<Worker<S>>, shutdown: CancellationToken) {
    let every = worker.inbox.config.forward_every;
    let mut ticks = interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            _ = ticks.tick() => {}
        }
        // In a task of its own, because nothing may cancel a write.
        let of_task = worker.clone();
        let forwarded = tokio::spawn(async move { of_task.forward_all().await });
        match forwarded.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let error = error.chain();
                tracing::warn!(service = %worker.service, error, "failed to read the dead letters that are kept here; retrying later");
            }
            Err(panic) => {
                tracing::error!(service = %worker.service, %panic, "publishing dead letters that are kept here panicked");
            }
        }
    }
}

impl<S: Send + Sync + 'static> Worker<S> {
    /// Publishes the letters that are kept here, the oldest first, until there are none or the broker refuses one.
    async fn forward_all(&self) -> Result<(), UnitError> {
        loop {
            let service = self.service.clone();
            let waiting =
                self.inbox.on_connection(|connection| Box::pin(async move { waiting(connection).await }));
            let waiting = waiting.await?;
            if waiting.is_empty() {
                return Ok(());
            }
            for (id, row) in waiting {
                let letter = row.into_letter(service.clone());
                if let Err(error) = self.wire.publish_dead_letter(&letter).await {
                    tracing::debug!(%service, %error, "dead letter still refused");
                    return Ok(());
                }
                let removed = self
                    .inbox
                    .on_connection(|connection| Box::pin(async move { remove(connection, id).await }));
                removed.await?;
                count(&self.inbox.stats.dead_letters_forwarded);
            }
        }
    }
}

/// A row that waits for the broker.
struct WaitingRow {
    letter_id: sqlx::types::Uuid,
    code: String,
    reason: String,
    subject: String,
    headers: String,
    payload: Vec<u8>,
    missing: Option<String>,
}

impl WaitingRow {
    fn into_letter(self, service: redress_core::Name) -> DeadLetter {
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap_or((line, ""));
            (name.to_owned(), value.to_owned())
        };
        DeadLetter {
            id: self.letter_id,
            service,
            code: LetterCode::read(&self.code),
            subject: self.subject,
            reason: self.reason,
            headers: self.headers.split_terminator('\n').map(header).collect(),
            payload: self.payload,
            missing: self.missing,
        }
    }
}

async fn waiting(connection: &mut PgConnection) -> Result<Vec<(i64, WaitingRow)>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT id, letter_id, code, reason, subject, headers, payload, missing FROM inbox_dead_letters \
         ORDER BY id LIMIT $1",
    )
    .bind(FORWARD_MAX)
    .fetch_all(connection)
    .await?;
    let row = |row: &sqlx::postgres::PgRow| {
        let waiting = WaitingRow {
            letter_id: row.try_get("letter_id")?,
            code: row.try_get("code")?,
            reason: row.try_get("reason")?,
            subject: row.try_get("subject")?,
            headers: row.try_get("headers")?,
            payload: row.try_get("payload")?,
            missing: row.try_get("missing")?,
        };
        Ok((row.try_get("id")?, waiting))
    };
    rows.iter().map(row).collect()
}

async fn remove(connection: &mut PgConnection, id: i64) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM inbox_dead_letters WHERE id = $1").bind(id).execute(connection).await.map(drop)
}
