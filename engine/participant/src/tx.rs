//! The transaction of a handler, as a thing to run statements on.
//!
//! A handler gets `tx: &mut Tx<'_>` and hands it to sqlx as it is. sqlx takes an executor by value, and Rust lends a
//! reference anew only where the type is known: every use but the last says `&mut *tx`, the last one may say `tx`.

use std::fmt;
use std::ops::{Deref, DerefMut};

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use redress_core::IdempotencyKey;
use sqlx::postgres::{PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Describe, Either, Error, Execute, Executor, PgConnection, Postgres, SqlStr};

/// The transaction in which a handler runs: an executor of sqlx, and it dereferences to the connection.
///
/// It commits together with the stored answer if the handler says `done`, and is rolled back otherwise. Other commands
/// of its batch share it, each under a savepoint of its own: what is `SET LOCAL` stays set for those behind.
///
/// ```
/// # use redress_participant::{HandlerError, Tx, sqlx};
/// async fn close(tx: &mut Tx<'_>, account: i64) -> Result<(), HandlerError> {
///     sqlx::query("SELECT FROM account WHERE id = $1 FOR UPDATE").bind(account).fetch_one(&mut *tx).await?;
///     sqlx::query("DELETE FROM account WHERE id = $1").bind(account).execute(tx).await?;
///     Ok(())
/// }
/// ```
pub struct Tx<'t> {
    connection: &'t mut PgConnection,
    key: IdempotencyKey,
}

impl<'t> Tx<'t> {
    pub(crate) fn new(connection: &'t mut PgConnection, key: IdempotencyKey) -> Self {
        Self { connection, key }
    }

    /// The command's idempotency key, to hand on to third parties; of a set, that of its first member.
    pub fn idempotency_key(&self) -> &IdempotencyKey {
        &self.key
    }
}

impl Deref for Tx<'_> {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.connection
    }
}

impl DerefMut for Tx<'_> {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.connection
    }
}

impl fmt::Debug for Tx<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tx").field("key", &self.key).finish_non_exhaustive()
    }
}

/// Each method is the connection's own: those that sqlx would otherwise build from others, too.
impl<'c> Executor<'c> for &'c mut Tx<'_> {
    type Database = Postgres;

    fn execute<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<PgQueryResult, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        self.connection.execute(query)
    }

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        self.connection.fetch_many(query)
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        self.connection.fetch_optional(query)
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, Error>>
    where
        'c: 'e,
    {
        self.connection.prepare_with(sql, parameters)
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, Error>>
    where
        'c: 'e,
    {
        self.connection.describe(sql)
    }
}
