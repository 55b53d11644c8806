//! The savepoint behind which handlers run: what a call wrote is kept or taken back without losing the transaction.
//!
//! Each call has a savepoint of its own, and the statement that ends one begins the next: a handler of one command at a
//! time costs one round trip to the database beside its own, not two.

use std::time::Duration;

use redress_postgres::answered;
use sqlx::{Executor, PgConnection};

use crate::unit_error::UnitError;

/// How the call before the next one ended.
#[derive(Clone, Copy, Debug)]
enum Last {
    /// There was none: no savepoint is open.
    None,
    Kept,
    TakenBack,
}

/// The savepoints of the calls of a batch, one after the other.
pub(crate) struct Savepoints<'c> {
    connection: &'c mut PgConnection,
    /// How long the database may be silent.
    silence: Duration,
    last: Last,
}

impl<'c> Savepoints<'c> {
    pub(crate) fn new(connection: &'c mut PgConnection, silence: Duration) -> Self {
        Self { connection, silence, last: Last::None }
    }

    /// Begins a call: what it writes on the connection can be taken back.
    pub(crate) async fn begin(&mut self) -> Result<&mut PgConnection, UnitError> {
        self.run(match self.last {
            Last::None => "SAVEPOINT one_call",
            Last::Kept => "RELEASE SAVEPOINT one_call; SAVEPOINT one_call",
            // The savepoint itself stays.
            Last::TakenBack => "ROLLBACK TO SAVEPOINT one_call",
        })
        .await?;
        Ok(self.connection)
    }

    /// Keeps what the call wrote.
    pub(crate) fn keep(&mut self) {
        self.last = Last::Kept;
    }

    /// Takes back what the call wrote.
    pub(crate) fn take_back(&mut self) {
        self.last = Last::TakenBack;
    }

    /// Ends the last call.
    pub(crate) async fn close(mut self) -> Result<(), UnitError> {
        match self.last {
            Last::None => Ok(()),
            Last::Kept => self.run("RELEASE SAVEPOINT one_call").await,
            Last::TakenBack => self.run("ROLLBACK TO SAVEPOINT one_call; RELEASE SAVEPOINT one_call").await,
        }
    }

    async fn run(&mut self, statements: &'static str) -> Result<(), UnitError> {
        answered(self.silence, self.connection.execute(statements)).await?;
        Ok(())
    }
}
