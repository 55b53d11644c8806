//! The inbox table: claim or read, and remember, in a constant number of statements per batch ([`crate::answers`] writes).

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use redress_core::Timestamp;
use redress_core::inbox::Record;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use crate::call_store::{Before, called_until};
use crate::open::OpenCommand;
use crate::row::{record, stored};
use crate::savepoint::SAVEPOINT;
use crate::unit_error::UnitError;

/// A batch's knowledge of each key that it touches.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) entries: BTreeMap<String, Entry>,
}

/// The row of a key, as this transaction has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It was there when the batch began.
    There,
    /// Inserted by this transaction: it must be written or deleted before the commit.
    Claimed,
    /// There was none when the batch began, or it was not looked for. The answer is inserted, if it is the first.
    Absent,
    /// There was none, and the handler has given no answer that is kept. If there is one by now, that one counts.
    Unanswered,
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) record: Option<Record>,
    /// There is an answer, but it does not fit into this transaction's memory.
    unread: bool,
    pub(crate) standing: Standing,
    pub(crate) changed: bool,
    /// Of a row that was there and is changed: what it was, with the time of its call.
    pub(crate) before: Option<Before>,
    /// Of a record that this transaction leaves open.
    pub(crate) question: Option<OpenCommand>,
}

impl Entry {
    /// One without a record.
    fn new(standing: Standing) -> Self {
        Self { record: None, unread: false, standing, changed: false, before: None, question: None }
    }

    /// One that was there before, with its record if that was read.
    fn known(record: Option<Record>) -> Self {
        Self { unread: record.is_none(), record, ..Self::new(Standing::There) }
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

/// Begins such a transaction with the savepoint of its first call, in the same message: for one that writes nothing before.
pub(crate) fn begin_with_savepoint(lock_wait: Duration, handler_time_max: Duration) -> AssertSqlSafe<String> {
    let AssertSqlSafe(begin) = begin(lock_wait, handler_time_max);
    AssertSqlSafe(format!("{begin}; {SAVEPOINT}"))
}

/// What is remembered of the keys `$1`, with replies of `$2` bytes together.
const KNOWN: &str = "SELECT key, fingerprint, outcome, CASE WHEN bytes < $2 THEN reply END AS reply, called_until, \
            bytes >= $2 AS unread \
     FROM (SELECT key, fingerprint, outcome, reply, called_until, \
                  sum(coalesce(octet_length(reply), 0)) OVER (ORDER BY key) \
                      - coalesce(octet_length(reply), 0) AS bytes \
           FROM inbox_known($1)) AS known";

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
    .await
    .map_err(UnitError::of_claim)?;
    let claimed = usize::try_from(claimed).unwrap_or_default();
    // A `claimed` row that can be seen is our own: others answer or delete theirs before they commit.
    let known = if claimed == keys.len() {
        Vec::new()
    } else {
        sqlx::query(AssertSqlSafe(format!("SELECT * FROM ({KNOWN}) AS known")))
            .bind(&keys)
            .bind(i64::try_from(reply_bytes_max).unwrap_or(i64::MAX))
            .fetch_all(connection)
            .await?
    };
    if claimed + known.len() != keys.len() {
        let counted = format!("{} keys, {claimed} claimed, {} known", keys.len(), known.len());
        return Err(UnitError::Inbox(counted));
    }
    Ok((Memory::new(keys, Standing::Claimed, &known)?, now))
}

/// Claims none of these keys, and reads at once what is known of some of them: what [`claim`] gives, for a batch whose
/// answers are inserted in the end.
pub(crate) async fn read(
    connection: &mut PgConnection,
    keys: Vec<String>,
    perhaps_known: Vec<String>,
    reply_bytes_max: usize,
) -> Result<(Memory, Timestamp), UnitError> {
    // The time comes in a row of its own if nothing is known. It is later than what the statement sees: a row that was
    // pruned before is expired now.
    let rows = sqlx::query(AssertSqlSafe(format!(
        "SELECT known.*, now.time AS now FROM (SELECT clock_timestamp() AS time) AS now LEFT JOIN ({KNOWN}) AS known ON true"
    )))
    .bind(perhaps_known)
    .bind(i64::try_from(reply_bytes_max).unwrap_or(i64::MAX))
    .fetch_all(connection)
    .await?;
    let now = rows.first().ok_or(sqlx::Error::RowNotFound)?.try_get("now")?;
    let is_known = |row: &&PgRow| row.try_get::<Option<&str>, _>("key").is_ok_and(|key| key.is_some());
    Ok((Memory::new(keys, Standing::Absent, rows.iter().filter(is_known))?, now))
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
    /// That of a batch which assumes that nothing is known of its keys.
    pub(crate) fn of_new(keys: Vec<String>) -> Self {
        Self { entries: keys.into_iter().map(|key| (key, Entry::new(Standing::Absent))).collect() }
    }

    fn new<'r>(
        keys: Vec<String>,
        standing: Standing,
        known: impl IntoIterator<Item = &'r PgRow>,
    ) -> Result<Self, UnitError> {
        let mut entries: BTreeMap<String, Entry> =
            keys.into_iter().map(|key| (key, Entry::new(standing))).collect();
        for row in known {
            let key: String = row.try_get("key")?;
            let record = if row.try_get("unread")? { None } else { Some(record(row)?) };
            entries.insert(key, Entry::known(record));
        }
        Ok(Self { entries })
    }

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
            && entry.standing == Standing::There
            && !entry.changed
        {
            entry.before = Some((stored(&was.recorded).0, called_until(&was.recorded)));
        }
        entry.record = Some(record);
        entry.changed = true;
    }

    /// There is no answer to keep: the handler has failed, or the command is poison. If the command was handled elsewhere
    /// meanwhile, or before unread, that answer counts.
    pub(crate) fn unanswered(&mut self, key: &str) {
        if let Some(entry) = self.entries.get_mut(key)
            && entry.standing == Standing::Absent
        {
            entry.standing = Standing::Unanswered;
        }
    }

    /// Remembers that the answer to this question comes later; kept if the batch commits.
    pub(crate) fn leave_open(&mut self, key: String, record: Record, question: OpenCommand) {
        self.remember(key.clone(), record);
        self.entries.entry(key).and_modify(|entry| entry.question = Some(question));
    }
}
