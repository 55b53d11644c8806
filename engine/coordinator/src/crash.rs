//! Points at which a test lets a coordinator die.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use redress_core::{IdempotencyKey, ReplyMessage};

/// A named point between the taking of replies and the moment when nothing more is to be done for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashPoint {
    /// The replies were taken, and nothing is written.
    BeforeCommit,
    /// What follows from them is written; nothing is acknowledged or published.
    AfterCommit,
    /// They are acknowledged; nothing is published, so only `due_at` can heal.
    AfterAcknowledgement,
    /// The commands are published.
    AfterPublish,
}

impl CrashPoint {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::BeforeCommit, Self::AfterCommit, Self::AfterAcknowledgement, Self::AfterPublish];

    /// The word on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BeforeCommit => "before-commit",
            Self::AfterCommit => "after-commit",
            Self::AfterAcknowledgement => "after-acknowledgement",
            Self::AfterPublish => "after-publish",
        }
    }
}

impl FromStr for CrashPoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|point| point.as_str() == text).ok_or_else(|| {
            let words: Vec<&str> = Self::ALL.iter().map(|point| point.as_str()).collect();
            format!("`{text}` is no crash point: use {}", words.join(", "))
        })
    }
}

/// What is called at each point, with the questions that the batch answers; by default nothing.
#[derive(Clone, Default)]
pub struct CrashHook(Option<Arc<Hook>>);

type Hook = dyn Fn(CrashPoint, &IdempotencyKey) + Send + Sync;

impl CrashHook {
    /// A hook, which may end the process.
    pub fn new(hook: impl Fn(CrashPoint, &IdempotencyKey) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hook)))
    }

    pub(crate) fn pass<'r>(&self, point: CrashPoint, replies: impl Iterator<Item = &'r ReplyMessage>) {
        if let Some(hook) = &self.0 {
            replies.for_each(|reply| hook(point, &reply.key));
        }
    }
}

impl fmt::Debug for CrashHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "CrashHook(armed)" } else { "CrashHook(none)" })
    }
}
