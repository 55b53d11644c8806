//! Gives the answer to a question that was left open: one conditional update, in the transaction of the code that knows it.
//!
//! The code may run in any process that has the service's database: a web server, a job, a handler of another command.
//! It neither knows the broker nor publishes: once its transaction has committed, any instance of the service does that
//! (`due`), also if this process is gone by then.

use redress_core::inbox::{GivenAnswer, Recorded};
use redress_core::json::Unfit;
use redress_core::{Command, IdempotencyKey, JsonText, Name, Phase};
use sqlx::{PgConnection, Row};
use thiserror::Error;

use crate::dispatch::truncate_rejection;
use crate::handler::HandlerOutcome;
use crate::row::{recorded, stored};
use crate::unit_error::UnitError;

/// What became of an answer that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// It is the answer, once the transaction commits.
    Now,
    /// The question was answered before, with this: by the service, or by a person. Nothing was changed.
    Before(GivenAnswer),
}

/// An answer could not be given. Nothing was changed; the transaction can be used on, except after an error of the
/// database.
#[derive(Debug, Error)]
pub enum AnswerError {
    /// The saga does not want the answer any more, and has been told that it never happened.
    #[error(
        "question {key} was given up: its saga was told that this never happened, and never will; undo here what was done \
         for it"
    )]
    Fenced {
        /// The question.
        key: Box<IdempotencyKey>,
    },
    /// The inbox holds no such question.
    #[error(
        "the inbox holds no open question {key}: its handler has not committed yet, or never left it open, or its answer is \
         older than the inbox remembers; if it was left open just now, try again"
    )]
    Unknown {
        /// The question.
        key: Box<IdempotencyKey>,
    },
    /// The question was asked by another command.
    #[error(
        "question {key} was asked by `{asked}`, and this is an answer to `{command}`: name the right command"
    )]
    OtherCommand {
        /// The question.
        key: Box<IdempotencyKey>,
        /// The command that asked it.
        asked: Name,
        /// The command whose answer was given.
        command: &'static str,
    },
    /// A compensation was answered with a rejection.
    #[error(
        "question {key} is a compensation, which cannot be rejected: answer it with `done` when it is undone"
    )]
    CompensationRejected {
        /// The question.
        key: Box<IdempotencyKey>,
    },
    /// The reply is not JSON.
    #[error("the reply to `{command}` cannot be written as JSON")]
    Unwritable {
        /// The command.
        command: &'static str,
        /// The reason.
        source: serde_json::Error,
    },
    /// The reply is too large for a message, or the saga could not store it.
    #[error("the reply to `{command}` cannot travel: {source}")]
    Unsendable {
        /// The command.
        command: &'static str,
        /// The reason.
        source: Unfit,
    },
    /// The inbox holds something that this version of the library cannot read.
    #[error("question {key} cannot be read in the inbox ({reason}); leave its tables to the service")]
    Unreadable {
        /// The question.
        key: Box<IdempotencyKey>,
        /// What is wrong.
        reason: String,
    },
    /// The database refused, or is not there; the transaction is lost.
    #[error("the answer could not be written")]
    Database(#[from] sqlx::Error),
}

/// Answers the open question `key` of the command `C`, which its handler has left with [`later`](crate::later).
///
/// Belongs into the transaction of whatever else the answer means in the service's own tables: both commit together. The
/// first answer counts, so it may be given again after an error, or by two processes at the same time.
///
/// `connection` is of the service's database, mostly an open transaction; a single connection makes the answer a
/// transaction of its own.
///
/// ```
/// # use redress_core::{Command, IdempotencyKey};
/// # use redress_participant::{HandlerOutcome, sqlx};
/// # use schemars::JsonSchema;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize, JsonSchema)]
/// # struct Approve { order: i64 }
/// # #[derive(Serialize, Deserialize, JsonSchema)]
/// # struct Approved { by: String }
/// # impl Command for Approve {
/// #     const SERVICE: &'static str = "approval";
/// #     const NAME: &'static str = "approve";
/// #     type Reply = Approved;
/// # }
/// use redress_participant::{Given, answer};
///
/// # type Error = Box<dyn std::error::Error>;
/// async fn approved(pool: &sqlx::PgPool, key: IdempotencyKey, by: String) -> Result<(), Error> {
///     let mut tx = pool.begin().await?;
///     sqlx::query("UPDATE approval SET approved_by = $2 WHERE key = $1")
///         .bind(key.to_string())
///         .bind(&by)
///         .execute(&mut *tx)
///         .await?;
///     match answer::<Approve>(&mut tx, &key, HandlerOutcome::Done(Approved { by })).await? {
///         Given::Now => tx.commit().await?,
///         Given::Before(_) => tx.rollback().await?,
///     }
///     Ok(())
/// }
/// ```
///
/// # Errors
/// [`AnswerError`]: the question was given up, is not known, or the answer cannot be one.
pub async fn answer<C: Command>(
    connection: &mut PgConnection,
    key: &IdempotencyKey,
    outcome: HandlerOutcome<C::Reply>,
) -> Result<Given, AnswerError> {
    let recorded = checked::<C>(key, outcome)?;
    let (word, reply) = stored(&recorded);
    let written = sqlx::query(
        "UPDATE inbox SET outcome = $2, reply = $3, handled_at = now(), reply_due_at = now() \
         WHERE key = $1 AND outcome = 'open' AND asked_command = $4",
    )
    .bind(key.to_string())
    .bind(word)
    .bind(reply)
    .bind(C::NAME)
    .execute(&mut *connection)
    .await?;
    match written.rows_affected() {
        0 => why_not::<C>(connection, key).await,
        _ => Ok(Given::Now),
    }
}

/// What is to be stored, if the answer can be one.
fn checked<C: Command>(
    key: &IdempotencyKey,
    outcome: HandlerOutcome<C::Reply>,
) -> Result<Recorded, AnswerError> {
    match outcome {
        HandlerOutcome::Rejected(_) if key.phase == Phase::Compensation => {
            Err(AnswerError::CompensationRejected { key: Box::new(key.clone()) })
        }
        HandlerOutcome::Rejected(rejection) => Ok(Recorded::Rejected(truncate_rejection(&rejection))),
        HandlerOutcome::Done(reply) => {
            let command = C::NAME;
            let reply = JsonText::of(&reply).map_err(|source| AnswerError::Unwritable { command, source })?;
            reply.check_sendable().map_err(|source| AnswerError::Unsendable { command, source })?;
            Ok(Recorded::Done { reply })
        }
    }
}

/// The reason why a question could not be answered: by a new statement, which sees what has committed since.
async fn why_not<C: Command>(
    connection: &mut PgConnection,
    key: &IdempotencyKey,
) -> Result<Given, AnswerError> {
    let row = sqlx::query("SELECT outcome, reply, called_until, asked_command FROM inbox WHERE key = $1")
        .bind(key.to_string())
        .fetch_optional(connection)
        .await?;
    let key = || Box::new(key.clone());
    let unknown = || AnswerError::Unknown { key: key() };
    let unreadable = |error: UnitError| AnswerError::Unreadable { key: key(), reason: error.chain() };
    let row = row.ok_or_else(unknown)?;
    let outcome: &str = row.try_get("outcome")?;
    if outcome == "claimed" {
        return Err(unknown());
    }
    match recorded(outcome, row.try_get("reply")?, row.try_get("called_until")?).map_err(unreadable)? {
        Recorded::Done { reply } => Ok(Given::Before(GivenAnswer::Done { reply })),
        Recorded::Rejected(rejection) => Ok(Given::Before(GivenAnswer::Rejected(rejection))),
        Recorded::Fenced => Err(AnswerError::Fenced { key: key() }),
        Recorded::Open => {
            let asked: Option<&str> = row.try_get("asked_command")?;
            let asked = asked.and_then(|name| Name::new(name).ok()).ok_or_else(unknown)?;
            Err(AnswerError::OtherCommand { key: key(), asked, command: C::NAME })
        }
        Recorded::Prepared { .. } | Recorded::GivenUp { .. } => Err(unknown()),
    }
}
