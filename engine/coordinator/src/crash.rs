//! Points at which a test lets a coordinator die.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use redress_core::IdempotencyKey;

/// A named point in a unit of work.
///
/// Four are passed by the batch that brings the reply to a command, and two by every unit that sends a command: the
/// start of a saga, a batch of replies, a timer or an operator command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashPoint {
    /// The replies were taken, and nothing is written.
    BeforeCommit,
    /// The decisions are written; nothing is acknowledged or published.
    AfterCommit,
    /// They are acknowledged; nothing is published, so only `due_at` can heal.
    AfterAcknowledgement,
    /// The commands are published.
    AfterPublish,
    /// The pending command is written; it is not published.
    BeforeSending,
    /// The command is published.
    AfterSending,
}

impl CrashPoint {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::BeforeCommit,
        Self::AfterCommit,
        Self::AfterAcknowledgement,
        Self::AfterPublish,
        Self::BeforeSending,
        Self::AfterSending,
    ];

    /// The word on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BeforeCommit => "before-commit",
            Self::AfterCommit => "after-commit",
            Self::AfterAcknowledgement => "after-acknowledgement",
            Self::AfterPublish => "after-publish",
            Self::BeforeSending => "before-sending",
            Self::AfterSending => "after-sending",
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

/// A hook that is called at each point, with each command that is answered or sent there; by default it does nothing.
#[derive(Clone, Default)]
pub struct CrashHook(Option<Arc<Hook>>);

type Hook = dyn Fn(CrashPoint, &IdempotencyKey) + Send + Sync;

impl CrashHook {
    /// A hook, which may end the process.
    pub fn new(hook: impl Fn(CrashPoint, &IdempotencyKey) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hook)))
    }

    /// True if there is a hook.
    pub(crate) const fn is_armed(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn pass<'k>(&self, point: CrashPoint, keys: impl IntoIterator<Item = &'k IdempotencyKey>) {
        if let Some(hook) = &self.0 {
            keys.into_iter().for_each(|key| hook(point, key));
        }
    }
}

impl fmt::Debug for CrashHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "CrashHook(armed)" } else { "CrashHook(none)" })
    }
}
