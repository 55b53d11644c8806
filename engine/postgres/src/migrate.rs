//! Bringing tables up to date: a look first, so that a user that only reads and writes rows needs no right to create.
//!
//! The missing migrations are applied in one transaction, under a lock that ends with it: all or nothing, and nothing
//! stays on the session. Migrations that can run in no transaction are left to sqlx's own way.

use std::collections::HashMap;

use sqlx::migrate::{MigrateError as Failure, Migrator};
use sqlx::{AssertSqlSafe, Connection as _, Error, PgConnection};
use thiserror::Error;

/// The number of the lock under which tables are brought up to date: `redress`, as the letters' bytes.
const LOCK: i64 = 0x0072_6564_7265_7373;

/// The treatment of tables that are not up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Migrations {
    /// They are brought up to date.
    #[default]
    Apply,
    /// They are left alone, and the program does not start.
    Verify,
}

/// Tables are not as the program needs them.
#[derive(Debug, Error)]
pub enum MigrateError {
    /// They are behind, and were not to be touched.
    #[error(
        "the tables are not up to date: {table} lacks the versions {missing:?}; `redress migrate`, run as their owner, applies them"
    )]
    Behind {
        /// The table that lists the applied migrations.
        table: String,
        /// The versions that were not applied.
        missing: Vec<i64>,
    },
    /// The user may not do it.
    #[error(
        "user `{user}` may not bring the tables up to date; `redress migrate`, run as their owner, does it, and this user \
         needs SELECT, INSERT, UPDATE and DELETE on all of them (and SELECT on {table})"
    )]
    Forbidden {
        /// The user that tried.
        user: String,
        /// The table that lists the applied migrations.
        table: String,
        /// The database's answer.
        source: Failure,
    },
    /// It went wrong.
    #[error(transparent)]
    Failed(Failure),
}

impl MigrateError {
    /// Returns true if it is a matter of rights.
    pub fn is_forbidden(&self) -> bool {
        match self {
            Self::Forbidden { .. } => true,
            Self::Behind { .. } | Self::Failed(_) => false,
        }
    }
}

/// Brings the tables up to date, if they are not. Versions that this program does not know are a newer one's, whose
/// tables serve this one too.
///
/// # Errors
/// [`MigrateError`]; then nothing has changed.
pub async fn bring_up_to_date(
    connection: &mut PgConnection,
    mut migrator: Migrator,
    migrations: Migrations,
    user: &str,
) -> Result<(), MigrateError> {
    let table = migrator.table_name.to_string();
    let sorted = |source: Failure| sort(source, user, &table);
    migrator.set_ignore_missing(true);
    let missing = missing(connection, &migrator).await.map_err(sorted)?;
    match (missing.is_empty(), migrations) {
        (true, _) => return Ok(()),
        (false, Migrations::Verify) => return Err(MigrateError::Behind { table, missing }),
        (false, Migrations::Apply) => {}
    }
    if migrator.no_tx || migrator.iter().any(|migration| migration.no_tx) {
        return migrator.run_direct(None, connection, false).await.map_err(sorted);
    }
    migrator.set_locking(false);
    apply(connection, &migrator).await.map_err(sorted)
}

async fn apply(connection: &mut PgConnection, migrator: &Migrator) -> Result<(), Failure> {
    let mut transaction = connection.begin().await?;
    // Another program may be at it, and a large index takes its time.
    sqlx::raw_sql(AssertSqlSafe(format!(
        "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; \
         SET LOCAL idle_in_transaction_session_timeout = 0; SELECT pg_advisory_xact_lock({LOCK})"
    )))
    .execute(&mut *transaction)
    .await?;
    migrator.run_direct(None, &mut *transaction, false).await?;
    Ok(transaction.commit().await?)
}

/// The versions that were not applied; a look that needs no right but to read.
async fn missing(connection: &mut PgConnection, migrator: &Migrator) -> Result<Vec<i64>, Failure> {
    let table = &*migrator.table_name;
    let is_there: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(table)
        .fetch_one(&mut *connection)
        .await?;
    let applied: Vec<(i64, Vec<u8>, bool)> = if is_there {
        let list = AssertSqlSafe(format!("SELECT version, checksum, success FROM {table}"));
        sqlx::query_as(list).fetch_all(connection).await?
    } else {
        Vec::new()
    };
    let applied: HashMap<i64, (Vec<u8>, bool)> =
        applied.into_iter().map(|(version, checksum, success)| (version, (checksum, success))).collect();
    let mut missing = Vec::new();
    for migration in migrator.iter().filter(|migration| !migration.migration_type.is_down_migration()) {
        match applied.get(&migration.version) {
            None => missing.push(migration.version),
            Some((_, false)) => return Err(Failure::Dirty(migration.version)),
            Some((checksum, true)) if **checksum != *migration.checksum => {
                return Err(Failure::VersionMismatch(migration.version));
            }
            Some((_, true)) => {}
        }
    }
    Ok(missing)
}

fn sort(source: Failure, user: &str, table: &str) -> MigrateError {
    let error = match &source {
        Failure::Execute(error) | Failure::ExecuteMigration(error, _) => error.as_database_error(),
        _ => None,
    };
    if error.and_then(|error| error.code()).as_deref() == Some("42501") {
        return MigrateError::Forbidden { user: user.to_owned(), table: table.to_owned(), source };
    }
    MigrateError::Failed(source)
}

impl From<Error> for MigrateError {
    fn from(error: Error) -> Self {
        Self::Failed(Failure::Execute(error))
    }
}
