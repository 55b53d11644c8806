//! The savepoint behind which handlers run: what a call wrote is kept or taken back without losing the transaction.
//!
//! Each call has a savepoint of its own, and the statement that ends one begins the next; the first one may come with the
//! `BEGIN` ([`Savepoints::begun`]). So each call costs one round trip to the database beside its own.
//!
//! The last one is ended before the answers are written. It fails if the transaction is not there any more, which a handler
//! can bring about that ignores an error, or drops a nested transaction while it begins. Answers that were inserted then
//! would commit at once, without their effects.

use std::time::Duration;

use redress_postgres::answered;
use sqlx::{Executor, PgConnection};

use crate::unit_error::UnitError;

/// Begins the savepoint of a call.
pub(crate) const SAVEPOINT: &str = "SAVEPOINT one_call";
const TAKE_BACK: &str = "ROLLBACK TO SAVEPOINT one_call";

/// The savepoint that is open, by the call behind it.
#[derive(Clone, Copy, Debug)]
enum Open {
    /// No savepoint is open.
    None,
    /// Of a call that has not ended, or before the first one.
    Fresh,
    Kept,
    TakenBack,
}

impl Open {
    /// Ends this call, and begins the next one.
    const fn before_call(self) -> Option<&'static str> {
        match self {
            Self::None => Some(SAVEPOINT),
            Self::Fresh => None,
            Self::Kept => Some("RELEASE SAVEPOINT one_call; SAVEPOINT one_call"),
            // The savepoint itself stays.
            Self::TakenBack => Some(TAKE_BACK),
        }
    }

    /// Ends this call, after which the batch writes its answers; an error if its transaction is gone.
    const fn after_last_call(self) -> Option<&'static str> {
        match self {
            Self::None | Self::Fresh => None,
            Self::Kept => Some("RELEASE SAVEPOINT one_call"),
            Self::TakenBack => Some(TAKE_BACK),
        }
    }
}

/// A transaction and the savepoints of its calls, one after the other.
pub(crate) struct Savepoints<'c> {
    connection: &'c mut PgConnection,
    /// How long the database may be silent.
    silence: Duration,
    open: Open,
}

impl<'c> Savepoints<'c> {
    /// Those of a transaction in which none has begun.
    pub(crate) fn new(connection: &'c mut PgConnection, silence: Duration) -> Self {
        Self { connection, silence, open: Open::None }
    }

    /// Those of a transaction whose first one has begun ([`SAVEPOINT`]), and which has written nothing.
    pub(crate) fn begun(connection: &'c mut PgConnection, silence: Duration) -> Self {
        Self { connection, silence, open: Open::Fresh }
    }

    /// Begins a call: what it writes on the connection can be taken back.
    pub(crate) async fn begin(&mut self) -> Result<&mut PgConnection, UnitError> {
        if let Some(statements) = self.open.before_call() {
            self.run(statements).await?;
        }
        self.open = Open::Fresh;
        Ok(self.connection)
    }

    /// Keeps what the call wrote.
    pub(crate) fn keep(&mut self) {
        self.open = Open::Kept;
    }

    /// Takes back what the call wrote, before anything else is written.
    pub(crate) fn take_back(&mut self) {
        self.open = Open::TakenBack;
    }

    /// Ends the calls.
    ///
    /// # Errors
    /// That of the database, also if the transaction is gone or has failed.
    pub(crate) async fn close(mut self) -> Result<(), UnitError> {
        match self.open.after_last_call() {
            Some(statement) => self.run(statement).await,
            None => Ok(()),
        }
    }

    async fn run(&mut self, statements: &'static str) -> Result<(), UnitError> {
        answered(self.silence, self.connection.execute(statements)).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn each_call_is_ended_by_one_statement_and_the_first_begins_with_the_batch() {
        let of = |open: Open| {
            let said = |statements: Option<&'static str>| statements.unwrap_or("-");
            format!("{open:?} | {} | {}", said(open.before_call()), said(open.after_last_call()))
        };
        let all = [Open::None, Open::Fresh, Open::Kept, Open::TakenBack].map(of).join("\n");
        assert_snapshot!(all, @r"
        None | SAVEPOINT one_call | -
        Fresh | - | -
        Kept | RELEASE SAVEPOINT one_call; SAVEPOINT one_call | RELEASE SAVEPOINT one_call
        TakenBack | ROLLBACK TO SAVEPOINT one_call | ROLLBACK TO SAVEPOINT one_call
        ");
    }
}
