//! A look at a database before it is used.
//!
//! Between us and Postgres there may be a pooler that gives each transaction another session (PgBouncer with
//! `pool_mode = transaction`). Settings that last as long as a session would then stay with others, or be lost; so they
//! travel in the first message of a connection, which such a pooler refuses or drops, and that is how it is known. It must
//! also keep prepared statements (PgBouncer does from 1.21 on): one that does not hands their names on as they are.

use std::time::Duration;

use sqlx::{ConnectOptions as _, Connection as _, Error, PgConnection, Row as _};
use tokio::time::timeout;

use crate::error::{DatabaseError, Fault, OnlyReads};
use crate::sessions::Sessions;
use crate::silence::silence;
use crate::target::Target;

/// The longest time that a server may take to answer the first queries.
const LOOK_TIME_MAX: Duration = Duration::from_secs(10);
/// A setting that changes nothing here, by which one sees whether settings arrive.
const MARK: (&str, &str) = ("geqo_seed", "0.25");
/// The pattern of the names that sqlx gives to prepared statements.
const NAMES_OF_SQLX: &str = "sqlx_s_%";

impl Target {
    /// Connects once, and returns the kind of sessions.
    ///
    /// # Errors
    /// [`DatabaseError`] names the fault of the database.
    pub async fn inspect(&self) -> Result<Sessions, DatabaseError> {
        let look = timeout(LOOK_TIME_MAX, self.look()).await;
        look.unwrap_or_else(|_| Err(self.fails(silence(LOOK_TIME_MAX))))
    }

    /// An error of connecting to it, sorted.
    pub fn fails(&self, source: Error) -> DatabaseError {
        DatabaseError::of_connecting(self.location(), source)
    }

    async fn look(&self) -> Result<Sessions, DatabaseError> {
        let (mut connection, sessions) = self.connect().await?;
        let row = sqlx::raw_sql(
            "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean AS only_reads, \
                    current_setting('server_encoding') AS encoding",
        )
        .fetch_one(&mut connection)
        .await
        .map_err(|error| self.fails(error))?;
        let encoding: String = row.try_get("encoding").map_err(|error| self.fails(error))?;
        let fault = match row.try_get("only_reads").map_err(|error| self.fails(error))? {
            _ if encoding != "UTF8" => Some(Fault::Encoding(encoding)),
            true => Some(Fault::ReadsOnly),
            false if sessions == Sessions::Shared && self.forgets(&mut connection).await? => {
                Some(Fault::Pooler)
            }
            false => None,
        };
        // The queries are answered.
        let _ = connection.close().await;
        match fault {
            Some(Fault::ReadsOnly) => {
                let source = Error::AnyDriverError(Box::new(OnlyReads));
                Err(DatabaseError::new(Fault::ReadsOnly, self.location(), Some(source)))
            }
            Some(fault) => Err(DatabaseError::new(fault, self.location(), None)),
            None => Ok(sessions),
        }
    }

    /// Connects with a setting for the session, and without if that is refused or does not arrive.
    pub(crate) async fn connect(&self) -> Result<(PgConnection, Sessions), DatabaseError> {
        let marked = self.connect_options(Sessions::Own, &[MARK]);
        match marked.connect().await {
            Ok(mut connection) => {
                let setting = format!("SELECT current_setting('{}') AS mark", MARK.0);
                let row = sqlx::raw_sql(sqlx::AssertSqlSafe(setting)).fetch_one(&mut connection).await;
                let mark: Result<String, Error> = row.and_then(|row| row.try_get("mark"));
                let arrived = mark.map_err(|error| self.fails(error))? == MARK.1;
                Ok((connection, if arrived { Sessions::Own } else { Sessions::Shared }))
            }
            Err(error) if is_of_startup(&error) => {
                let plain = self.connect_options(Sessions::Shared, &[]).connect().await;
                Ok((plain.map_err(|error| self.fails(error))?, Sessions::Shared))
            }
            Err(error) => Err(self.fails(error)),
        }
    }

    /// Returns true if names of prepared statements reach a session that others use too.
    async fn forgets(&self, first: &mut PgConnection) -> Result<bool, DatabaseError> {
        let names = "SELECT count(*) FROM pg_prepared_statements WHERE name LIKE $1";
        let asked = sqlx::query_scalar::<_, i64>(names).bind(NAMES_OF_SQLX).fetch_one(&mut *first).await;
        let as_they_are = match asked {
            Ok(count) => count > 0,
            Err(error) if crate::error::is_of_a_pooler(&error) => return Ok(true),
            Err(error) => return Err(self.fails(error)),
        };
        if !as_they_are {
            return Ok(false);
        }
        // Two connections at once: in a session of its own each, or in one and the same.
        let second = self.connect_options(Sessions::Shared, &[]).connect().await;
        let mut second = second.map_err(|error| self.fails(error))?;
        let (mine, other) = (self.session_of(first).await?, self.session_of(&mut second).await?);
        let _ = second.close().await;
        Ok(mine == other)
    }

    async fn session_of(&self, connection: &mut PgConnection) -> Result<String, DatabaseError> {
        let row = sqlx::raw_sql("SELECT pg_backend_pid()::text AS pid").fetch_one(connection).await;
        row.and_then(|row| row.try_get("pid")).map_err(|error| self.fails(error))
    }
}

/// Returns true if a server, or a pooler before it, does not like the settings that a connection begins with.
fn is_of_startup(error: &Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    matches!(code.as_deref(), Some("08P01" | "0A000"))
}
