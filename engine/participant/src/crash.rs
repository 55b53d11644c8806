//! Points at which an injected failure, or a test, lets a process of a service die.
//!
//! Failures that travel with a command cover what every command passes: before the commit, after it, after the reply
//! ([`FaultKind`](redress_core::fault::FaultKind)). A [`CrashPoint`] lies where no command is at hand, or between the parts
//! of one that calls a third party.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use redress_core::{IdempotencyKey, Name};

/// Exit code of a process that obeys `crash-after-commit`.
pub const EXIT_CODE_OF_INJECTED_CRASH: i32 = 86;

/// Ends the process, as an injected failure orders it.
pub(crate) fn crash(service: &Name) -> ! {
    tracing::warn!(%service, "injected crash");
    std::process::exit(EXIT_CODE_OF_INJECTED_CRASH)
}

/// A named point in the work on a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashPoint {
    /// What a third party is asked is committed; it is not asked by this process yet.
    AfterPrepare,
    /// The third party was asked; nothing is written.
    AfterCall,
    /// Its answer is concluded and committed; the reply is not published.
    AfterConclude,
    /// A question is left open and committed; nothing is published.
    AfterLater,
    /// An answer that was given later is committed, and taken to be published; it is not.
    BeforeAnswer,
    /// It is published, and still marked as due.
    AfterAnswer,
}

impl CrashPoint {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::AfterPrepare,
        Self::AfterCall,
        Self::AfterConclude,
        Self::AfterLater,
        Self::BeforeAnswer,
        Self::AfterAnswer,
    ];

    /// The word on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AfterPrepare => "after-prepare",
            Self::AfterCall => "after-call",
            Self::AfterConclude => "after-conclude",
            Self::AfterLater => "after-later",
            Self::BeforeAnswer => "before-answer",
            Self::AfterAnswer => "after-answer",
        }
    }
}

impl FromStr for CrashPoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|point| point.as_str() == text).ok_or_else(|| {
            let words = Self::ALL.map(Self::as_str).join(", ");
            format!("`{text}` is no crash point of a service: use {words}")
        })
    }
}

/// A hook that is called at each point, with the key of the command; by default it does nothing.
#[derive(Clone, Default)]
pub struct CrashHook(Option<Arc<Hook>>);

type Hook = dyn Fn(CrashPoint, &IdempotencyKey) + Send + Sync;

impl CrashHook {
    /// A hook, which may end the process.
    pub fn new(hook: impl Fn(CrashPoint, &IdempotencyKey) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hook)))
    }

    pub(crate) fn pass(&self, point: CrashPoint, key: &IdempotencyKey) {
        if let Some(hook) = &self.0 {
            hook(point, key);
        }
    }
}

impl fmt::Debug for CrashHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "CrashHook(armed)" } else { "CrashHook(none)" })
    }
}
