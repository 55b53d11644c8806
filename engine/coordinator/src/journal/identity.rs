//! Which journal this is: the streams at the broker carry its id.

use super::pg::PgJournal;
use crate::ports::JournalError;

impl PgJournal {
    /// The id of this journal, made with its tables.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub async fn id(&self) -> Result<String, JournalError> {
        let present =
            sqlx::query_scalar("SELECT id::text FROM journal_identity").fetch_optional(&self.read).await?;
        match present {
            Some(id) => Ok(id),
            // Its row was deleted by hand.
            None => Ok(sqlx::query_scalar("INSERT INTO journal_identity DEFAULT VALUES RETURNING id::text")
                .fetch_one(&self.work)
                .await?),
        }
    }
}
