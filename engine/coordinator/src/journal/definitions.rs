//! The definitions that were ever deployed.

use redress_core::SagaDefinition;
use redress_core::digest::describe_difference;
use serde_json::Value;
use sqlx::Row;
use thiserror::Error;

use super::unit::signed;
use super::{JournalError, PgJournal};

/// A definition cannot be deployed.
#[derive(Debug, Error)]
pub enum RegisterError {
    /// It differs from what was deployed under its version.
    #[error(
        "saga `{saga}` version {version} differs from the one that was deployed: {}; \
         a deployed version is immutable, so give the changed definition version {} and keep the old one as long \
         as sagas of it live", differences.join("; "), version + 1
    )]
    Changed {
        /// The saga.
        saga: String,
        /// Its version.
        version: u32,
        /// Where they differ.
        differences: Vec<String>,
    },
    /// The journal could not be asked.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl PgJournal {
    /// Stores the definition if its version is new, and compares it with what is stored if it is not.
    ///
    /// # Errors
    /// [`RegisterError::Changed`] if its digest is another.
    pub async fn register(&self, definition: &SagaDefinition) -> Result<(), RegisterError> {
        let graph = definition.graph();
        let (saga, version) = (definition.name.as_str(), signed(definition.version));
        let insert = sqlx::query(
            "INSERT INTO saga_definitions (saga, version, digest, graph) VALUES ($1, $2, $3, $4) \
             ON CONFLICT DO NOTHING",
        )
        .bind(saga)
        .bind(version)
        .bind(&definition.digest)
        .bind(&graph)
        .execute(&self.read);
        self.reading(insert).await?;
        let row = sqlx::query("SELECT digest, graph FROM saga_definitions WHERE saga = $1 AND version = $2")
            .bind(saga)
            .bind(version)
            .fetch_one(&self.read);
        let row = self.reading(row).await?;
        let digest: String = row.try_get("digest").map_err(JournalError::from)?;
        if digest == definition.digest {
            return Ok(());
        }
        let stored: Value = row.try_get("graph").map_err(JournalError::from)?;
        Err(RegisterError::Changed {
            saga: saga.to_owned(),
            version: definition.version,
            differences: describe_difference(&stored, &graph),
        })
    }
}
