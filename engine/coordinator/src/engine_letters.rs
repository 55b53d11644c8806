//! Dead letters as operators handle them: looked at, replayed, discarded.
//!
//! A replay marks the letter first and publishes the message after that commit, so that two operators never publish it
//! twice. If the coordinator dies in between, the letter is kept again after a minute (`housekeeping`); if it was
//! published all the same, a second replay within the broker's window is stored once, and after that the service's inbox,
//! or the saga, recognises it.

use std::collections::BTreeMap;

use redress_core::dead_letter::{LetterRefusal, LetterStatus, LetterVerb, decide};
use serde::Serialize;
use thiserror::Error;
use uuid::Uuid;

use crate::engine::Engine;
use crate::letter_view::{LetterView, contents};
use crate::ports::{
    Bus, Clock, JournalError, JournalLetters, LetterFilter, LetterGroup, LetterRow, LetterStep, RawMessage,
    Rows,
};
use crate::view::Page;

/// Letters that one request replays or discards, at the most: few enough to be answered in a moment.
pub const LETTERS_MAX: i64 = 50;

/// What an operator does with a letter, who, and why.
#[derive(Clone, Debug)]
pub struct LetterRequest {
    /// What is done.
    pub verb: LetterVerb,
    /// The operator.
    pub actor: String,
    /// The operator's reason.
    pub reason: String,
}

/// Nothing was done with a letter.
#[derive(Debug, Error)]
pub enum LetterError {
    /// There is no such letter.
    #[error("there is no dead letter {0}")]
    NotFound(Uuid),
    /// It may not be done with this one.
    #[error("`{}` of dead letter {}: {refusal}", verb.as_str(), letter.id)]
    Refused {
        /// The verb that was refused.
        verb: LetterVerb,
        /// The reason of the refusal.
        refusal: LetterRefusal,
        /// The letter as it is.
        letter: Box<LetterView>,
    },
    /// The broker has not said that it has stored the message; the letter is kept as before.
    #[error(
        "the message of dead letter {} was not published, and the letter is kept as before: {reason}; replay it again when \
         the broker is back", letter.id
    )]
    NotPublished {
        /// The broker's reason.
        reason: String,
        /// The letter as it is.
        letter: Box<LetterView>,
    },
    /// The journal could not do it.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// The outcome of a page of letters that were to be replayed or discarded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ChangedLetters {
    /// Letters that the filter found.
    pub matched: u64,
    /// Those that were replayed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replayed: Option<u64>,
    /// Those that were discarded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discarded: Option<u64>,
    /// Those that were refused, by the code of the refusal.
    pub refused: BTreeMap<String, u64>,
    /// The id after which to go on; nothing if that was all.
    pub next: Option<String>,
}

impl<J: JournalLetters, B: Bus, C: Clock> Engine<J, B, C> {
    /// A page of dead letters, newest first, without their bodies; `next` is the id to go on after.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub async fn dead_letters(&self, filter: &LetterFilter) -> Result<Page<LetterView>, JournalError> {
        let Rows { rows, more } = self.parts.decider.journal.letters(filter).await?;
        let next = rows.last().filter(|_| more).map(|row| row.letter.id.to_string());
        let items = rows.into_iter().map(LetterView::listed).collect();
        Ok(Page { items, next, searched_back_to: None, unreadable: Vec::new() })
    }

    /// A dead letter with its headers and its body.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub async fn dead_letter(&self, id: Uuid) -> Result<Option<LetterView>, JournalError> {
        Ok(self.parts.decider.journal.letter(id).await?.map(LetterView::whole))
    }

    /// The number of dead letters that the filter finds, by source and kind of reason.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub async fn dead_letter_groups(&self, filter: &LetterFilter) -> Result<Vec<LetterGroup>, JournalError> {
        self.parts.decider.journal.letter_groups(filter).await
    }

    /// Replays or discards a dead letter; audited in the same transaction.
    ///
    /// # Errors
    /// [`LetterError`] gives the reason for a refusal, with the letter as it is.
    pub async fn change_dead_letter(
        &self,
        id: Uuid,
        request: LetterRequest,
    ) -> Result<LetterView, LetterError> {
        let engine = self.clone();
        // In a task of its own: what was begun is finished, also if the caller goes away.
        let changed = self.parts.tasks.spawn(async move { engine.change_letter(id, request).await });
        changed.await.unwrap_or(Err(JournalError::Panicked.into()))
    }

    async fn change_letter(&self, id: Uuid, request: LetterRequest) -> Result<LetterView, LetterError> {
        let (journal, bus) = (&self.parts.decider.journal, &self.parts.publisher.bus);
        let LetterRequest { verb, actor, reason } = request;
        let before = self.letter_row(id).await?;
        let contents = contents(&before.letter, |subject| bus.carries(subject));
        let refused = |refusal, row| {
            let letter = Box::new(LetterView::listed(row));
            Err(LetterError::Refused { verb, refusal, letter })
        };
        let status = match decide(verb, before.state.status(), contents) {
            Ok(status) => status,
            Err(refusal) => return refused(refusal, before),
        };
        let command_id = self.parts.decider.clock.new_id();
        let decided = LetterStep::Decided { id, verb, command_id, actor, reason };
        if !journal.move_letter(decided).await? {
            // Another operator was there first.
            let now = self.letter_row(id).await?;
            let refusal = decide(verb, now.state.status(), contents).err();
            return refused(refusal.unwrap_or(LetterRefusal::BeingReplayed), now);
        }
        match status {
            LetterStatus::Replaying => self.publish_letter(before).await,
            LetterStatus::Kept | LetterStatus::Replayed | LetterStatus::Discarded => {
                Ok(LetterView::listed(self.letter_row(id).await?))
            }
        }
    }

    /// Publishes the message of a letter that is marked, and says in the journal what came of it.
    async fn publish_letter(&self, row: LetterRow) -> Result<LetterView, LetterError> {
        let (journal, bus) = (&self.parts.decider.journal, &self.parts.publisher.bus);
        let letter = row.letter;
        let (id, message_id) = (letter.id, format!("dead-letter/{}", letter.id));
        let message =
            RawMessage { subject: letter.subject, headers: letter.headers, payload: letter.payload };
        match bus.replay(message_id, &message).await {
            Ok(()) => {
                journal.move_letter(LetterStep::Published { id }).await?;
                Ok(LetterView::listed(self.letter_row(id).await?))
            }
            Err(unsent) => {
                journal.move_letter(LetterStep::NotPublished { id }).await?;
                let letter = Box::new(LetterView::listed(self.letter_row(id).await?));
                Err(LetterError::NotPublished { reason: unsent.reason().to_owned(), letter })
            }
        }
    }

    async fn letter_row(&self, id: Uuid) -> Result<LetterRow, LetterError> {
        self.parts.decider.journal.letter(id).await?.ok_or(LetterError::NotFound(id))
    }

    /// Replays or discards the dead letters that the filter finds, at most [`LETTERS_MAX`] of them; only kept ones unless it
    /// says otherwise. The client goes on with `next` until there is none.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer; what was done by then stays so.
    pub async fn change_dead_letters(
        &self,
        mut filter: LetterFilter,
        request: &LetterRequest,
    ) -> Result<ChangedLetters, JournalError> {
        filter.limit = filter.limit.clamp(1, LETTERS_MAX);
        filter.status.get_or_insert(LetterStatus::Kept);
        let page = self.dead_letters(&filter).await?;
        let (mut changed, mut done) = (ChangedLetters { next: page.next, ..Default::default() }, 0);
        for letter in page.items {
            changed.matched += 1;
            match refused(self.change_dead_letter(letter.id, request.clone()).await.map(drop))? {
                None => done += 1,
                Some(code) => *changed.refused.entry(code).or_default() += 1,
            }
        }
        match request.verb {
            LetterVerb::Replay => changed.replayed = Some(done),
            LetterVerb::Discard => changed.discarded = Some(done),
        }
        Ok(changed)
    }
}

/// The code with which something was refused, if it was.
fn refused(changed: Result<(), LetterError>) -> Result<Option<String>, JournalError> {
    Ok(Some(match changed {
        Ok(()) => return Ok(None),
        Err(LetterError::Refused { refusal, .. }) => refusal.as_str().to_owned(),
        Err(LetterError::NotFound(_)) => "not-found".to_owned(),
        Err(LetterError::NotPublished { .. }) => "not-published".to_owned(),
        Err(LetterError::Journal(error)) if error.is_unavailable() => return Err(error),
        Err(LetterError::Journal(_)) => "unreadable".to_owned(),
    }))
}
