//! Sends replies and acknowledgements: after the commit, or, where there is none, after the handler.

use std::time::Duration;

use redress_core::fault::FaultKind;
use redress_core::{CommandMessage, LetterCode, Outcome, ReplyMessage};
use redress_wire::delivery::AckHandle;
use redress_wire::{Malformed, ReplyAddress};

use crate::config::{FaultMode, count};
use crate::crash::{CrashPoint, crash};
use crate::member::{Member, Verdict};
use crate::post::Post;
use crate::worker::Worker;

/// The effect of an injected failure on a delivery after the commit.
enum Aftermath {
    /// No reply and no acknowledgement.
    Silence,
    NoReply,
    ReplyLate(Duration),
    /// The reply, and the command again.
    Again,
    /// The reply, and no acknowledgement.
    NoAcknowledgement,
}

/// What is left when those that were ruled on are answered.
#[derive(Default)]
pub(crate) struct Answered {
    pub(crate) unruled: Unruled,
    /// To be set aside.
    pub(crate) poison: Vec<(Malformed, AckHandle)>,
}

/// Commands without a ruling.
#[derive(Default)]
pub(crate) struct Unruled {
    /// For the next transaction.
    pub(crate) left: Vec<Member>,
    /// Each for a transaction of its own.
    pub(crate) apart: Vec<Member>,
}

impl<S: Send + Sync + 'static> Worker<S> {
    /// After the commit: publish the replies, then acknowledge. Gives back those that were not ruled on.
    pub(crate) async fn answer(&self, ruled: Vec<(Member, Verdict)>) -> Unruled {
        let Answered { unruled, poison } = self.post.answer(ruled).await;
        self.dead_letter(poison).await;
        unruled
    }
}

impl Post {
    /// Publishes the replies, then acknowledges. Gives back those that were not ruled on, and poison.
    pub(crate) async fn answer(&self, ruled: Vec<(Member, Verdict)>) -> Answered {
        let mut unruled = Unruled::default();
        let mut replies = Vec::with_capacity(ruled.len());
        let mut done = Vec::with_capacity(ruled.len());
        let mut poison = Vec::new();
        let mut dies_after_reply = false;
        for (member, verdict) in ruled {
            let outcome = match verdict {
                Verdict::Answered(outcome) => {
                    if outcome == Outcome::Accepted {
                        self.config.crash.pass(CrashPoint::AfterLater, &member.command.key);
                    }
                    outcome
                }
                Verdict::Poison { code, reason } => {
                    poison.push((self.poison(&member.command, code, reason), member.ack));
                    continue;
                }
                Verdict::Left => {
                    unruled.left.push(member);
                    continue;
                }
                Verdict::Apart => {
                    unruled.apart.push(member);
                    continue;
                }
                Verdict::Later(pause) => {
                    member.ack.nak(pause).await;
                    continue;
                }
                // Carried out before it comes here: a lease that is left alone ends by itself.
                Verdict::Calls(_) => continue,
            };
            match self.injected(&member) {
                Some(Aftermath::Silence) => continue,
                Some(Aftermath::NoReply) => done.push(member.ack),
                Some(Aftermath::ReplyLate(pause)) => member.ack.nak(pause).await,
                Some(Aftermath::NoAcknowledgement) => {
                    dies_after_reply |= self.config.faults == FaultMode::Exit;
                    replies.push(self.reply(&member.command, outcome));
                }
                Some(Aftermath::Again) => {
                    replies.push(self.reply(&member.command, outcome));
                    member.ack.nak(Duration::ZERO).await;
                }
                None => {
                    replies.push(self.reply(&member.command, outcome));
                    done.push(member.ack);
                }
            }
        }
        self.publish(&replies).await;
        if dies_after_reply {
            crash(&self.service);
        }
        for ack in done {
            ack.ack().await;
        }
        Answered { unruled, poison }
    }

    /// A reply that the broker does not take is not lost: its command is asked again.
    async fn publish(&self, replies: &[ReplyMessage]) {
        for failure in self.wire.publish_replies(replies).await.into_iter().filter_map(Result::err) {
            tracing::debug!(service = %self.service, error = %failure, "reply not stored; the command is asked again");
        }
    }

    /// The failure to play after a commit, if one was ordered and is obeyed. A redelivered command is answered from
    /// memory.
    fn injected(&self, member: &Member) -> Option<Aftermath> {
        let command = &member.command;
        let aftermath = match command.fault.as_ref()? {
            _ if self.config.faults == FaultMode::Refused => return None,
            FaultKind::DropReply => Aftermath::NoReply,
            FaultKind::CrashAfterCommit if self.config.faults == FaultMode::Exit => crash(&self.service),
            FaultKind::CrashAfterReply => Aftermath::NoAcknowledgement,
            FaultKind::CrashAfterCommit => Aftermath::Silence,
            FaultKind::DelayReply { ms } => Aftermath::ReplyLate(Duration::from_millis(*ms)),
            FaultKind::Duplicate => Aftermath::Again,
            FaultKind::Reject { .. }
            | FaultKind::Fail
            | FaultKind::Delay { .. }
            | FaultKind::DropCommand
            | FaultKind::CrashBeforeCommit
            | FaultKind::CallLost
            | FaultKind::CallLate
            | FaultKind::CallTwice
            | FaultKind::CallFailed => return None,
        };
        count(&self.stats.injected);
        Some(aftermath)
    }

    fn reply(&self, command: &CommandMessage, outcome: Outcome) -> ReplyMessage {
        ReplyMessage {
            key: command.key.clone(),
            attempt: command.attempt,
            saga: command.saga.clone(),
            version: command.version,
            service: self.service.clone(),
            outcome,
        }
    }

    /// A command that no participant can use, as it came.
    pub(crate) fn poison(&self, command: &CommandMessage, code: LetterCode, reason: String) -> Malformed {
        let topology = self.wire.topology();
        let reply_to = topology.reply_subject_of(&command.service, &command.saga, command.version);
        Malformed {
            code,
            address: Some(ReplyAddress {
                key: command.key.clone(),
                attempt: command.attempt,
                saga: command.saga.clone(),
                version: command.version,
            }),
            subject: topology.command_subject(&command.service, &command.command),
            headers: redress_wire::headers::to_text(&redress_wire::headers::of_command(command, &reply_to)),
            payload: command.payload.as_bytes().to_vec(),
            reason,
        }
    }
}
