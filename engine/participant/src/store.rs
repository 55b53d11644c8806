//! The inbox table: claim, read, write, in a constant number of statements per batch.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use redress_core::Timestamp;
use redress_core::inbox::{Record, Recorded};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use crate::call_store::{Before, CLAIMED, Changes, called_until};
use crate::open::{self, OpenCommand};
use crate::row::{record, stored};
use crate::unit_error::UnitError;

/// A batch's knowledge of each key that it touches.
#[derive(Debug)]
pub(crate) struct Memory {
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    record: Option<Record>,
    /// There is an answer, but it does not fit into this transaction's memory.
    unread: bool,
    /// Inserted by this transaction: it must be written or deleted before the commit.
    claimed: bool,
    changed: bool,
    /// Of a row that was there and is changed: what it was, with the time of its call.
    before: Option<Before>,
    /// Of a record that this transaction leaves open.
    question: Option<OpenCommand>,
}

impl Entry {
    fn claimed() -> Self {
        Self { record: None, unread: false, claimed: true, changed: false, before: None, question: None }
    }

    /// One that was there before, with its record if that was read.
    fn known(record: Option<Record>) -> Self {
        Self { unread: record.is_none(), record, ..Self { claimed: false, ..Self::claimed() } }
    }
}

/// How much longer than the longest handler a transaction may be idle: a handler that is cut off is rolled back by us,
/// and the database steps in only if we do not.
const IDLE_MARGIN: Duration = Duration::from_secs(10);

/// Begins a transaction that waits for no row for longer than `lock_wait`, and in which a handler may be busy elsewhere
/// for `handler_time_max`; in one message to the server. It writes, and each statement sees what others have committed
/// before, also if the session's own settings say otherwise.
pub(crate) fn begin(lock_wait: Duration, handler_time_max: Duration) -> AssertSqlSafe<String> {
    // Zero would mean "for ever".
    let ms = |time: Duration| time.as_millis().clamp(1, i32::MAX as u128);
    AssertSqlSafe(format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL lock_timeout = {}; \
         SET LOCAL idle_in_transaction_session_timeout = {}",
        ms(lock_wait),
        ms(handler_time_max.saturating_add(IDLE_MARGIN))
    ))
}

/// Claims all keys at once, in key order, and reads those that were there before.
///
/// One statement claims fences and own keys together, because any other order of locking deadlocks. Rows that were
/// there are read by a *new* statement: under READ COMMITTED the inserting one may not see the row that it ran into.
///
/// Of the replies that are there, no more than about `reply_bytes_max` are read, in key order; the others are marked as
/// unread. At least the first one is read.
///
/// Also gives the database's time after the claim, so that a batch needs no statement for it.
pub(crate) async fn claim(
    connection: &mut PgConnection,
    mut keys: Vec<String>,
    reply_bytes_max: usize,
) -> Result<(Memory, Timestamp), UnitError> {
    keys.sort_unstable();
    keys.dedup();
    let (claimed, now): (i64, Timestamp) = sqlx::query_as(
        "WITH claimed AS (INSERT INTO inbox (key) SELECT unnest($1::text[]) ON CONFLICT (key) DO NOTHING RETURNING 1) \
         SELECT count(*), clock_timestamp() FROM claimed",
    )
    .bind(&keys)
    .fetch_one(&mut *connection)
    .await?;
    let claimed = usize::try_from(claimed).unwrap_or_default();
    // A `claimed` row that can be seen is our own: others answer or delete theirs before they commit.
    let known = if claimed == keys.len() {
        Vec::new()
    } else {
        sqlx::query(
            "SELECT key, fingerprint, outcome, CASE WHEN bytes < $2 THEN reply END AS reply, called_until, \
                    bytes >= $2 AS unread \
             FROM (SELECT key, fingerprint, outcome, reply, called_until, \
                          sum(coalesce(octet_length(reply), 0)) OVER (ORDER BY key) \
                              - coalesce(octet_length(reply), 0) AS bytes \
                   FROM inbox_known($1)) AS known",
        )
        .bind(&keys)
        .bind(i64::try_from(reply_bytes_max).unwrap_or(i64::MAX))
        .fetch_all(connection)
        .await?
    };
    if claimed + known.len() != keys.len() {
        let counted = format!("{} keys, {claimed} claimed, {} known", keys.len(), known.len());
        return Err(UnitError::Inbox(counted));
    }
    let mut entries: BTreeMap<String, Entry> = keys.into_iter().map(|key| (key, Entry::claimed())).collect();
    for row in known {
        let key: String = row.try_get("key")?;
        let record = if row.try_get("unread")? { None } else { Some(record(&row)?) };
        entries.insert(key, Entry::known(record));
    }
    Ok((Memory { entries }, now))
}

/// Those of these keys that have an answer already; one that is called for has none.
pub(crate) async fn answered_keys(
    connection: &mut PgConnection,
    keys: &[String],
) -> Result<HashSet<String>, sqlx::Error> {
    let answered: Vec<String> =
        sqlx::query_scalar("SELECT key FROM inbox_known($1) WHERE outcome <> 'prepared'")
            .bind(keys)
            .fetch_all(connection)
            .await?;
    Ok(answered.into_iter().collect())
}

/// Those of these keys that have an attempt marker.
pub(crate) async fn attempted_keys(
    connection: &mut PgConnection,
    keys: &[String],
) -> Result<HashSet<String>, sqlx::Error> {
    let marked: Vec<String> = sqlx::query_scalar("SELECT key FROM inbox_tries WHERE key = ANY($1)")
        .bind(keys)
        .fetch_all(connection)
        .await?;
    Ok(marked.into_iter().collect())
}

/// Does to the inbox all that a batch does, and takes it back: a standby, a full disk or a missing right would answer a
/// mere `SELECT`.
pub(crate) async fn probe(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    sqlx::raw_sql(
        "INSERT INTO inbox (key) VALUES ('probe') ON CONFLICT DO NOTHING; \
         SELECT inbox_answer('{probe}', '{NULL}', '{fenced}', '{NULL}'); SELECT inbox_give_back('{probe}'); \
         SELECT inbox_leave_open('{}', '{}', '{}', '{}', '{}', '{}'); SELECT inbox_close('{}', '{}', '{}'); \
         INSERT INTO inbox_tries (key) VALUES ('probe') ON CONFLICT (key) DO UPDATE SET tries = 1; \
         DELETE FROM inbox_tries WHERE key = 'probe'; SELECT inbox_end_call('probe', now()); \
         SELECT count(*) FROM inbox_known('{probe}')",
    )
    .execute(&mut *transaction)
    .await?;
    transaction.rollback().await
}

/// Leaves an attempt marker: the command is being run alone. Gives the number of times that it was, this one included.
pub(crate) async fn leave_attempt_marker(
    connection: &mut PgConnection,
    key: &str,
) -> Result<u32, sqlx::Error> {
    let tries: i32 = sqlx::query_scalar(
        "INSERT INTO inbox_tries (key) VALUES ($1) \
         ON CONFLICT (key) DO UPDATE SET tries = inbox_tries.tries + 1, tried_at = now() RETURNING tries",
    )
    .bind(key)
    .fetch_one(connection)
    .await?;
    Ok(tries.unsigned_abs())
}

/// Takes the attempt marker back: the command was settled.
pub(crate) async fn remove_attempt_marker(
    connection: &mut PgConnection,
    key: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM inbox_tries WHERE key = $1").bind(key).execute(connection).await.map(drop)
}

impl Memory {
    /// The record of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Record> {
        self.entries.get(key)?.record.as_ref()
    }

    /// Returns true if there is an answer that was not read.
    pub(crate) fn is_unread(&self, key: &str) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.unread)
    }

    /// Remembers an answer; kept if the batch commits.
    pub(crate) fn remember(&mut self, key: String, record: Record) {
        let entry = self.entries.entry(key).or_insert_with(|| Entry::known(None));
        if let Some(was) = &entry.record
            && !entry.claimed
            && !entry.changed
        {
            entry.before = Some((stored(&was.recorded).0, called_until(&was.recorded)));
        }
        entry.record = Some(record);
        entry.changed = true;
    }

    /// Remembers that the answer to this question comes later; kept if the batch commits.
    pub(crate) fn leave_open(&mut self, key: String, record: Record, question: OpenCommand) {
        self.remember(key.clone(), record);
        self.entries.entry(key).and_modify(|entry| entry.question = Some(question));
    }

    /// Writes the answers, and gives back the claims that have none.
    pub(crate) async fn write(&self, connection: &mut PgConnection) -> Result<(), UnitError> {
        let mut keys: Vec<&str> = Vec::new();
        let mut fingerprints: Vec<Option<&[u8]>> = Vec::new();
        let mut outcomes: Vec<&'static str> = Vec::new();
        let mut replies: Vec<Option<Vec<u8>>> = Vec::new();
        let mut unanswered: Vec<&str> = Vec::new();
        let mut changes = Changes::default();
        let (mut open, mut closed) = (Vec::new(), Vec::new());
        for (key, entry) in &self.entries {
            match &entry.record {
                Some(record) if entry.changed && matches!(entry.before, Some(("open", _))) => {
                    closed.push((key.as_str(), &record.recorded));
                }
                Some(Record { fingerprint, recorded: Recorded::Open }) if entry.changed => {
                    let question = entry.question.as_ref().expect("what is left open has its question");
                    open.push((key.as_str(), fingerprint.as_ref().map(|f| f.0.as_slice()), question));
                }
                Some(record) if entry.changed => {
                    let fingerprint = record.fingerprint.as_ref().map(|f| f.0.as_slice());
                    if entry.before.is_some() || called_until(&record.recorded).is_some() {
                        changes.add(key, entry.before.unwrap_or(CLAIMED), &record.recorded, fingerprint);
                        continue;
                    }
                    let (outcome, reply) = stored(&record.recorded);
                    keys.push(key);
                    fingerprints.push(fingerprint);
                    outcomes.push(outcome);
                    replies.push(reply);
                }
                None if entry.claimed => unanswered.push(key),
                Some(_) | None => {}
            }
        }
        if !keys.is_empty() {
            let answers = i64::try_from(keys.len()).unwrap_or(i64::MAX);
            let written: i64 = sqlx::query_scalar("SELECT inbox_answer($1, $2, $3, $4)")
                .bind(keys)
                .bind(fingerprints)
                .bind(outcomes)
                .bind(replies)
                .fetch_one(&mut *connection)
                .await?;
            // An effect without its answer must never commit.
            if written != answers {
                return Err(UnitError::Inbox(format!("{written} of {answers} answers could be written")));
            }
        }
        changes.write(connection).await?;
        open::leave_open(&mut *connection, &open).await?;
        open::close(&mut *connection, &closed).await?;
        if !unanswered.is_empty() {
            sqlx::query("SELECT inbox_give_back($1)").bind(unanswered).execute(connection).await?;
        }
        Ok(())
    }
}
