//! Open questions in the inbox table: left open, closed, and the answers to them that are to be published.

use std::time::Duration;

use redress_core::inbox::Recorded;
use redress_core::{CommandMessage, IdempotencyKey, Name, Outcome, ReplyMessage, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::postgres::types::PgInterval;
use sqlx::{PgConnection, Row};

use crate::row::{recorded, stored};
use crate::unit_error::UnitError;

/// What an answer that comes later is addressed with.
#[derive(Clone, Debug)]
pub(crate) struct OpenCommand {
    command: Name,
    saga: Name,
    version: u32,
    attempt: u32,
}

impl OpenCommand {
    /// The question that a command asks.
    pub(crate) fn of(command: &CommandMessage) -> Self {
        let CommandMessage { command, saga, version, attempt, .. } = command;
        Self { command: command.clone(), saga: saga.clone(), version: *version, attempt: *attempt }
    }
}

/// Leaves claimed keys open.
pub(crate) async fn leave_open(
    connection: &mut PgConnection,
    open: &[(&str, Option<&[u8]>, &OpenCommand)],
) -> Result<(), UnitError> {
    if open.is_empty() {
        return Ok(());
    }
    let texts =
        |of: fn(&OpenCommand) -> &Name| open.iter().map(move |(_, _, question)| of(question).as_str());
    let numbers =
        |of: fn(&OpenCommand) -> u32| open.iter().map(move |(_, _, question)| i64::from(of(question)));
    let written: i64 = sqlx::query_scalar("SELECT inbox_leave_open($1, $2, $3, $4, $5, $6)")
        .bind(open.iter().map(|(key, ..)| *key).collect::<Vec<_>>())
        .bind(open.iter().map(|(_, fingerprint, _)| *fingerprint).collect::<Vec<_>>())
        .bind(texts(|question| &question.command).collect::<Vec<_>>())
        .bind(texts(|question| &question.saga).collect::<Vec<_>>())
        .bind(numbers(|question| question.version).collect::<Vec<_>>())
        .bind(numbers(|question| question.attempt).collect::<Vec<_>>())
        .fetch_one(connection)
        .await?;
    if usize::try_from(written) != Ok(open.len()) {
        return Err(UnitError::Inbox(format!("{written} of {} questions could be left open", open.len())));
    }
    Ok(())
}

/// Closes open questions. If one of them was answered meanwhile, nothing of the batch may be.
pub(crate) async fn close(
    connection: &mut PgConnection,
    closed: &[(&str, &Recorded)],
) -> Result<(), UnitError> {
    if closed.is_empty() {
        return Ok(());
    }
    let (outcomes, replies): (Vec<&str>, Vec<Option<Vec<u8>>>) =
        closed.iter().map(|(_, recorded)| stored(recorded)).unzip();
    let written: i64 = sqlx::query_scalar("SELECT inbox_close($1, $2, $3)")
        .bind(closed.iter().map(|(key, _)| *key).collect::<Vec<_>>())
        .bind(outcomes)
        .bind(replies)
        .fetch_one(connection)
        .await?;
    if usize::try_from(written) != Ok(closed.len()) {
        return Err(UnitError::AnsweredMeanwhile);
    }
    Ok(())
}

/// Answers that were taken to be published, and until when no other instance takes them.
pub(crate) struct Due {
    pub(crate) replies: Vec<ReplyMessage>,
    pub(crate) taken_until: Option<Timestamp>,
}

/// Takes answers that are due, and puts them off for this time: rows for [`due`].
pub(crate) async fn take_due(
    connection: &mut PgConnection,
    answers_max: u32,
    put_off: Duration,
) -> Result<Vec<PgRow>, sqlx::Error> {
    let microseconds = i64::try_from(put_off.as_micros()).unwrap_or(i64::MAX);
    sqlx::query("SELECT * FROM inbox_take_due($1, $2)")
        .bind(i64::from(answers_max))
        .bind(PgInterval { months: 0, days: 0, microseconds })
        .fetch_all(connection)
        .await
}

/// The replies that these rows say, of this service.
pub(crate) fn due(rows: &[PgRow], service: &Name) -> Result<Due, UnitError> {
    let replies = rows.iter().map(|row| reply(row, service)).collect::<Result<Vec<_>, _>>()?;
    let taken_until = rows.first().map(|row| row.try_get("taken_until")).transpose()?;
    Ok(Due { replies, taken_until })
}

fn reply(row: &PgRow, service: &Name) -> Result<ReplyMessage, UnitError> {
    let unreadable = |what: &str| UnitError::Inbox(format!("a row holds an unreadable {what}"));
    let key: IdempotencyKey = row.try_get::<&str, _>("key")?.parse().map_err(|_| unreadable("key"))?;
    let number = |column: &str| -> Result<u32, UnitError> {
        u32::try_from(row.try_get::<i64, _>(column)?).map_err(|_| unreadable(column))
    };
    let outcome = match recorded(row.try_get("outcome")?, row.try_get("reply")?, None)? {
        Recorded::Done { reply } => Outcome::Done { reply },
        Recorded::Rejected(rejection) => Outcome::Rejected(rejection),
        Recorded::Fenced | Recorded::Open | Recorded::Prepared { .. } | Recorded::GivenUp { .. } => {
            return Err(unreadable("answer"));
        }
    };
    Ok(ReplyMessage {
        key,
        attempt: number("attempt")?,
        saga: Name::new(row.try_get("saga")?).map_err(|_| unreadable("saga"))?,
        version: number("version")?,
        service: service.clone(),
        outcome,
    })
}

/// The broker has stored these answers.
pub(crate) async fn sent(
    connection: &mut PgConnection,
    keys: &[String],
    taken_until: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT inbox_sent($1, $2)").bind(keys).bind(taken_until).execute(connection).await.map(drop)
}
