//! Dead letters: the reasons why a message becomes one, what may be done with it, and what may not.
//!
//! ```text
//! kept ──▶ replaying ──▶ replayed
//!  │ ▲         │
//!  │ └─────────┘   it was not published after all
//!  └─────▶ discarded
//! ```
//!
//! A letter that is being replayed is marked before it is published, so that two operators never publish it twice; it is
//! called replayed once the broker has stored it, and is kept as before if not. A message that was replayed and is of no
//! use again comes back as another letter.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The kind of reason for which a message could not be used: a stable word, by which letters are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LetterCode {
    /// Its headers or its payload cannot be read.
    Unreadable,
    /// It came on a subject, or to a service, to which its headers do not belong.
    Misaddressed,
    /// No instance of the service knows the command.
    UnknownCommand,
    /// Its key was used before with another payload.
    OtherPayload,
    /// It was run as often as it may be and never came to an end.
    DeliveryLimit,
    /// It takes back what was promised before.
    Contradiction,
    /// Its saga, or the saga's definition, is not known to the coordinator that took it.
    UnknownSaga,
    /// The saga cannot be decided on, or the journal refuses what follows.
    Undecidable,
    /// A version that gave no such word wrote the letter.
    Unexplained,
}

impl LetterCode {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Unreadable,
        Self::Misaddressed,
        Self::UnknownCommand,
        Self::OtherPayload,
        Self::DeliveryLimit,
        Self::Contradiction,
        Self::UnknownSaga,
        Self::Undecidable,
        Self::Unexplained,
    ];

    /// The code as one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Misaddressed => "misaddressed",
            Self::UnknownCommand => "unknown-command",
            Self::OtherPayload => "other-payload",
            Self::DeliveryLimit => "delivery-limit",
            Self::Contradiction => "contradiction",
            Self::UnknownSaga => "unknown-saga",
            Self::Undecidable => "undecidable",
            Self::Unexplained => "unexplained",
        }
    }

    /// The code that this word stands for; a word that a newer version has added explains nothing here.
    pub fn read(word: &str) -> Self {
        word.parse().unwrap_or(Self::Unexplained)
    }
}

/// A text is no word of the expected kind.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{text}` is none of {known}")]
pub struct UnknownWord {
    text: String,
    known: String,
}

impl UnknownWord {
    fn new(text: &str, known: &[&str]) -> Self {
        Self { text: text.chars().take(80).collect(), known: known.join(", ") }
    }
}

impl FromStr for LetterCode {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let found = Self::ALL.into_iter().find(|code| code.as_str() == text);
        found.ok_or_else(|| UnknownWord::new(text, &Self::ALL.map(Self::as_str)))
    }
}

impl fmt::Display for LetterCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The state of a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LetterStatus {
    /// It waits for an operator.
    Kept,
    /// An operator has it published at this moment.
    Replaying,
    /// It was published again.
    Replayed,
    /// An operator has set it aside for good.
    Discarded,
}

impl LetterStatus {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Kept, Self::Replaying, Self::Replayed, Self::Discarded];

    /// The status as one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Replaying => "replaying",
            Self::Replayed => "replayed",
            Self::Discarded => "discarded",
        }
    }
}

impl FromStr for LetterStatus {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let found = Self::ALL.into_iter().find(|status| status.as_str() == text);
        found.ok_or_else(|| UnknownWord::new(text, &Self::ALL.map(Self::as_str)))
    }
}

impl fmt::Display for LetterStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an operator has done with a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LetterVerb {
    /// Publish the message again, as it came.
    Replay,
    /// Set it aside for good.
    Discard,
}

impl LetterVerb {
    /// The verb as one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Discard => "discard",
        }
    }

    /// The verb as the audit log has it, among those on sagas.
    pub const fn audited_as(self) -> &'static str {
        match self {
            Self::Replay => "replay-dead-letter",
            Self::Discard => "discard-dead-letter",
        }
    }
}

/// How much of the message a letter holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// All of it, and its subject is one on which commands or replies travel.
    Message,
    /// All of it, but its subject is none on which anything travels here.
    Stray,
    /// A part of it.
    Part,
}

/// Why an operator may not do this with a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LetterRefusal {
    /// It was published again before.
    #[error(
        "it was replayed before: if the message was of no use again, that is another letter, and this one is done"
    )]
    AlreadyReplayed,
    /// It is being published.
    #[error("it is being replayed at this moment: look at it again in a minute")]
    BeingReplayed,
    /// It was set aside before.
    #[error("it was discarded before, and stays so")]
    AlreadyDiscarded,
    /// A part of the message is all that was kept.
    #[error(
        "only a part of the message was kept, so it cannot be published as it came: have the coordinator send the command \
         again (`retry` of the saga), then discard the letter"
    )]
    Incomplete,
    /// Nothing travels on its subject.
    #[error("its subject is neither that of a command nor that of a reply of this installation: discard it")]
    Unaddressed,
}

impl LetterRefusal {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::AlreadyReplayed,
        Self::BeingReplayed,
        Self::AlreadyDiscarded,
        Self::Incomplete,
        Self::Unaddressed,
    ];

    /// A stable word for programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AlreadyReplayed => "already-replayed",
            Self::BeingReplayed => "being-replayed",
            Self::AlreadyDiscarded => "already-discarded",
            Self::Incomplete => "incomplete",
            Self::Unaddressed => "unaddressed",
        }
    }
}

/// The status that a letter gets by this verb.
///
/// # Errors
/// [`LetterRefusal`] if it may not be done with a letter of this status and these contents.
pub const fn decide(
    verb: LetterVerb,
    status: LetterStatus,
    contents: Contents,
) -> Result<LetterStatus, LetterRefusal> {
    match (status, verb, contents) {
        (LetterStatus::Replayed, _, _) => Err(LetterRefusal::AlreadyReplayed),
        (LetterStatus::Replaying, _, _) => Err(LetterRefusal::BeingReplayed),
        (LetterStatus::Discarded, _, _) => Err(LetterRefusal::AlreadyDiscarded),
        (LetterStatus::Kept, LetterVerb::Discard, _) => Ok(LetterStatus::Discarded),
        (LetterStatus::Kept, LetterVerb::Replay, Contents::Part) => Err(LetterRefusal::Incomplete),
        (LetterStatus::Kept, LetterVerb::Replay, Contents::Stray) => Err(LetterRefusal::Unaddressed),
        (LetterStatus::Kept, LetterVerb::Replay, Contents::Message) => Ok(LetterStatus::Replaying),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_letters_are_read_as_they_are_written() {
        for code in LetterCode::ALL {
            assert_eq!(code.as_str().parse(), Ok(code));
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
        for status in LetterStatus::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
        assert_eq!(LetterCode::read("of-tomorrow"), LetterCode::Unexplained);
    }

    #[test]
    fn letter_is_replayed_or_discarded_once_and_only_as_a_whole() {
        let mut table = String::new();
        for status in LetterStatus::ALL {
            for (verb, contents) in [
                (LetterVerb::Replay, Contents::Message),
                (LetterVerb::Replay, Contents::Stray),
                (LetterVerb::Replay, Contents::Part),
                (LetterVerb::Discard, Contents::Part),
            ] {
                let decided = match decide(verb, status, contents) {
                    Ok(status) => status.as_str().to_owned(),
                    Err(refusal) => format!("refused: {}", refusal.as_str()),
                };
                table.push_str(&format!("{status} {} {contents:?}: {decided}\n", verb.as_str()));
            }
        }
        insta::assert_snapshot!(table, @r"
        kept replay Message: replaying
        kept replay Stray: refused: unaddressed
        kept replay Part: refused: incomplete
        kept discard Part: discarded
        replaying replay Message: refused: being-replayed
        replaying replay Stray: refused: being-replayed
        replaying replay Part: refused: being-replayed
        replaying discard Part: refused: being-replayed
        replayed replay Message: refused: already-replayed
        replayed replay Stray: refused: already-replayed
        replayed replay Part: refused: already-replayed
        replayed discard Part: refused: already-replayed
        discarded replay Message: refused: already-discarded
        discarded replay Stray: refused: already-discarded
        discarded replay Part: refused: already-discarded
        discarded discard Part: refused: already-discarded
        ");
    }
}
