//! `retry` of all sagas that a filter finds, page by page.
//!
//! Each is an operator command of its own, decided under its row lock and audited like any other: a page is only a
//! shorter way to say the same many times. The client goes on with `next` until there is none, and may begin again at
//! any time: a saga that was tried again is no longer parked, or is parked anew.

use std::collections::BTreeMap;

use redress_core::decide::{OperatorCommand, Verb};
use serde::Serialize;

use crate::engine::Engine;
use crate::ports::{Bus, Clock, JournalError, JournalReads, ListFilter};
use crate::requests::{OperatorError, OperatorRequest};

/// Sagas that one request tries again, at the most: few enough to be answered in a moment.
pub const RETRIES_MAX: i64 = 50;

/// The status of the sagas that are tried again unless the filter says otherwise.
const PARKED: &str = "parked";

/// The outcome of a page of retries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Retried {
    /// Sagas that the filter found.
    pub matched: u64,
    /// Those that were tried again.
    pub retried: u64,
    /// Those that were refused, by the code of the refusal.
    pub refused: BTreeMap<String, u64>,
    /// The id after which to go on; nothing if that was all.
    pub next: Option<String>,
}

impl<J: JournalReads, B: Bus, C: Clock> Engine<J, B, C> {
    /// Tries again the sagas that the filter finds, at most [`RETRIES_MAX`] of them; only parked ones unless it says
    /// otherwise.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer; sagas that were tried again by then stay so.
    pub async fn retry_all(
        &self,
        mut filter: ListFilter,
        actor: &str,
        reason: &str,
    ) -> Result<Retried, JournalError> {
        filter.limit = filter.limit.clamp(1, RETRIES_MAX);
        filter.status.get_or_insert_with(|| PARKED.to_owned());
        let page = self.sagas(filter).await?;
        let mut retried = Retried { next: page.next, ..Retried::default() };
        for saga in page.items {
            let verb = Verb::Retry { step: None };
            let command = OperatorCommand { verb, actor: actor.to_owned(), reason: reason.to_owned() };
            // On the revision that was seen: a saga that has moved since is not the one that was found.
            let request = OperatorRequest { command, if_match: Some(vec![saga.revision]) };
            retried.matched += 1;
            match refused(self.operate(saga.id, request).await.map(drop))? {
                None => retried.retried += 1,
                Some(code) => *retried.refused.entry(code).or_default() += 1,
            }
        }
        for _ in page.unreadable {
            retried.matched += 1;
            *retried.refused.entry("unreadable".to_owned()).or_default() += 1;
        }
        Ok(retried)
    }
}

/// The code with which an operator command was refused, if it was.
fn refused(ordered: Result<(), OperatorError>) -> Result<Option<String>, JournalError> {
    Ok(Some(match ordered {
        Ok(()) => return Ok(None),
        Err(OperatorError::Refused { refusal, .. }) => refusal.as_str().to_owned(),
        Err(OperatorError::NotFound(_)) => "not-found".to_owned(),
        Err(OperatorError::StaleRevision(_)) => "moved-on".to_owned(),
        Err(OperatorError::VersionNotHere(..)) => "version-not-here".to_owned(),
        Err(OperatorError::Journal(error)) if error.is_unavailable() => return Err(error),
        Err(OperatorError::Journal(_)) => "unreadable".to_owned(),
    }))
}
