//! The beginning of a batch: its transaction, and what the inbox knows of its keys.
//!
//! An action that was sent and delivered once is hardly ever known. A batch that claims nothing does not look for it: its
//! row is inserted in the end as one that was looked for in vain, and the unique key decides. If all its commands are
//! such, it asks the database nothing before its handlers run; the time, by which commands expire, was told to a batch
//! before it ([`crate::database_time`]).

use std::time::Duration;

use redress_core::inbox::keys_to_claim;
use redress_core::{CommandMessage, Phase, Timestamp};
use redress_postgres::answered;
use sqlx::{Connection, PgConnection, PgTransaction};

use crate::claims::Approach;
use crate::inbox::Inbox;
use crate::member::Arrival;
use crate::pace::ANSWER_BYTES_MAX;
use crate::store::{self, Memory};
use crate::unit_error::UnitError;

/// Begins the transaction of a batch, and learns from the inbox what it knows of its keys.
pub(super) async fn begin<'c, S>(
    connection: &'c mut PgConnection,
    inbox: &Inbox<S>,
    commands: &[CommandMessage],
    lock_wait: Duration,
    (approach, arrival): (Approach, Arrival),
) -> Result<(PgTransaction<'c>, Memory, Timestamp), UnitError> {
    let silence = inbox.config.silence_max;
    let begin = match approach {
        Approach::ClaimFirst => store::begin(lock_wait, inbox.handler_time_max),
        Approach::ReadFirst => store::begin_with_savepoint(lock_wait, inbox.handler_time_max),
    };
    let begun = answered(silence, connection.begin_with(begin)).await;
    let mut transaction = begun.map_err(UnitError::Unreachable)?;
    let keys = keys_of(commands.iter());
    let (memory, now) = match approach {
        Approach::ClaimFirst => {
            answered(silence, store::claim(&mut transaction, keys, ANSWER_BYTES_MAX)).await?
        }
        Approach::ReadFirst => {
            let perhaps_known = keys_of(commands.iter().filter(|command| may_be_known(command, arrival)));
            match inbox.database_time.now() {
                Some(now) if perhaps_known.is_empty() => return Ok((transaction, Memory::of_new(keys), now)),
                Some(_) | None => {
                    let read = store::read(&mut transaction, keys, perhaps_known, ANSWER_BYTES_MAX);
                    answered(silence, read).await?
                }
            }
        }
    };
    inbox.database_time.told(now);
    Ok((transaction, memory, now))
}

fn keys_of<'c>(commands: impl Iterator<Item = &'c CommandMessage>) -> Vec<String> {
    commands.flat_map(keys_to_claim).map(|key| key.to_string()).collect()
}

/// Returns true if the inbox may well know something that decides on this command.
fn may_be_known(command: &CommandMessage, arrival: Arrival) -> bool {
    match (command.key.phase, arrival) {
        (Phase::Action, Arrival::First) => command.attempt > 1,
        (Phase::Action, Arrival::Again) | (Phase::Compensation | Phase::Settlement, _) => true,
    }
}
