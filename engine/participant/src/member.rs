//! A command on its way through the participant, as plain data: delivered, ruled on, settled or put back.

use std::time::Duration;

use redress_core::{CommandMessage, LetterCode, Outcome};
use redress_wire::delivery::AckHandle;

use crate::lease::Lease;

/// A command that will be ruled on, and the right to settle it.
pub(crate) struct Member {
    pub(crate) command: CommandMessage,
    pub(crate) ack: AckHandle,
    /// This one included.
    pub(crate) deliveries: u64,
}

/// Deliveries after which a command may still run with others: its first, and one more for an instance that went away.
const TRUSTED_DELIVERIES: u64 = 2;

impl Member {
    /// Returns true if it has come so often that it may be the cause: it runs alone (`quarantine.rs`).
    pub(crate) const fn is_suspect(&self) -> bool {
        self.deliveries > TRUSTED_DELIVERIES
    }

    /// Returns true if it was sent or delivered before.
    pub(crate) const fn is_repeated(&self) -> bool {
        self.deliveries > 1 || self.command.attempt > 1
    }
}

/// How the commands of a batch have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Each of them was delivered once.
    First,
    /// At least one was delivered before, or the batch has run in vain.
    Again,
}

impl Arrival {
    pub(crate) fn of(members: &[Member]) -> Self {
        if members.iter().all(|member| member.deliveries <= 1) { Self::First } else { Self::Again }
    }
}

/// A command that this instance does not know.
pub(crate) struct UnknownCommand {
    pub(crate) command: CommandMessage,
    pub(crate) deliveries: u64,
    pub(crate) ack: AckHandle,
}

/// The verdict on a command.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    /// Answer this and acknowledge.
    Answered(Outcome),
    /// No participant can use it: answer `refused`, keep it as a dead letter, never run it again.
    Poison { code: LetterCode, reason: String },
    /// Not ruled on: its answer does not fit into this transaction any more, or its handler must not run in it. In
    /// another one.
    Left,
    /// Not ruled on: it calls a third party, and has a transaction of its own.
    Apart,
    /// A call for it may be under way: to be put back for so long.
    Later(Duration),
    /// Begun: the third party is to be called, and its answer concluded in another transaction.
    Calls(Lease),
}

/// How the run of a batch ended.
#[derive(Clone, Copy)]
pub(crate) enum End {
    /// With an answer for each member.
    Settled,
    /// Its only member could not be run and comes again.
    PutBack(CountsAsAttempt),
    /// There is no use in going on.
    DatabaseDown(CountsAsAttempt),
}

/// Tells if a failed run counts as an attempt, because the command itself may have caused the failure.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum CountsAsAttempt {
    /// Its connection was lost, perhaps by its own doing: this was an attempt.
    Yes,
    /// The database has run out of something, or another transaction is at work on the same command: this was none.
    No,
}
