//! The beginning of a batch: its transaction, and what the inbox knows of its keys.
//!
//! An action that is young, of the first attempt, and delivered once is hardly ever known. A batch that claims nothing does
//! not look for it: its row is inserted in the end as one that was looked for in vain, and the unique key decides. If all
//! its commands are such, it asks the database nothing before its handlers run; the time, by which commands expire, was given
//! to a batch before it ([`crate::database_time`]).
//!
//! A coordinator sends a command again under the same attempt, too: what it could not publish, questions that are open,
//! dead letters. So an action that is not young is read. It must be: a question that is open may be older than the retention,
//! and is not expired.

use std::time::Duration;

use redress_core::inbox::{Retention, keys_to_claim};
use redress_core::{CommandMessage, Phase, Timestamp};
use redress_postgres::answered;
use sqlx::{Connection, PgConnection, PgTransaction};

use crate::claims::Approach;
use crate::inbox::Inbox;
use crate::member::Arrival;
use crate::pace::ANSWER_BYTES_MAX;
use crate::store::{self, Memory};
use crate::unit_error::UnitError;

/// The age up to which an action may be new. A coordinator asks again later than that where the attempt stays the same, and
/// within it the broker drops a message that was published before.
const YOUNG_MAX: Duration = Duration::from_secs(60);

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
            let carried = inbox.database_time.now();
            let young_max = young_max(&inbox.config.retention);
            let is_perhaps_known =
                |command: &&CommandMessage| may_be_known(command, arrival, carried, young_max);
            let perhaps_known = keys_of(commands.iter().filter(is_perhaps_known));
            if let Some(now) = carried
                && perhaps_known.is_empty()
            {
                return Ok((transaction, Memory::of_new(keys), now));
            }
            let read = store::read(&mut transaction, keys, perhaps_known, ANSWER_BYTES_MAX);
            answered(silence, read).await?
        }
    };
    inbox.database_time.given(now);
    Ok((transaction, memory, now))
}

fn keys_of<'c>(commands: impl Iterator<Item = &'c CommandMessage>) -> Vec<String> {
    commands.flat_map(keys_to_claim).map(|key| key.to_string()).collect()
}

/// The age up to which an action is young: none that has expired is.
fn young_max(retention: &Retention) -> Duration {
    YOUNG_MAX.min(retention.keep.saturating_sub(retention.margin))
}

/// Returns true if the inbox may well know something that decides on this command, or if the time is not known.
fn may_be_known(
    command: &CommandMessage,
    arrival: Arrival,
    now: Option<Timestamp>,
    young_max: Duration,
) -> bool {
    let age = now.and_then(|now| (now - command.action_sent_at).abs().to_std().ok());
    let is_young = age.is_some_and(|age| age <= young_max);
    match (command.key.phase, arrival) {
        (Phase::Action, Arrival::First) => command.attempt > 1 || !is_young,
        (Phase::Action, Arrival::Again) | (Phase::Compensation | Phase::Settlement, _) => true,
    }
}

#[cfg(test)]
mod tests {
    use redress_core::{JsonText, Name};

    use super::*;

    #[test]
    fn young_action_of_first_attempt_and_delivery_alone_is_not_read() {
        let name = |text| Name::new(text).unwrap();
        let sent_at = Timestamp::UNIX_EPOCH + Duration::from_secs(1_000);
        let command = |phase: &str, attempt| CommandMessage {
            key: format!("0190163d-8694-739b-aea5-966c26f8ad91/charge/{phase}/1").parse().unwrap(),
            attempt,
            saga: name("s"),
            version: 1,
            service: name("payment"),
            command: name("charge"),
            action_sent_at: sent_at,
            fault: None,
            traceparent: None,
            payload: JsonText::null(),
        };
        let second = |second| Some(Timestamp::UNIX_EPOCH + Duration::from_secs(second));
        let cases = [
            ("young", command("action", 1), Arrival::First, second(1_060), false),
            ("a clock ahead", command("action", 1), Arrival::First, second(940), false),
            ("old", command("action", 1), Arrival::First, second(1_061), true),
            ("a clock far ahead", command("action", 1), Arrival::First, second(939), true),
            ("no time", command("action", 1), Arrival::First, None, true),
            ("second attempt", command("action", 2), Arrival::First, second(1_000), true),
            ("second delivery", command("action", 1), Arrival::Again, second(1_000), true),
            ("an undo", command("compensation", 1), Arrival::First, second(1_000), true),
            ("a settlement", command("settlement", 1), Arrival::First, second(1_000), true),
        ];
        for (case, command, arrival, now, read) in cases {
            assert_eq!(may_be_known(&command, arrival, now, YOUNG_MAX), read, "{case}");
        }
    }

    #[test]
    fn action_that_has_expired_is_not_young() {
        let second = Duration::from_secs;
        let retention = Retention { keep: second(100), margin: second(90) };
        assert_eq!(young_max(&retention), second(10));
        assert_eq!(young_max(&Retention::DEFAULT), YOUNG_MAX);
    }
}
