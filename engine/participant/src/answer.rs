//! After the commit: replies, acknowledgements, dead letters.

use std::time::Duration;

use futures_util::future::join_all;
use redress_core::fault::FaultKind;
use redress_core::message::PAYLOAD_BYTES_MAX;
use redress_core::{CommandMessage, Name, Outcome, ReplyMessage};
use redress_wire::delivery::Handle as Ack;
use redress_wire::{DeadLetter, Malformed, PublishError, ReplyAddress};

use crate::batch::Verdict;
use crate::erased::sayable;
use crate::settings::{EXIT_CODE_OF_INJECTED_CRASH, FaultObedience, count};
use crate::worker::{Member, Worker};

/// How long poison rests after its dead letter was refused. The stream of dead letters is full until somebody empties it,
/// which takes people longer than this; meanwhile the poison must not keep the service busy.
const DEAD_LETTERS_REFUSED_PAUSE: Duration = Duration::from_secs(30);

/// What an injected failure does to a delivery after the commit.
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

impl<S: Send + Sync + 'static> Worker<S> {
    /// After the commit: publish the replies, then acknowledge.
    pub(crate) async fn answer(&self, ruled: Vec<(Member, Verdict)>) {
        let mut replies = Vec::with_capacity(ruled.len());
        let mut done = Vec::with_capacity(ruled.len());
        let mut poison = Vec::new();
        let mut dies_after_reply = false;
        for (member, verdict) in ruled {
            let outcome = match verdict {
                Verdict::Answered(outcome) => outcome,
                Verdict::Poison { reason } => {
                    poison.push((self.poison(&member.command, reason), member.ack));
                    continue;
                }
            };
            match self.injected(&member) {
                Some(Aftermath::Silence) => continue,
                Some(Aftermath::NoReply) => done.push(member.ack),
                Some(Aftermath::ReplyLate(pause)) => member.ack.nak(pause).await,
                Some(Aftermath::NoAcknowledgement) => {
                    dies_after_reply |= self.settings.faults == FaultObedience::Exit;
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
        for failure in self.wire.publish_replies(&replies).await.into_iter().filter_map(Result::err) {
            tracing::debug!(service = %self.service, error = %failure, "reply not stored; the command is asked again");
        }
        if dies_after_reply {
            crash(&self.service);
        }
        for ack in done {
            ack.ack().await;
        }
        self.bury(poison).await;
    }

    /// The failure to play after a commit, if one was ordered and is obeyed. What comes again is answered from memory.
    fn injected(&self, member: &Member) -> Option<Aftermath> {
        let command = &member.command;
        let aftermath = match command.fault.as_ref()? {
            _ if self.settings.faults == FaultObedience::Refused => return None,
            FaultKind::DropReply => Aftermath::NoReply,
            FaultKind::CrashAfterCommit if self.settings.faults == FaultObedience::Exit => {
                crash(&self.service)
            }
            FaultKind::CrashAfterReply => Aftermath::NoAcknowledgement,
            FaultKind::CrashAfterCommit => Aftermath::Silence,
            FaultKind::DelayReply { ms } => Aftermath::ReplyLate(Duration::from_millis(*ms)),
            FaultKind::Duplicate => Aftermath::Again,
            FaultKind::Reject { .. }
            | FaultKind::Fail
            | FaultKind::Delay { .. }
            | FaultKind::DropCommand
            | FaultKind::CrashBeforeCommit => return None,
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

    /// A command that nobody can use, as it came.
    pub(crate) fn poison(&self, command: &CommandMessage, reason: String) -> Malformed {
        Malformed {
            address: Some(ReplyAddress {
                key: command.key.clone(),
                attempt: command.attempt,
                saga: command.saga.clone(),
                version: command.version,
            }),
            subject: self.wire.topology().command_subject(&command.service, &command.command),
            headers: redress_wire::headers::to_text(&redress_wire::headers::of_command(command, "")),
            payload: command.payload.as_bytes().to_vec(),
            reason,
        }
    }

    /// Keeps what nobody can use, tells its sagas, and never sees it again.
    pub(crate) async fn bury(&self, poison: Vec<(Malformed, Ack)>) {
        let buried = join_all(poison.into_iter().map(|(malformed, ack)| self.bury_one(malformed, ack))).await;
        let refusals: Vec<PublishError> = buried.into_iter().filter_map(Result::err).collect();
        if let Some(error) = refusals.first() {
            // Kept in the stream of commands instead: they come again and are buried then.
            let count = refusals.len();
            tracing::warn!(service = %self.service, %error, count, "dead letters not stored; again later");
        }
    }

    async fn bury_one(&self, mut poison: Malformed, ack: Ack) -> Result<(), PublishError> {
        let reason = sayable(&poison.reason);
        // A message may be poison because it is too large to be kept whole.
        poison.payload.truncate(PAYLOAD_BYTES_MAX);
        let letter = DeadLetter {
            service: self.service.clone(),
            subject: poison.subject,
            reason: reason.clone(),
            headers: poison.headers,
            payload: poison.payload,
        };
        if let Err(error) = self.wire.publish_dead_letter(&letter).await {
            ack.nak(match error {
                PublishError::StreamFull | PublishError::Refused(_) | PublishError::TooLarge { .. } => {
                    DEAD_LETTERS_REFUSED_PAUSE
                }
                PublishError::TimedOut | PublishError::NoStream => self.settings.database_down_pause,
            })
            .await;
            return Err(error);
        }
        tracing::warn!(service = %self.service, subject = %letter.subject, %reason, "dead letter");
        count(&self.stats.dead_letters);
        if let Some(address) = poison.address {
            let reply = ReplyMessage {
                key: address.key,
                attempt: address.attempt,
                saga: address.saga,
                version: address.version,
                service: self.service.clone(),
                outcome: Outcome::Refused { reason },
            };
            self.wire.publish_replies(&[reply]).await;
        }
        ack.term().await;
        Ok(())
    }
}

/// Ends the process, as an injected failure orders it.
pub(crate) fn crash(service: &Name) -> ! {
    tracing::warn!(%service, "injected crash");
    std::process::exit(EXIT_CODE_OF_INJECTED_CRASH)
}
