//! The places of steps in the orders of their keys.
//!
//! Authoritative for which step of a key is the first. A start takes an advisory lock of each of its keys, in the order of
//! the locks, before it takes a number, and holds it until its commit: no number of a key is seen before a smaller one of
//! the same key, and the orders of different keys never contradict each other. The locks of a caller's own transaction
//! ([`Engine::start_in`](crate::Engine::start_in)) last as long as that does.
//!
//! A row moves `new` → `waiting` → `first` → `let-go` → gone. Only a saga's own unit of work makes a place `first` or
//! `let-go`, with the state that says the same. A key in which something is `new` or `let-go` is looked at until its first
//! saga knows that it is the first; only then is what was let go forgotten. A look that finds a row locked passes over it.

use std::collections::{BTreeSet, HashSet};

use redress_core::{Name, SagaId};
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::columns::signed;
use super::errors::of_connecting;
use super::pg::PgJournal;
use crate::ports::{JournalError, NewSaga, PlaceChange};

/// Locks the keys of a batch of starts until the end of the transaction.
pub(super) async fn lock_keys(connection: &mut PgConnection, sagas: &[NewSaga]) -> Result<(), JournalError> {
    let places = sagas.iter().flat_map(|saga| &saga.places);
    let locks: BTreeSet<i64> = places.map(|place| lock_of(&place.scope, &place.key)).collect();
    sqlx::query("SELECT pg_advisory_xact_lock(lock) FROM unnest($1::bigint[]) AS locks (lock)")
        .bind(locks.into_iter().collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

/// The advisory lock of a key. Two keys that share one wait for each other's starts, and for nothing else.
fn lock_of(scope: &str, key: &str) -> i64 {
    let mut hash = Sha256::new();
    for part in ["redress-place", scope, key] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let bytes = hash.finalize();
    let (first, _) = bytes.split_first_chunk::<8>().expect("SHA-256 has 32 bytes");
    i64::from_be_bytes(*first)
}

/// Takes the places of the sagas that are new, in the order of their starts.
pub(super) async fn take(
    connection: &mut PgConnection,
    sagas: &[NewSaga],
    new: &HashSet<Uuid>,
) -> Result<(), JournalError> {
    let sagas = || sagas.iter().filter(|saga| new.contains(&saga.id.0) && !saga.places.is_empty());
    let places = || sagas().flat_map(|saga| saga.places.iter().map(|place| (saga.id.0, place)));
    sqlx::query(
        "WITH marked AS ( \
             UPDATE sagas SET awaiting = true WHERE id = ANY($5) \
         ) INSERT INTO saga_places (scope, key, saga_id, step) \
         SELECT n.scope, n.key, n.saga_id, n.step \
         FROM unnest($1::text[], $2::text[], $3::uuid[], $4::text[]) WITH ORDINALITY \
              AS n (scope, key, saga_id, step, nth) ORDER BY n.nth",
    )
    .bind(places().map(|(_, place)| place.scope.as_str()).collect::<Vec<_>>())
    .bind(places().map(|(_, place)| place.key.as_str()).collect::<Vec<_>>())
    .bind(places().map(|(id, _)| id).collect::<Vec<_>>())
    .bind(places().map(|(_, place)| place.step.as_str()).collect::<Vec<_>>())
    .bind(sagas().filter(|saga| saga.state.is_awaiting()).map(|saga| saga.id.0).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// Writes where places stand now; one that was let go stays so.
pub(super) async fn write(
    connection: &mut PgConnection,
    changes: &[PlaceChange],
) -> Result<(), JournalError> {
    sqlx::query(
        "UPDATE saga_places SET standing = n.standing \
         FROM unnest($1::uuid[], $2::text[], $3::text[]) AS n (saga_id, step, standing) \
         WHERE saga_places.saga_id = n.saga_id AND saga_places.step = n.step AND saga_places.standing <> 'let-go'",
    )
    .bind(changes.iter().map(|change| change.id.0).collect::<Vec<_>>())
    .bind(changes.iter().map(|change| change.step.as_str()).collect::<Vec<_>>())
    .bind(changes.iter().map(|change| change.mark.as_str()).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// The first place of each key in which something has changed, if its saga does not know it.
const UNTOLD: &str = "SELECT DISTINCT head.saga_id, head.step \
     FROM (SELECT DISTINCT scope, key FROM saga_places WHERE standing IN ('new', 'let-go')) AS changed, \
     LATERAL (SELECT p.saga_id, p.step, p.standing FROM saga_places AS p \
              WHERE p.scope = changed.scope AND p.key = changed.key AND p.standing <> 'let-go' \
              ORDER BY p.number LIMIT 1) AS head, \
     LATERAL (SELECT s.saga, s.version FROM sagas AS s \
              WHERE s.id = head.saga_id AND s.state_format <= $3) AS held, \
     unnest($1::text[], $2::integer[]) AS known (saga, version) \
     WHERE head.standing IN ('new', 'waiting') AND held.saga = known.saga AND held.version = known.version \
     LIMIT $4";

/// Forgets what was let go in keys whose first saga knows that it is the first, and marks what stands behind another.
const TIDY: &str = "WITH seen AS ( \
         SELECT p.scope, p.key, p.number, p.standing FROM saga_places AS p \
         WHERE CASE p.standing \
             WHEN 'let-go' THEN coalesce((SELECT h.standing = 'first' FROM saga_places AS h \
                 WHERE h.scope = p.scope AND h.key = p.key AND h.standing <> 'let-go' \
                 ORDER BY h.number LIMIT 1), true) \
             ELSE EXISTS (SELECT FROM saga_places AS e \
                 WHERE e.scope = p.scope AND e.key = p.key AND e.number < p.number AND e.standing <> 'let-go') \
             END AND p.standing IN ('new', 'let-go') \
         ORDER BY p.number LIMIT $1 FOR UPDATE OF p SKIP LOCKED \
     ), forgotten AS ( \
         DELETE FROM saga_places AS p USING seen \
         WHERE seen.standing = 'let-go' AND p.scope = seen.scope AND p.key = seen.key AND p.number = seen.number \
     ), marked AS ( \
         UPDATE saga_places AS p SET standing = 'waiting' FROM seen \
         WHERE seen.standing = 'new' AND p.scope = seen.scope AND p.key = seen.key AND p.number = seen.number \
     ) SELECT count(*) AS count FROM seen";

impl PgJournal {
    /// The first places of keys in which something has changed, whose sagas are of these versions and do not know it.
    pub(super) async fn untold_places(
        &self,
        versions: &[(Name, u32)],
        limit: i64,
    ) -> Result<Vec<(SagaId, Name)>, JournalError> {
        let (names, numbers): (Vec<&str>, Vec<i32>) =
            versions.iter().map(|(name, version)| (name.as_str(), signed(*version))).unzip();
        let rows = self.working(
            sqlx::query(UNTOLD)
                .bind(names)
                .bind(numbers)
                .bind(signed(self.state_format))
                .bind(limit)
                .fetch_all(&self.work),
        );
        let mut untold = Vec::new();
        for row in rows.await? {
            let step: &str = row.try_get("step")?;
            let step = Name::new(step).map_err(|error| JournalError::Unreadable(error.to_string()))?;
            untold.push((SagaId(row.try_get("saga_id")?), step));
        }
        Ok(untold)
    }

    /// Tidies at most so many places up; returns the number.
    pub(super) async fn tidy_places(&self, limit: i64) -> Result<u64, JournalError> {
        let journal = self.clone();
        self.unit(async move {
            let mut connection = journal.work.acquire().await.map_err(of_connecting)?;
            let row = sqlx::query(TIDY).bind(limit).fetch_one(&mut *connection).await?;
            Ok(row.try_get::<i64, _>("count")?.unsigned_abs())
        })
        .await
    }

    /// How many places are not the first of their keys.
    pub(super) async fn places_waiting(&self) -> Result<i64, JournalError> {
        let query = "SELECT count(*) FROM saga_places WHERE standing IN ('new', 'waiting')";
        self.reading(sqlx::query_scalar(query).fetch_one(&self.probe)).await
    }

    /// The saga that holds the key of this step, if it is another one.
    pub(super) async fn place_holder(&self, id: SagaId, step: &Name) -> Result<Option<SagaId>, JournalError> {
        let query = "SELECT head.saga_id FROM saga_places AS mine, \
                     LATERAL (SELECT p.saga_id, p.number FROM saga_places AS p \
                              WHERE p.scope = mine.scope AND p.key = mine.key AND p.standing <> 'let-go' \
                              ORDER BY p.number LIMIT 1) AS head \
                     WHERE mine.saga_id = $1 AND mine.step = $2 AND head.number < mine.number";
        let query = sqlx::query_scalar(query).bind(id.0).bind(step.as_str()).fetch_optional(&self.read);
        Ok(self.reading(query).await?.map(SagaId))
    }
}
