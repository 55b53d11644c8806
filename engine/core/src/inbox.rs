//! The rules of a participant's inbox, as a pure function.
//!
//! The inbox is a table of commands with their stored answers. It is authoritative for what happened in its service,
//! because a row commits together with the effect that it speaks of. The participant library claims the
//! [`keys_to_claim`] of a command by unique-key inserts (only these decide a race; looking first and writing then does
//! not), reads what was there before, and asks [`rule`] what to do.
//!
//! The rules, each shown necessary by the explorer in `redress-simulation`:
//!
//! 1. The same key gets the same answer, a remembered rejection included.
//! 2. An undo of something that never happened leaves a fence, and so does a settlement: the late original is
//!    refused from then on.
//!
//! | command | its own record | the action's record | ruling |
//! |---|---|---|---|
//! | any, older than the retention | | | `expired` |
//! | action | none | | run |
//! | action | done, rejected | | the stored answer |
//! | action | fence | | `fenced` |
//! | settlement | | done, rejected, fence | the action's outcome |
//! | settlement | | none | fence the action, `fenced` |
//! | compensation | done | | the stored answer |
//! | compensation | none | done | run |
//! | compensation | none | none | fence the action, `done` (nothing to undo) |
//! | compensation | none | rejected, fence | `done` (nothing to undo) |
//!
//! The same key with another payload is refused whatever the record says.

use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::ids::{IdempotencyKey, Name, Phase, Timestamp};
use crate::json::JsonText;
use crate::message::{CommandMessage, Outcome, Rejection};

/// SHA-256 of a command's name and payload: tells a repeated command from another one under the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// The fingerprint of this command with this payload.
    pub fn of(command: &Name, payload: &JsonText) -> Self {
        let hash =
            Sha256::new().chain_update(command.as_bytes()).chain_update([0]).chain_update(payload.as_bytes());
        Self(hash.finalize().into())
    }
}

/// The inbox's record of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Of the command that made the record; a bare fence has none.
    pub fingerprint: Option<Fingerprint>,
    /// The answer to the command.
    pub recorded: Recorded,
}

/// A remembered answer. `failed` is never remembered: the coordinator sends the command again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It happened, with this reply.
    Done {
        /// The reply, byte for byte.
        reply: JsonText,
    },
    /// The business said no.
    Rejected(Rejection),
    /// It never happened and never will. Only on an action's key.
    Fenced,
}

impl Record {
    /// The record of an action that never happened and must not.
    pub const fn fence() -> Self {
        Self { fingerprint: None, recorded: Recorded::Fenced }
    }

    fn outcome(&self) -> Outcome {
        match &self.recorded {
            Recorded::Done { reply } => Outcome::Done { reply: reply.clone() },
            Recorded::Rejected(rejection) => Outcome::Rejected(rejection.clone()),
            Recorded::Fenced => Outcome::Fenced,
        }
    }
}

/// How long the inbox remembers.
///
/// Rows are pruned after `keep`; an action older than `keep` less `margin` is answered `expired`, so that no
/// message is ever judged by an inbox that may have forgotten it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Age after which a record may be pruned.
    pub keep: Duration,
    /// Room for a message that waits in a stream while rows are pruned, and for clocks that differ.
    pub margin: Duration,
}

impl Retention {
    /// Thirty days, with one day of margin.
    pub const DEFAULT: Self =
        Self { keep: Duration::from_secs(30 * 86_400), margin: Duration::from_secs(86_400) };

    fn is_expired(&self, action_sent_at: Timestamp, now: Timestamp) -> bool {
        let age = (now - action_sent_at).to_std().unwrap_or(Duration::ZERO);
        age > self.keep.saturating_sub(self.margin)
    }
}

/// The inbox's ruling on a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// Run the handler and record its answer under the command's own key.
    Run,
    /// Answer without running anything, after storing these new records.
    Answer {
        /// The answer.
        outcome: Outcome,
        /// Records to store in the same transaction.
        record: Vec<(IdempotencyKey, Record)>,
    },
    /// Neither run nor answer from memory: this is not the command that the key stands for.
    Refuse {
        /// Why, for people.
        reason: String,
    },
}

/// The keys that must be claimed before the ruling: the command's own and, of an undo or a settlement, its action's
/// as a fence. In the order in which [`rule`] names them; a batch sorts them all together.
pub fn keys_to_claim(message: &CommandMessage) -> Vec<IdempotencyKey> {
    match message.key.phase {
        Phase::Action => vec![message.key.clone()],
        Phase::Settlement => vec![message.key.of_action()],
        Phase::Compensation => vec![message.key.of_action(), message.key.clone()],
    }
}

/// Rules on a command, given what the inbox remembered of its own key and of its action's key.
pub fn rule(
    message: &CommandMessage,
    own: Option<&Record>,
    action: Option<&Record>,
    now: Timestamp,
    retention: &Retention,
) -> Ruling {
    if retention.is_expired(message.action_sent_at, now) {
        return Ruling::Answer { outcome: Outcome::Expired, record: Vec::new() };
    }
    match message.key.phase {
        Phase::Action => rule_on_action(message, own),
        Phase::Settlement => rule_on_settlement(message, action),
        Phase::Compensation => rule_on_compensation(message, own, action),
    }
}

fn rule_on_action(message: &CommandMessage, own: Option<&Record>) -> Ruling {
    match own {
        None => Ruling::Run,
        Some(record) => remembered(message, record),
    }
}

fn rule_on_settlement(message: &CommandMessage, action: Option<&Record>) -> Ruling {
    match action {
        Some(record) => Ruling::Answer { outcome: record.outcome(), record: Vec::new() },
        None => Ruling::Answer {
            outcome: Outcome::Fenced,
            record: vec![(message.key.of_action(), Record::fence())],
        },
    }
}

fn rule_on_compensation(message: &CommandMessage, own: Option<&Record>, action: Option<&Record>) -> Ruling {
    if let Some(record) = own {
        return remembered(message, record);
    }
    match action.map(|record| &record.recorded) {
        Some(Recorded::Done { .. }) => Ruling::Run,
        Some(Recorded::Rejected(_) | Recorded::Fenced) => nothing_to_undo(message, None),
        None => nothing_to_undo(message, Some((message.key.of_action(), Record::fence()))),
    }
}

fn nothing_to_undo(message: &CommandMessage, fence: Option<(IdempotencyKey, Record)>) -> Ruling {
    let own = Record {
        fingerprint: Some(Fingerprint::of(&message.command, &message.payload)),
        recorded: Recorded::Done { reply: JsonText::null() },
    };
    Ruling::Answer {
        outcome: Outcome::Done { reply: JsonText::null() },
        record: fence.into_iter().chain([(message.key.clone(), own)]).collect(),
    }
}

/// The stored answer, if this is the command that was stored.
fn remembered(message: &CommandMessage, record: &Record) -> Ruling {
    let same = match record.fingerprint {
        Some(stored) => stored == Fingerprint::of(&message.command, &message.payload),
        None => true,
    };
    if same {
        Ruling::Answer { outcome: record.outcome(), record: Vec::new() }
    } else {
        Ruling::Refuse {
            reason: format!(
                "the key {} was used before with another payload: a key stands for one command; \
                 nothing was done, look for who sent it",
                message.key
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(phase: &str, payload: &str) -> CommandMessage {
        let name = |text| Name::new(text).expect("a name");
        CommandMessage {
            key: format!("0190163d-8694-739b-aea5-966c26f8ad91/charge/{phase}/1").parse().unwrap(),
            attempt: 1,
            saga: name("s"),
            version: 1,
            service: name("payment"),
            command: name("charge"),
            action_sent_at: Timestamp::UNIX_EPOCH,
            fault: None,
            traceparent: None,
            payload: JsonText::parse(payload.as_bytes()).unwrap(),
        }
    }

    fn record(message: &CommandMessage, recorded: Recorded) -> Record {
        Record { fingerprint: Some(Fingerprint::of(&message.command, &message.payload)), recorded }
    }

    fn tell(ruling: &Ruling) -> String {
        match ruling {
            Ruling::Run => "run".to_owned(),
            Ruling::Refuse { .. } => "refuse".to_owned(),
            Ruling::Answer { outcome, record } => {
                let stored: Vec<String> = record
                    .iter()
                    .map(|(key, record)| format!("{}={}", key.phase, record.outcome().as_str()))
                    .collect();
                format!("answer {}, store [{}]", outcome.as_str(), stored.join(" "))
            }
        }
    }

    #[test]
    fn inbox_rulings_match_the_table_in_the_module_doc() {
        let done = Recorded::Done { reply: JsonText::null() };
        let rejected = Recorded::Rejected(Rejection::new("no", "no"));
        let mut story = String::new();
        for phase in ["action", "settlement", "compensation"] {
            let message = message(phase, "{}");
            for action in [None, Some(done.clone()), Some(rejected.clone()), Some(Recorded::Fenced)] {
                let word = action.as_ref().map_or("none", |a| record(&message, a.clone()).outcome().as_str());
                let action = action.map(|a| record(&message, a));
                let own = if phase == "action" { action.as_ref() } else { None };
                let ruling = rule(&message, own, action.as_ref(), Timestamp::UNIX_EPOCH, &Retention::DEFAULT);
                story.push_str(&format!("{phase:<12} action {word:<8} -> {}\n", tell(&ruling)));
            }
        }
        insta::assert_snapshot!(story, @r"
        action       action none     -> run
        action       action done     -> answer done, store []
        action       action rejected -> answer rejected, store []
        action       action fenced   -> answer fenced, store []
        settlement   action none     -> answer fenced, store [action=fenced]
        settlement   action done     -> answer done, store []
        settlement   action rejected -> answer rejected, store []
        settlement   action fenced   -> answer fenced, store []
        compensation action none     -> answer done, store [action=fenced compensation=done]
        compensation action done     -> run
        compensation action rejected -> answer done, store [compensation=done]
        compensation action fenced   -> answer done, store [compensation=done]
        ");
    }

    #[test]
    fn changed_payload_under_same_key_is_refused() {
        let first = message("action", r#"{"amount":1}"#);
        let forged = message("action", r#"{"amount":1000000}"#);
        let stored = record(&first, Recorded::Done { reply: JsonText::null() });
        let ruling = rule(&forged, Some(&stored), Some(&stored), Timestamp::UNIX_EPOCH, &Retention::DEFAULT);
        assert!(matches!(ruling, Ruling::Refuse { .. }), "{ruling:?}");
    }

    #[test]
    fn command_older_than_retention_is_expired() {
        let retention = Retention { keep: Duration::from_secs(100), margin: Duration::from_secs(10) };
        for phase in ["action", "settlement", "compensation"] {
            let at = |seconds| Timestamp::UNIX_EPOCH + Duration::from_secs(seconds);
            let ruling = |now| tell(&rule(&message(phase, "{}"), None, None, now, &retention));
            assert_ne!(ruling(at(90)), "answer expired, store []", "{phase}");
            assert_eq!(ruling(at(91)), "answer expired, store []", "{phase}");
        }
    }
}
