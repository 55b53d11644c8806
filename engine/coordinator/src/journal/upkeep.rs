//! Counting what is open, and pruning what is old.

use std::time::Duration;

use redress_core::{Name, SagaId, Timestamp};
use sqlx::Row;
use sqlx::postgres::types::PgInterval;
use uuid::Uuid;

use super::{JournalError, PgJournal};
use crate::config::Keep;

/// Open sagas of one version of a definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSagas {
    /// The definition's name.
    pub saga: String,
    /// Its version.
    pub version: u32,
    /// How many have not ended.
    pub count: i64,
}

/// What a draining coordinator leaves, and what keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnderWay {
    /// Sagas that go on by themselves, and will end; and those that were closed while the outcome of a step is still
    /// asked for.
    pub going: i64,
    /// Sagas that are parked or paused, until an operator says more.
    pub resting: i64,
}

impl PgJournal {
    /// How many sagas still need their definition, by definition and version: those that have not ended, and those that
    /// were closed while the outcome of a step is still asked for.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub async fn open_sagas(&self) -> Result<Vec<OpenSagas>, JournalError> {
        // Two questions, each with the index that answers it.
        let rows = sqlx::query(
            "SELECT saga, version, sum(sagas)::bigint AS sagas FROM ( \
                 SELECT saga, version, count(*) AS sagas FROM sagas WHERE ended_at IS NULL GROUP BY 1, 2 \
                 UNION ALL \
                 SELECT saga, version, count(*) FROM sagas WHERE wake_at IS NOT NULL AND ended_at IS NOT NULL GROUP BY 1, 2 \
             ) AS needed GROUP BY 1, 2 ORDER BY 1, 2",
        )
        .fetch_all(&self.read);
        let rows = self.reading(rows).await?;
        let open = rows.iter().map(|row| {
            let version: i32 = row.try_get("version")?;
            let version = version.unsigned_abs();
            Ok(OpenSagas { saga: row.try_get("saga")?, version, count: row.try_get("sagas")? })
        });
        open.collect()
    }

    /// What is not over of these versions, of the sagas that were started before `since`.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub(crate) async fn under_way(
        &self,
        versions: &[(Name, u32)],
        since: Timestamp,
    ) -> Result<UnderWay, JournalError> {
        let (names, versions): (Vec<&str>, Vec<i32>) =
            versions.iter().map(|(name, version)| (&**name, version.cast_signed())).unzip();
        let row = sqlx::query(
            "SELECT count(*) FILTER (WHERE status NOT IN ('parked', 'paused')) AS going, \
                    count(*) FILTER (WHERE status IN ('parked', 'paused')) AS resting \
             FROM sagas JOIN UNNEST($1::text[], $2::integer[]) AS known (saga, version) USING (saga, version) \
             WHERE (ended_at IS NULL OR wake_at IS NOT NULL) AND started_at <= $3",
        )
        .bind(names)
        .bind(versions)
        .bind(since)
        .fetch_one(&self.read);
        let row = self.reading(row).await?;
        Ok(UnderWay { going: row.try_get("going")?, resting: row.try_get("resting")? })
    }

    /// How many sagas go on by themselves, but for longer than this.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub async fn stalled(&self, after: Duration) -> Result<i64, JournalError> {
        let stalled = sqlx::query_scalar(
            "SELECT count(*) FROM sagas WHERE ended_at IS NULL AND status IN ('running', 'compensating') \
               AND started_at < now() - $1",
        );
        self.reading(stalled.bind(interval(after)).fetch_one(&self.read)).await
    }

    /// Removes at most `limit` sagas that ended before what is kept, with all that belongs to them; says how many.
    ///
    /// # Errors
    /// [`JournalError`] if the database refuses; then nothing was removed.
    pub(crate) async fn prune_sagas(&self, keep: Keep, limit: i64) -> Result<u64, JournalError> {
        // Ids begin with the time of the start, so that the oldest come first in the primary key. What is still
        // verified after its end keeps its row.
        let pruned = sqlx::query_scalar(
            "WITH old AS ( \
                 SELECT id, key FROM sagas WHERE id < $1 AND ended_at < now() - $2 AND due_at IS NULL \
                 ORDER BY id LIMIT $3 FOR UPDATE SKIP LOCKED \
             ), history AS ( \
                 DELETE FROM saga_history USING old WHERE saga_history.saga_id = old.id \
             ), keys AS ( \
                 DELETE FROM idempotency_keys USING old WHERE idempotency_keys.key = old.key \
             ), gone AS ( \
                 DELETE FROM sagas USING old WHERE sagas.id = old.id RETURNING 1 \
             ) SELECT count(*) FROM gone",
        )
        .bind(self.newest_id_of(keep.sagas).await?.0)
        .bind(interval(keep.sagas))
        .bind(limit)
        .fetch_one(&self.work);
        let pruned: i64 = self.working(pruned).await?;
        Ok(pruned.unsigned_abs())
    }

    /// Removes at most `limit` dead letters that are older than what is kept and speak of no open saga; says how many.
    ///
    /// # Errors
    /// [`JournalError`] if the database refuses; then nothing was removed.
    pub(crate) async fn prune_dead_letters(&self, keep: Keep, limit: i64) -> Result<u64, JournalError> {
        let letters = sqlx::query(
            "DELETE FROM dead_letters WHERE id IN ( \
                 SELECT id FROM dead_letters AS letter WHERE at < now() - $1 AND NOT EXISTS ( \
                     SELECT FROM sagas WHERE sagas.id = letter.saga_id AND ended_at IS NULL) \
                 ORDER BY id LIMIT $2)",
        )
        .bind(interval(keep.dead_letters))
        .bind(limit)
        .execute(&self.work);
        Ok(self.working(letters).await?.rows_affected())
    }

    /// The largest id that a saga of this age has.
    async fn newest_id_of(&self, age: Duration) -> Result<SagaId, JournalError> {
        let born = self.now().await? - age;
        let millis = u128::try_from(born.timestamp_millis()).unwrap_or(0);
        Ok(SagaId(Uuid::from_u128(((millis + 1) << 80) - 1)))
    }
}

/// A duration as Postgres adds it.
pub(super) fn interval(duration: Duration) -> PgInterval {
    let microseconds = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    PgInterval { months: 0, days: 0, microseconds }
}
