//! Sets poison aside as dead letters, so that it never comes again.
//!
//! In this order, until one succeeds: the whole message as a letter in the broker's stream of dead letters; a reduced
//! letter there; a row in the service's own database if it has one, until the broker takes it (`kept_letters`); a line in the log. A
//! message is never put back because its letter was refused: it would hold one of the places among the unacknowledged, and
//! 10,000 of them stop a service. Only while broker and database are both away does it wait.

use futures_util::future::join_all;
use redress_core::message::PAYLOAD_BYTES_MAX;
use redress_core::{Outcome, ReplyMessage};
use redress_wire::delivery::AckHandle;
use redress_wire::{DeadLetter, Kept, Malformed, PublishError, ReplyAddress};

use crate::config::count;
use crate::dispatch::truncate_message;
use crate::kept_letters::{Row, keep};
use crate::post::Post;
use crate::unit_error::Disposition;
use crate::worker::Worker;

/// A letter, with the address of the reply and the acknowledgement that follow once it is kept.
pub(crate) struct Poison {
    letter: DeadLetter,
    address: Option<ReplyAddress>,
    pub(crate) ack: AckHandle,
}

impl<S: Send + Sync + 'static> Worker<S> {
    /// Keeps poison as dead letters: in the broker's stream, or, as long as it refuses them, here.
    pub(crate) async fn dead_letter(&self, poison: Vec<(Malformed, AckHandle)>) {
        if poison.is_empty() {
            return;
        }
        let not_kept = self.post.dead_letter(poison).await;
        if !not_kept.is_empty() {
            self.keep_here(not_kept).await;
        }
    }

    /// Keeps letters that the broker has refused in the service's own database.
    async fn keep_here(&self, poison: Vec<(Poison, PublishError)>) {
        let rows = poison.iter().map(|(poison, error)| Row::new(&poison.letter, error)).collect::<Vec<_>>();
        let kept =
            self.inbox.on_connection(|connection| Box::pin(async move { keep(connection, rows).await }));
        let kept = match kept.await {
            Ok(kept) => kept,
            Err(error) if matches!(error.disposition(), Disposition::Down | Disposition::Exhausted) => {
                let (service, error, count) = (&self.service, error.chain(), poison.len());
                tracing::warn!(%service, error, count, "failed to keep dead letters: broker and database refuse them; retrying");
                for (poison, _) in poison {
                    poison.ack.nak(self.inbox.config.database_down_pause).await;
                }
                return;
            }
            Err(error) => {
                tracing::error!(service = %self.service, error = error.chain(), "failed to keep dead letters in the database");
                0
            }
        };
        for (place, (poison, error)) in poison.into_iter().enumerate() {
            if place < kept {
                count(&self.inbox.stats.dead_letters_kept_here);
                self.post.end(poison).await;
            } else {
                self.post.keep_in_log(poison, &error).await;
            }
        }
    }
}

impl Post {
    /// Keeps poison as dead letters, tells its sagas, and takes it off the broker for good. Gives back what the broker does
    /// not keep.
    pub(crate) async fn dead_letter(
        &self,
        poison: Vec<(Malformed, AckHandle)>,
    ) -> Vec<(Poison, PublishError)> {
        let poison = poison.into_iter().map(|(malformed, ack)| self.letter(malformed, ack));
        let sent = join_all(poison.map(async |poison| {
            let kept = self.wire.publish_dead_letter(&poison.letter).await;
            (poison, kept)
        }));
        let mut not_kept = Vec::new();
        for (poison, kept) in sent.await {
            match kept {
                Ok(kept) => {
                    if kept == Kept::Reduced {
                        count(&self.stats.dead_letters_reduced);
                    }
                    self.end(poison).await;
                }
                Err(error) => not_kept.push((poison, error)),
            }
        }
        not_kept
    }

    /// Keeps a letter that is kept nowhere else in a line of the log.
    pub(crate) async fn keep_in_log(&self, poison: Poison, error: &PublishError) {
        let (service, letter) = (&self.service, &poison.letter);
        let payload = letter.payload[..letter.payload.len().min(200)].escape_ascii().to_string();
        tracing::error!(%service, %error, subject = %letter.subject, reason = %letter.reason, payload,
            "dead letter kept in this line alone");
        count(&self.stats.dead_letters_lost);
        self.end(poison).await;
    }

    fn letter(&self, mut malformed: Malformed, ack: AckHandle) -> Poison {
        // A message may be poison because it is too large to be kept whole.
        let bytes = malformed.payload.len();
        malformed.payload.truncate(PAYLOAD_BYTES_MAX);
        malformed.reason = truncate_message(&malformed.reason);
        let address = malformed.address.take();
        let mut letter = DeadLetter::new(self.service.clone(), malformed);
        letter.missing = (bytes > letter.payload.len()).then(|| format!("{bytes} bytes came"));
        Poison { letter, address, ack }
    }

    /// Tells its saga, and ends it.
    pub(crate) async fn end(&self, poison: Poison) {
        let reason = poison.letter.reason;
        tracing::warn!(service = %self.service, subject = %poison.letter.subject, %reason, "dead letter");
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
        poison.ack.term().await;
    }
}
