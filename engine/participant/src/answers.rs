//! The inbox table: the answers of a batch are written, or nothing of the batch is.
//!
//! Of a key that the batch has claimed, the row is there and gets its answer. Of one that it has not, the row is inserted
//! now; the unique key decides, as it does for claims. If another transaction has answered it meanwhile, the
//! effects of the handler here are rolled back with the batch, and the batch runs again ([`UnitError::NotAlone`]).
//!
//! A handler that has failed has no answer to insert, and neither has poison. The key is claimed all the same, and given
//! back: the handler may have failed of what its twin did, an older version may have answered what this one cannot read,
//! and then that answer is the one to give.

use redress_core::inbox::{Record, Recorded};
use sqlx::PgConnection;

use crate::call_store::{CLAIMED, Changes, called_until};
use crate::open;
use crate::row::stored;
use crate::store::{Entry, Memory, Standing};
use crate::unit_error::UnitError;

/// Answers to be written together.
#[derive(Default)]
struct Answers<'m> {
    keys: Vec<&'m str>,
    fingerprints: Vec<Option<&'m [u8]>>,
    outcomes: Vec<&'static str>,
    replies: Vec<Option<Vec<u8>>>,
}

impl<'m> Answers<'m> {
    fn add(&mut self, key: &'m str, record: &'m Record) {
        let (outcome, reply) = stored(&record.recorded);
        self.keys.push(key);
        self.fingerprints.push(record.fingerprint.as_ref().map(|fingerprint| fingerprint.0.as_slice()));
        self.outcomes.push(outcome);
        self.replies.push(reply);
    }

    /// Writes them into the rows that this transaction has claimed.
    async fn write(self, connection: &mut PgConnection) -> Result<(), UnitError> {
        if self.keys.is_empty() {
            return Ok(());
        }
        let answers = i64::try_from(self.keys.len()).unwrap_or(i64::MAX);
        let written: i64 = sqlx::query_scalar("SELECT inbox_answer($1, $2, $3, $4)")
            .bind(self.keys)
            .bind(self.fingerprints)
            .bind(self.outcomes)
            .bind(self.replies)
            .fetch_one(connection)
            .await?;
        // An effect without its answer must never commit.
        if written != answers {
            return Err(UnitError::Inbox(format!("{written} of {answers} answers could be written")));
        }
        Ok(())
    }

    /// Inserts them as rows, in key order.
    async fn insert(self, connection: &mut PgConnection) -> Result<(), UnitError> {
        if self.keys.is_empty() {
            return Ok(());
        }
        let answers = self.keys.len();
        let inserted = sqlx::query(
            "INSERT INTO inbox (key, fingerprint, outcome, reply) \
             SELECT * FROM unnest($1::text[], $2::bytea[], $3::text[], $4::bytea[]) ON CONFLICT (key) DO NOTHING",
        )
        .bind(self.keys)
        .bind(self.fingerprints)
        .bind(self.outcomes)
        .bind(self.replies)
        .execute(connection)
        .await
        .map_err(UnitError::of_claim)?;
        first_of(inserted.rows_affected(), answers)
    }
}

/// Each of these rows must have been the first of its key.
fn first_of(inserted: u64, rows: usize) -> Result<(), UnitError> {
    if u64::try_from(rows) == Ok(inserted) { Ok(()) } else { Err(UnitError::NotAlone) }
}

impl Entry {
    /// Returns true if its row must be there before the end, although it was only read.
    fn is_claimed_late(&self) -> bool {
        let needs_row = |record: &Record| match record.recorded {
            Recorded::Open | Recorded::Prepared { .. } => true,
            Recorded::Done { .. } | Recorded::Rejected(_) | Recorded::Fenced | Recorded::GivenUp { .. } => {
                false
            }
        };
        match self.standing {
            Standing::Unanswered => true,
            Standing::Absent => self.changed && self.record.as_ref().is_some_and(needs_row),
            Standing::There | Standing::Claimed => false,
        }
    }
}

impl Memory {
    /// Writes the answers, and gives back the claims that have none.
    ///
    /// # Errors
    /// [`UnitError::NotAlone`] if another transaction has answered a key that this one had only read.
    pub(crate) async fn write(mut self, connection: &mut PgConnection) -> Result<(), UnitError> {
        self.claim_late(connection).await?;
        let (mut to_write, mut to_insert) = (Answers::default(), Answers::default());
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
                    if entry.before.is_some() || called_until(&record.recorded).is_some() {
                        let fingerprint = record.fingerprint.as_ref().map(|f| f.0.as_slice());
                        changes.add(key, entry.before.unwrap_or(CLAIMED), &record.recorded, fingerprint);
                        continue;
                    }
                    match entry.standing {
                        Standing::Absent => to_insert.add(key, record),
                        Standing::There | Standing::Claimed | Standing::Unanswered => {
                            to_write.add(key, record)
                        }
                    }
                }
                None if entry.standing == Standing::Claimed => unanswered.push(key),
                Some(_) | None => {}
            }
        }
        to_write.write(&mut *connection).await?;
        to_insert.insert(&mut *connection).await?;
        changes.write(connection).await?;
        open::leave_open(&mut *connection, &open).await?;
        open::close(&mut *connection, &closed).await?;
        if !unanswered.is_empty() {
            sqlx::query("SELECT inbox_give_back($1)").bind(unanswered).execute(connection).await?;
        }
        Ok(())
    }

    /// Claims what was only read and needs a row before its end.
    async fn claim_late(&mut self, connection: &mut PgConnection) -> Result<(), UnitError> {
        let late = self.entries.iter_mut().filter(|(_, entry)| entry.is_claimed_late());
        let mut keys = Vec::new();
        for (key, entry) in late {
            entry.standing = Standing::Claimed;
            keys.push(key.as_str());
        }
        if keys.is_empty() {
            return Ok(());
        }
        let rows = keys.len();
        let claim = "INSERT INTO inbox (key) SELECT unnest($1::text[]) ON CONFLICT (key) DO NOTHING";
        let claimed = sqlx::query(claim).bind(keys).execute(connection).await.map_err(UnitError::of_claim)?;
        first_of(claimed.rows_affected(), rows)
    }
}
