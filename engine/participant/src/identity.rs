//! The identity of an inbox: an id that its database keeps.

use std::sync::Arc;

use sqlx::PgConnection;

use crate::worker::Worker;

impl<S: Send + Sync + 'static> Worker<S> {
    /// The id of the inbox; waits until the database says it.
    pub(crate) async fn inbox_id(self: &Arc<Self>) -> String {
        loop {
            // In a task of its own, because nothing may cancel a write.
            let worker = self.clone();
            let reading =
                tokio::spawn(async move { worker.inbox.on_connection(|it| Box::pin(read(it))).await });
            match reading.await {
                Ok(Ok(id)) => return id,
                Ok(Err(error)) => {
                    let error = error.chain();
                    tracing::warn!(service = %self.service, error, "failed to read the inbox's id; retrying");
                }
                Err(panic) => {
                    tracing::error!(service = %self.service, %panic, "reading the inbox's id panicked; retrying")
                }
            }
            tokio::time::sleep(self.inbox.config.database_down_pause).await;
        }
    }
}

async fn read(connection: &mut PgConnection) -> Result<String, sqlx::Error> {
    let present =
        sqlx::query_scalar("SELECT id::text FROM inbox_identity").fetch_optional(&mut *connection).await?;
    match present {
        Some(id) => Ok(id),
        // Its row was deleted by hand.
        None => {
            sqlx::query_scalar("INSERT INTO inbox_identity DEFAULT VALUES RETURNING id::text")
                .fetch_one(connection)
                .await
        }
    }
}
