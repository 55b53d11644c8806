//! Counting open sagas, and pruning old rows.

use std::time::Duration;

use redress_core::state::ParkCode;
use redress_core::{Name, SagaId, Timestamp};
use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use uuid::Uuid;

use super::columns::interval;
use super::pg::PgJournal;
use super::walks::OPEN_KINDS;
use crate::ports::{JournalError, Keep, OpenSagas, Standing, UnderWay};

/// The least time for which the audit log keeps an operator command, however briefly sagas are kept: many times longer
/// than a command is tried, since a lost commit is looked up there.
const AUDIT_KEPT_MIN: Duration = Duration::from_secs(60 * 60);
/// How long a standing fault is listed after it was added although it is used up: a day of trying things out.
const FAULTS_KEPT: Duration = Duration::from_secs(86_400);

impl PgJournal {
    /// The number of sagas that still need their definition, by definition and version: those that have not ended, and
    /// those that were closed while the outcome of a step is still being verified.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub async fn open_sagas(&self) -> Result<Vec<OpenSagas>, JournalError> {
        // Two queries, each with the index that answers it.
        let rows = sqlx::query(
            "SELECT saga, version, sum(sagas)::bigint AS sagas FROM ( \
                 SELECT saga, version, count(*) AS sagas FROM sagas WHERE ended_at IS NULL GROUP BY 1, 2 \
                 UNION ALL \
                 SELECT saga, version, count(*) FROM sagas WHERE wake_at IS NOT NULL AND ended_at IS NOT NULL GROUP BY 1, 2 \
             ) AS needed GROUP BY 1, 2 ORDER BY 1, 2",
        )
        .fetch_all(&self.probe);
        let rows = self.reading(rows).await?;
        let open = rows.iter().map(|row| {
            let version: i32 = row.try_get("version")?;
            let version = version.unsigned_abs();
            Ok(OpenSagas { saga: row.try_get("saga")?, version, count: row.try_get("sagas")? })
        });
        open.collect()
    }

    /// The sagas of these versions that are not over, of those that were started before `since`.
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
        // In two parts, as in `open_sagas`. Both values of the index's first column are named, so that it is used.
        let row = sqlx::query(
            "SELECT count(*) FILTER (WHERE status NOT IN ('parked', 'paused')) AS going, \
                    count(*) FILTER (WHERE status IN ('parked', 'paused')) AS resting \
             FROM unnest($1::text[], $2::integer[]) AS known (saga, version), LATERAL ( \
                 SELECT status FROM sagas WHERE awaiting IN (false, true) AND sagas.saga = known.saga \
                     AND sagas.version = known.version AND ended_at IS NULL AND started_at <= $3 \
                 UNION ALL \
                 SELECT status FROM sagas WHERE sagas.saga = known.saga AND sagas.version = known.version \
                     AND ended_at IS NOT NULL AND wake_at IS NOT NULL AND started_at <= $3 \
             ) AS not_over",
        )
        .bind(names)
        .bind(versions)
        .bind(since)
        .fetch_one(&self.probe);
        let row = self.reading(row).await?;
        Ok(UnderWay { going: row.try_get("going")?, resting: row.try_get("resting")? })
    }

    /// The age of the oldest open saga and the number of parked ones, by definition.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer, or a code is none.
    pub(crate) async fn standing(&self) -> Result<Standing, JournalError> {
        // The oldest of each kind, however many are open: ids begin with the time of the start.
        let oldest = format!(
            "{OPEN_KINDS} SELECT kinds.saga, extract(epoch FROM now() - min(started_at))::float8 AS age \
             FROM kinds, LATERAL ( \
                 SELECT started_at FROM sagas WHERE ended_at IS NULL AND awaiting = kinds.awaiting \
                     AND saga = kinds.saga AND version = kinds.version ORDER BY id LIMIT 1 \
             ) AS oldest GROUP BY 1 ORDER BY 1"
        );
        let oldest = sqlx::query(sqlx::AssertSqlSafe(oldest));
        let oldest = self.reading(oldest.fetch_all(&self.probe)).await?;
        let parked = sqlx::query(
            "SELECT saga, convert_from(state, 'UTF8')::jsonb #> '{status,parked,reason,code}' AS code, \
                count(*) AS sagas \
             FROM sagas WHERE ended_at IS NULL AND NOT awaiting AND status = 'parked' GROUP BY 1, 2 ORDER BY 1, 2",
        );
        let parked = self.reading(parked.fetch_all(&self.probe)).await?;
        let age = |row: &PgRow| Ok((row.try_get("saga")?, seconds(row.try_get("age")?)));
        let by_code = |row: &PgRow| {
            let Json(code): Json<ParkCode> = row.try_get("code")?;
            Ok((row.try_get("saga")?, code, row.try_get("sagas")?))
        };
        Ok(Standing {
            oldest: oldest.iter().map(age).collect::<Result<_, JournalError>>()?,
            parked: parked.iter().map(by_code).collect::<Result<_, JournalError>>()?,
        })
    }

    /// The sagas of these versions that wait for their time, and not for an answer or an event from outside: those have
    /// nothing at the broker.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub(crate) async fn asleep(&self, versions: &[(Name, u32)]) -> Result<Vec<SagaId>, JournalError> {
        let (names, versions): (Vec<&str>, Vec<i32>) =
            versions.iter().map(|(name, version)| (&**name, version.cast_signed())).unzip();
        let ids = sqlx::query_scalar(
            "SELECT sagas.id FROM unnest($1::text[], $2::integer[]) AS known (saga, version) \
             JOIN sagas USING (saga, version) WHERE wake_at > now() AND NOT awaiting ORDER BY sagas.id",
        )
        .bind(names)
        .bind(versions)
        .fetch_all(&self.read);
        let ids: Vec<Uuid> = self.reading(ids).await?;
        Ok(ids.into_iter().map(SagaId).collect())
    }

    /// Lets the timer look at these sagas at once, but for those that another transaction moves at the moment.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub(crate) async fn wake(&self, ids: Vec<SagaId>) -> Result<(), JournalError> {
        let ids: Vec<Uuid> = ids.into_iter().map(|id| id.0).collect();
        let woken = sqlx::query(
            "UPDATE sagas SET wake_at = now() WHERE id IN ( \
                 SELECT id FROM sagas WHERE id = ANY($1) AND wake_at > now() ORDER BY id FOR UPDATE SKIP LOCKED)",
        )
        .bind(ids)
        .execute(&self.work);
        self.working(woken).await.map(drop)
    }

    /// The number of sagas that go on by themselves, but for longer than this, and await no answer that comes later.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub async fn stalled(&self, after: Duration) -> Result<i64, JournalError> {
        let stalled = sqlx::query_scalar(
            "SELECT count(*) FROM sagas WHERE ended_at IS NULL AND NOT awaiting \
                 AND status IN ('running', 'compensating') AND started_at < now() - $1",
        );
        self.reading(stalled.bind(interval(after)).fetch_one(&self.probe)).await
    }

    /// Removes at most `limit` sagas that ended before the time for which they are kept, with all that belongs to them;
    /// returns how many.
    ///
    /// # Errors
    /// [`JournalError`] if the database refuses; then nothing was removed.
    pub(crate) async fn prune_sagas(&self, keep: Keep, limit: i64) -> Result<u64, JournalError> {
        // Ids begin with the time of the start, so that the oldest come first in the primary key. A saga that is still
        // being verified after its end keeps its row. A key that expired may be that of a younger saga by now.
        let pruned = sqlx::query_scalar(
            "WITH old AS ( \
                 SELECT id, key FROM sagas WHERE id < $1 AND ended_at < now() - $2 AND due_at IS NULL \
                 ORDER BY id LIMIT $3 FOR UPDATE SKIP LOCKED \
             ), history AS ( \
                 DELETE FROM saga_history USING old WHERE saga_history.saga_id = old.id \
             ), keys AS ( \
                 DELETE FROM idempotency_keys USING old \
                 WHERE idempotency_keys.key = old.key AND idempotency_keys.saga_id = old.id \
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

    /// Removes at most `limit` keys of starts whose sagas ended more than `age` ago; returns the number.
    ///
    /// # Errors
    /// [`JournalError`] if the database refuses; then nothing was removed.
    pub(crate) async fn prune_keys(&self, age: Duration, limit: i64) -> Result<u64, JournalError> {
        let keys = sqlx::query(
            "DELETE FROM idempotency_keys WHERE key IN ( \
                 SELECT key FROM idempotency_keys AS known WHERE saga_id < $1 AND NOT EXISTS ( \
                     SELECT FROM sagas WHERE sagas.id = known.saga_id \
                       AND (ended_at IS NULL OR ended_at >= now() - $2)) \
                 ORDER BY key LIMIT $3 FOR UPDATE OF known SKIP LOCKED)",
        )
        .bind(self.newest_id_of(age).await?.0)
        .bind(interval(age))
        .bind(limit)
        .execute(&self.work);
        Ok(self.working(keys).await?.rows_affected())
    }

    /// Removes at most `limit` dead letters that are older than they must be kept and speak of no open saga; returns
    /// the number.
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

    /// Removes at most `limit` rows of the audit log whose saga is gone and that are as old as it was; returns the
    /// number.
    ///
    /// A row lives as long as its saga, and never so short that a coordinator which lost the answer to a commit could
    /// miss its operator command.
    ///
    /// # Errors
    /// [`JournalError`] if the database refuses; then nothing was removed.
    pub(crate) async fn prune_audit(&self, keep: Keep, limit: i64) -> Result<u64, JournalError> {
        let rows = sqlx::query(
            "DELETE FROM audit_log WHERE id IN ( \
                 SELECT id FROM audit_log AS row WHERE at < now() - $1 AND NOT EXISTS ( \
                     SELECT FROM sagas WHERE sagas.id = row.saga_id) \
                 ORDER BY id LIMIT $2)",
        )
        .bind(interval(keep.sagas.max(AUDIT_KEPT_MIN)))
        .bind(limit)
        .execute(&self.work);
        Ok(self.working(rows).await?.rows_affected())
    }

    /// Removes at most `limit` standing faults that are used up and were added long ago; says how many.
    ///
    /// # Errors
    /// [`JournalError`] if the database refuses; then nothing was removed.
    pub(crate) async fn prune_faults(&self, limit: i64) -> Result<u64, JournalError> {
        let faults = sqlx::query(
            "DELETE FROM faults WHERE id IN ( \
                 SELECT id FROM faults WHERE remaining = 0 AND added_at < now() - $1 ORDER BY id LIMIT $2)",
        )
        .bind(interval(FAULTS_KEPT))
        .bind(limit)
        .execute(&self.work);
        Ok(self.working(faults).await?.rows_affected())
    }

    /// The largest id that a saga of this age has, by the database's clock and by ours: two must agree before anything is
    /// forgotten, as one of them may have been set forward.
    async fn newest_id_of(&self, age: Duration) -> Result<SagaId, JournalError> {
        let born = self.now().await? - age;
        let theirs = u128::try_from(born.timestamp_millis()).unwrap_or(0);
        // An id begins with the milliseconds of its maker's clock.
        let ours = (Uuid::now_v7().as_u128() >> 80).saturating_sub(age.as_millis());
        Ok(SagaId(Uuid::from_u128(((theirs.min(ours) + 1) << 80) - 1)))
    }
}

/// An age that the database has counted; nothing if its clock has stepped back.
fn seconds(age: f64) -> Duration {
    Duration::try_from_secs_f64(age).unwrap_or_default()
}
