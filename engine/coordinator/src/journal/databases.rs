//! The durability of the journal's database.

use std::collections::BTreeMap;

use sqlx::Row;

use super::pg::PgJournal;
use crate::ports::JournalError;

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
        .fetch_all(&self.probe);
        let rows = self.reading(rows).await?;
        rows.iter().map(|row| Ok((row.try_get("name")?, row.try_get("setting")?))).collect()
    }
}
