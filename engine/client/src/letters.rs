//! Dead letters: which are looked for, how they are shown, and what is done with them.

use std::collections::BTreeMap;

use redress_core::dead_letter::{LetterCode, LetterStatus, LetterVerb};
use redress_core::{JsonText, SagaId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::call::Call;
use crate::client::Client;
use crate::error::ClientError;
use crate::view::Page;

/// Conditions that a dead letter must meet, all of them, and the page of those that do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LetterQuery {
    /// With this kind of reason.
    pub code: Option<LetterCode>,
    /// Of this service, or of `coordinator`.
    pub source: Option<String>,
    /// About this saga.
    pub saga: Option<SagaId>,
    /// Of this status.
    pub status: Option<LetterStatus>,
    /// Arrived at or after this time.
    pub since: Option<Timestamp>,
    /// Arrived before this time.
    pub until: Option<Timestamp>,
    /// At most so many, 1 to 200; 50 if nothing is said.
    pub limit: Option<u32>,
    /// Where the page before ended: its `next`.
    pub cursor: Option<String>,
}

impl LetterQuery {
    /// As the API takes them.
    fn parameters(&self) -> Vec<(&'static str, String)> {
        let time = |time: Option<Timestamp>| time.map(|time| time.to_rfc3339());
        let all = [
            ("code", self.code.map(|code| code.to_string())),
            ("source", self.source.clone()),
            ("saga", self.saga.map(|saga| saga.to_string())),
            ("status", self.status.map(|status| status.to_string())),
            ("since", time(self.since)),
            ("until", time(self.until)),
            ("limit", self.limit.map(|limit| limit.to_string())),
            ("cursor", self.cursor.clone()),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// A message that could not be used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Its id.
    pub id: Uuid,
    /// When the journal took it.
    pub at: Timestamp,
    /// The service that gave the message up, or `coordinator`.
    pub source: String,
    /// The kind of reason, as one word: a [`LetterCode`], or one that a newer coordinator has added.
    pub code: String,
    /// Why the message could not be used.
    pub reason: String,
    /// The saga that it was about, if that is known.
    pub saga_id: Option<SagaId>,
    /// The step that it was about, if that is known.
    pub step: Option<String>,
    /// The phase of the step.
    pub phase: Option<String>,
    /// The subject on which it came.
    pub subject: String,
    /// The length of its body, in bytes.
    pub payload_bytes: u64,
    /// What came and is not in the letter; nothing if all of it is.
    pub missing: Option<String>,
    /// What became of it, as one word: a [`LetterStatus`], or one that a newer coordinator has added.
    pub status: String,
    /// Who decided on it, and why.
    pub decision: Option<LetterDecision>,
    /// The headers of the message, each a name and a value; not in a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<Vec<(String, String)>>,
    /// Its body, if that is JSON; not in a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<JsonText>,
    /// Its body in base64, if it is no JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_base64: Option<String>,
    /// Its body as text, as far as it is text, if it is no JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_text: Option<String>,
    /// Members that are not known here.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// The decision of an operator on a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LetterDecision {
    /// When.
    pub at: Timestamp,
    /// The operator.
    pub actor: String,
    /// The operator's reason.
    pub reason: String,
}

/// Dead letters of one source with one kind of reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LetterGroup {
    /// The service, or `coordinator`.
    pub source: String,
    /// The kind of reason, as one word.
    pub code: String,
    /// The number of letters.
    pub count: u64,
}

/// What became of a page of letters that were to be replayed or discarded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChangedLetters {
    /// Letters that the query found.
    pub matched: u64,
    /// Those that were replayed.
    #[serde(default)]
    pub replayed: u64,
    /// Those that were discarded.
    #[serde(default)]
    pub discarded: u64,
    /// Those that were refused, by the code of the refusal.
    pub refused: BTreeMap<String, u64>,
    /// The cursor at which to go on; nothing if that was all.
    pub next: Option<String>,
}

impl Call<Page<DeadLetter>> {
    /// A page of the dead letters that a query finds, the newest first.
    pub fn dead_letters(query: &LetterQuery) -> Self {
        Self::get("/v1/dead-letters").with_query(query.parameters())
    }
}

impl Call<Page<LetterGroup>> {
    /// The number of dead letters that a query finds, by source and kind of reason.
    pub fn dead_letter_groups(query: &LetterQuery) -> Self {
        Self::get("/v1/dead-letters/groups").with_query(query.parameters())
    }
}

impl Call<DeadLetter> {
    /// A dead letter with its headers and its body.
    pub fn dead_letter(id: Uuid) -> Self {
        Self::get(format!("/v1/dead-letters/{id}"))
    }

    /// Replays or discards a dead letter; its answer is the letter as it is then.
    pub fn change_dead_letter(id: Uuid, verb: LetterVerb, actor: &str, reason: &str) -> Self {
        let body = serde_json::json!({ "actor": actor, "reason": reason });
        Self::post(format!("/v1/dead-letters/{id}/{}", verb.as_str()), Some(body))
    }
}

impl Call<ChangedLetters> {
    /// Replays or discards a page of the dead letters that a query finds; of kept ones, unless it says otherwise.
    pub fn change_dead_letters(query: &LetterQuery, verb: LetterVerb, actor: &str, reason: &str) -> Self {
        let body = serde_json::json!({ "actor": actor, "reason": reason });
        let path = format!("/v1/dead-letters/{}", verb.as_str());
        Self::post(path, Some(body)).with_query(query.parameters())
    }
}

impl Client {
    /// A page of the dead letters that a query finds, the newest first, without headers and bodies.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn dead_letters(&self, query: &LetterQuery) -> Result<Page<DeadLetter>, ClientError> {
        self.send(Call::dead_letters(query)).await
    }

    /// The number of dead letters that a query finds, by source and kind of reason.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn dead_letter_groups(&self, query: &LetterQuery) -> Result<Vec<LetterGroup>, ClientError> {
        Ok(self.send(Call::dead_letter_groups(query)).await?.items)
    }

    /// A dead letter with its headers and its body.
    ///
    /// # Errors
    /// [`ClientError`]; the problem `unknown-dead-letter` if there is none.
    pub async fn dead_letter(&self, id: Uuid) -> Result<DeadLetter, ClientError> {
        self.send(Call::dead_letter(id)).await
    }

    /// Has the message of a dead letter published again, as it came, or sets the letter aside for good. Sent once: whether
    /// a request without an answer was carried out, the letter says.
    ///
    /// # Errors
    /// [`ClientError`]; the problem `dead-letter-refused` if it was replayed or discarded before or a part of it is missing,
    /// and `not-published` if the broker did not take the message.
    pub async fn change_dead_letter(
        &self,
        id: Uuid,
        verb: LetterVerb,
        actor: &str,
        reason: &str,
    ) -> Result<DeadLetter, ClientError> {
        self.send(Call::change_dead_letter(id, verb, actor, reason)).await
    }

    /// Replays or discards a page of the dead letters that a query finds; kept ones, unless it says otherwise. Goes on with
    /// the page's `next` as cursor.
    ///
    /// # Errors
    /// [`ClientError`]; what was done by then stays so.
    pub async fn change_dead_letters(
        &self,
        query: &LetterQuery,
        verb: LetterVerb,
        actor: &str,
        reason: &str,
    ) -> Result<ChangedLetters, ClientError> {
        self.send(Call::change_dead_letters(query, verb, actor, reason)).await
    }
}
