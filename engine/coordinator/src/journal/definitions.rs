//! The definitions that were ever deployed.

use redress_core::SagaDefinition;
use redress_core::behaviour::{Behaviour, SCHEME};
use redress_core::digest::describe_difference;
use serde_json::Value;
use sqlx::Row;

use super::columns::signed;
use super::pg::PgJournal;
use crate::ports::{JournalError, RegisterError};

/// A definition as it was deployed.
struct Deployed {
    digest: String,
    graph: Value,
    /// The results of its closures on examples, and the form in which they are kept.
    behaviour: Option<(i16, String)>,
}

impl PgJournal {
    /// Stores the definition if its version is new, and compares it with the stored one if it is not.
    ///
    /// The shape is compared by its digest, then the results of the closures on the examples that were stored with it.
    /// If none were stored (by version 0.1, which did not try closures) they are now.
    ///
    /// # Errors
    /// [`RegisterError::Changed`] if its digest is another, or its closures make something else.
    pub async fn register(&self, definition: &SagaDefinition) -> Result<(), RegisterError> {
        let graph = definition.graph();
        let behaviour = Behaviour::of(definition);
        warn_of_gaps(definition, &behaviour);
        let ours = (!behaviour.examples.is_empty()).then(|| behaviour.to_text());
        let insert = sqlx::query(
            "INSERT INTO saga_definitions (saga, version, digest, graph, behaviour_scheme, behaviour) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
        )
        .bind(definition.name.as_str())
        .bind(signed(definition.version))
        .bind(&definition.digest)
        .bind(&graph)
        .bind(ours.as_ref().map(|_| SCHEME))
        .bind(&ours)
        .execute(&self.read);
        self.reading(insert).await?;
        let changed = |differences| RegisterError::Changed {
            saga: definition.name.to_string(),
            version: definition.version,
            differences,
        };
        // Once more if another coordinator has stored its behaviour in between: then it is compared with that one.
        loop {
            let deployed = self.deployed(definition).await?;
            if deployed.digest != definition.digest {
                return Err(changed(describe_difference(&deployed.graph, &graph)));
            }
            let (stays, differences) = match &deployed.behaviour {
                Some((SCHEME, text)) => compared(definition, &behaviour, text)?,
                Some((scheme, _)) => {
                    tracing::warn!(saga = %definition.name, version = definition.version, scheme,
                        "the digest of what the closures make was stored by another program and is not compared");
                    (true, Vec::new())
                }
                None => (ours.is_none(), Vec::new()),
            };
            if !differences.is_empty() {
                return Err(changed(differences));
            }
            let before = deployed.behaviour.map(|(_, text)| text);
            if stays || self.replace_behaviour(definition, before, ours.as_ref()).await? {
                return Ok(());
            }
        }
    }

    async fn deployed(&self, definition: &SagaDefinition) -> Result<Deployed, JournalError> {
        let row = sqlx::query(
            "SELECT digest, graph, behaviour_scheme, behaviour FROM saga_definitions \
             WHERE saga = $1 AND version = $2",
        )
        .bind(definition.name.as_str())
        .bind(signed(definition.version))
        .fetch_one(&self.read);
        let row = self.reading(row).await?;
        let scheme: Option<i16> = row.try_get("behaviour_scheme")?;
        Ok(Deployed {
            digest: row.try_get("digest")?,
            graph: row.try_get("graph")?,
            behaviour: scheme.zip(row.try_get("behaviour")?),
        })
    }

    /// Stores the results of the closures in the place of those that were stored before; false if they have changed
    /// meanwhile.
    async fn replace_behaviour(
        &self,
        definition: &SagaDefinition,
        before: Option<String>,
        now: Option<&String>,
    ) -> Result<bool, JournalError> {
        let update = sqlx::query(
            "UPDATE saga_definitions SET behaviour_scheme = $3, behaviour = $4 \
             WHERE saga = $1 AND version = $2 AND behaviour IS NOT DISTINCT FROM $5",
        )
        .bind(definition.name.as_str())
        .bind(signed(definition.version))
        .bind(now.map(|_| SCHEME))
        .bind(now)
        .bind(before)
        .execute(&self.read);
        Ok(self.reading(update).await?.rows_affected() == 1)
    }
}

/// Compares the closures of the definition with their stored results: true if those stay, and the differences.
fn compared(
    definition: &SagaDefinition,
    ours: &Behaviour,
    stored: &str,
) -> Result<(bool, Vec<String>), JournalError> {
    let stored = Behaviour::from_text(stored)
        .map_err(|error| JournalError::from(sqlx::Error::Decode(Box::new(error))))?;
    // New examples count from now on; without any, those that are stored wait for a program that tries closures.
    let stays = ours.examples.is_empty() || stored.has_the_examples_of(ours);
    Ok((stays, stored.differences(definition)))
}

/// Logs the gaps that the comparison of the next start will not see.
fn warn_of_gaps(definition: &SagaDefinition, behaviour: &Behaviour) {
    let (saga, version) = (&definition.name, definition.version);
    if !behaviour.made_anew.is_empty() {
        let anew = behaviour.made_anew.join(", ");
        tracing::warn!(%saga, version, %anew,
            "closures make something else of the same data each time; a change of these fields under the same version \
             goes unnoticed");
    }
    if behaviour.examples.is_empty() && !behaviour.unreadable.is_empty() {
        let problem = &behaviour.unreadable[0];
        tracing::warn!(%saga, version, problem,
            "no example can be read as the saga's data: give it `.example(..)`, or a change of its closures under the \
             same version goes unnoticed");
    }
}
