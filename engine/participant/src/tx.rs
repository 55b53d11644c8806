//! The transaction of a handler, as a thing to run statements on.
//!
//! A handler gets `tx: &mut Tx<'_>` and hands it to sqlx as it is. sqlx takes an executor by value, and Rust lends a
//! reference anew only where the type is known: every use but the last says `&mut *tx`, the last one may say `tx`.

use std::fmt;
use std::ops::{Deref, DerefMut};

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use redress_core::{IdempotencyKey, JsonText};
use serde::de::DeserializeOwned;
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
    in_doubt: Option<ActionInDoubt>,
}

/// An action that may have happened: a third party was called for it, and there is no telling what became of the call.
/// Its compensation undoes it as if it had happened, and must bear that nothing was there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionInDoubt {
    key: IdempotencyKey,
    request: JsonText,
}

impl ActionInDoubt {
    /// The action's idempotency key, with which the third party was called.
    pub fn idempotency_key(&self) -> &IdempotencyKey {
        &self.key
    }

    /// What was asked of the third party: the [`CallOut::Request`](crate::CallOut::Request) of the action.
    ///
    /// # Errors
    /// That of the JSON reader if the request was of another type.
    pub fn request<Q: DeserializeOwned>(&self) -> Result<Q, serde_json::Error> {
        self.request.read()
    }
}

impl<'t> Tx<'t> {
    pub(crate) fn new(connection: &'t mut PgConnection, key: IdempotencyKey) -> Self {
        Self { connection, key, in_doubt: None }
    }

    /// The same for a compensation whose action may have happened; `request` is what was asked for the action, if it is
    /// so.
    pub(crate) fn doubting(self, request: Option<JsonText>) -> Self {
        let in_doubt = request.map(|request| ActionInDoubt { key: self.key.of_action(), request });
        Self { in_doubt, ..self }
    }

    /// The action that is to be undone, if nobody knows whether it happened; none if it is known to have happened.
    pub fn in_doubt(&self) -> Option<&ActionInDoubt> {
        self.in_doubt.as_ref()
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
