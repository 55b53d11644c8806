//! How the handlers of the till end.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a handler ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) enum How {
    #[default]
    Done,
    /// Says no, after it has written.
    Reject,
    /// Fails, after it has written.
    Err,
    /// Fails the first time.
    ErrOnce,
    Panic,
    /// Replies with more than fits into a message.
    Huge,
    /// Replies with as much as fits into a message.
    Heavy,
    /// Replies with a NUL.
    Nul,
    /// Writes what only the commit finds to be wrong.
    WrongAtCommit,
    /// Meets another transaction the first time.
    CollideOnce,
    /// Sends its own connection away the first time.
    LoseConnectionOnce,
    /// Sends its own connection away every time.
    LoseConnection,
    /// Ends the transaction that it is given.
    LoseTransaction,
    /// Does not end.
    Hang,
    /// Needs the drawer, which another transaction may hold.
    Drawer,
    /// Writes what needs room on the disk, and only the commit finds that there is none.
    LargeAtCommit,
    /// Writes what needs room on the disk.
    Large,
    /// Waits for the test.
    Wait,
    /// Waits for the test, and fails if somebody else has taken the slot meanwhile.
    WaitAndLook,
    /// Takes five seconds.
    Slow,
    /// Takes a second, and not in the database.
    Second,
    /// Takes two and a half. Both reply with the time for which their transaction may be idle.
    Idle,
    /// Replies with the settings of the planner that are not the server's own.
    Planner,
}
