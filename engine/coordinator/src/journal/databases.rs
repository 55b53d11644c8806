//! Databases as a whole: making those that are missing, and saying how durable they are.

use std::collections::BTreeMap;

use sqlx::{Connection, PgConnection, Row};

use super::{JournalError, PgJournal};

/// Creates the database `name` if it does not exist, on the server of `admin_url`.
///
/// # Errors
/// [`JournalError`] if the server does not answer or does not let us.
pub async fn ensure_database(admin_url: &str, name: &str) -> Result<(), JournalError> {
    let mut connection = PgConnection::connect(admin_url).await?;
    let exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = $1)")
        .bind(name)
        .fetch_one(&mut connection)
        .await?;
    if !exists {
        let quoted = name.replace('"', "\"\"");
        let created = sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE DATABASE \"{quoted}\"")))
            .execute(&mut connection)
            .await;
        match created {
            Ok(_) => {}
            // Another process was faster.
            Err(sqlx::Error::Database(error))
                if matches!(error.code().as_deref(), Some("42P04" | "23505")) => {}
            Err(error) => return Err(error.into()),
        }
    }
    connection.close().await?;
    Ok(())
}

impl PgJournal {
    /// The settings on which durability depends, as they are in force.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub async fn durability(&self) -> Result<BTreeMap<String, String>, JournalError> {
        let rows = sqlx::query(
            "SELECT name, setting FROM pg_settings \
             WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes', 'server_version')",
        )
        .fetch_all(&self.read);
        let rows = self.reading(rows).await?;
        rows.iter().map(|row| Ok((row.try_get("name")?, row.try_get("setting")?))).collect()
    }
}
