//! Takes the streams for a journal, makes those that are missing, and looks again after a lost connection
//! ([`crate::ownership`]).

use crate::ownership::Ownership;
use crate::streams::{self, StreamError};
use crate::wire::Wire;

impl Wire {
    /// Takes the streams for this journal: from now on nothing is published to those of another one, nor taken from them.
    ///
    /// # Errors
    /// [`StreamError::Stranger`] if they are another journal's; otherwise as [`Wire::ensure_streams`].
    pub async fn claim_streams(&self, journal: &str) -> Result<(), StreamError> {
        let found = self.inner.journal.get_or_init(|| journal.to_owned());
        if found != journal {
            let (stream, found, own) = (self.topology().commands_stream(), found.clone(), journal.to_owned());
            return Err(StreamError::Stranger { stream, found, own });
        }
        self.ensure_streams().await
    }

    /// Removes the streams, if they are those of this journal and of no other: it ends, and they with it.
    pub async fn remove_streams(&self) {
        match self.ownership() {
            Ownership::Ours(_) if self.inner.journal.get().is_some() => {}
            Ownership::Ours(_) | Ownership::Strange | Ownership::Unknown => return,
        }
        let (topology, link) = (self.topology(), self.link());
        for stream in [topology.commands_stream(), topology.replies_stream(), topology.dead_letters_stream()]
        {
            if let Err(error) = link.context.delete_stream(&stream).await {
                tracing::warn!(stream, %error, "failed to remove a stream");
            }
        }
    }

    /// Creates the streams that are missing, and brings those that differ into line.
    ///
    /// # Errors
    /// [`StreamError`] if the server refuses, or if they are another journal's.
    pub async fn ensure_streams(&self) -> Result<(), StreamError> {
        let (inner, link, connection) = (&self.inner, self.link(), self.connection());
        let journal = inner.journal.get().map(String::as_str);
        let result = streams::ensure(&link.context, &inner.topology, &inner.config, journal).await;
        let ownership = match &result {
            Ok(()) => Ownership::Ours(connection),
            Err(StreamError::Stranger { .. }) => Ownership::Strange,
            Err(_) => Ownership::Unknown,
        };
        *inner.ownership.lock().expect("nobody panics while holding the ownership") = ownership;
        result?;
        self.cast(&inner.command_anchor);
        self.cast(&inner.reply_anchor);
        Ok(())
    }

    /// Returns true if messages that are published now go to our own streams, as far as is known. After a connection
    /// was lost another installation may have made them, so they are looked at first.
    pub(crate) async fn may_publish(&self) -> bool {
        if self.inner.journal.get().is_none() {
            return true;
        }
        if self.ownership() == Ownership::Ours(self.connection()) {
            return true;
        }
        // Without an answer the message would not be stored either.
        !matches!(self.ensure_streams().await, Err(StreamError::Stranger { .. }))
    }
}
