//! Which sagas a unit of work reads, and how much of them.
//!
//! Each selection is one query. A window over the sizes, which are known without reading the columns that are stored
//! apart because of their size, says how far the bytes go; beyond, only the ids are read.

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use super::columns::{interval, signed};
use crate::config::AGE_MAX;
use crate::ports::Selection;

/// The columns of a snapshot. Sizes are known without reading the columns that are stored apart because of their size.
const COLUMNS: &str = "id, saga, version, revision, state_format, wake_at, state, data, \
                       octet_length(state)::bigint + octet_length(data) AS size, clock_timestamp() AS now";

/// Reads the sagas of a query that gives [`COLUMNS`] and `turn`: their states and data only as long as those before
/// them, turn by turn, are less than `$1` bytes. The others are named.
fn as_far_as_it_goes(chosen: &str) -> String {
    format!(
        "SELECT id, saga, version, revision, state_format, wake_at, now, CASE WHEN fits THEN state END AS state, \
                CASE WHEN fits THEN data END AS data \
         FROM (SELECT *, sum(size) OVER (ORDER BY turn, id ROWS UNBOUNDED PRECEDING) - size < $1 AS fits \
               FROM ({chosen}) AS chosen) AS sized ORDER BY id"
    )
}

/// Reads the selected sagas; those for which the bytes do not suffice have neither state nor data.
pub(super) async fn select(
    connection: &mut PgConnection,
    selection: &Selection,
    bytes_max: usize,
    state_format: u32,
) -> Result<Vec<PgRow>, sqlx::Error> {
    let bytes_max = i64::try_from(bytes_max).unwrap_or(i64::MAX);
    let these = |lock: &str| {
        as_far_as_it_goes(&format!(
            "SELECT {COLUMNS}, 0 AS turn FROM sagas WHERE id = ANY($2) ORDER BY id {lock}"
        ))
    };
    match selection {
        Selection::Unlocked(ids) | Selection::Known { read: ids, .. } | Selection::These(ids) => {
            let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
            let sql = these(if selection.is_locked() { "FOR UPDATE" } else { "" });
            sqlx::query(AssertSqlSafe(sql)).bind(bytes_max).bind(ids).fetch_all(connection).await
        }
        Selection::Alone(id) => {
            let sql = these("FOR UPDATE NOWAIT");
            sqlx::query(AssertSqlSafe(sql)).bind(bytes_max).bind(vec![id.0]).fetch_all(connection).await
        }
        Selection::Due { known, limit } => {
            let (names, versions): (Vec<&str>, Vec<i32>) =
                known.iter().map(|(name, version, _)| (name.as_str(), signed(*version))).unzip();
            let behind = known.iter().map(|(_, _, behind)| interval((*behind).min(AGE_MAX)));
            // Definition by definition, as the index is: sagas that wait for a version that is not known here are not
            // even looked at, and a flood of one definition leaves the others their turn: also within the bytes.
            let sql = as_far_as_it_goes(&format!(
                "SELECT due.*, row_number() OVER (PARTITION BY due.saga, due.version ORDER BY due.wake_at) AS turn \
                 FROM unnest($2::text[], $3::integer[], $6::interval[]) AS known (saga, version, behind), LATERAL ( \
                     SELECT {COLUMNS} FROM sagas \
                     WHERE sagas.saga = known.saga AND sagas.version = known.version \
                           AND wake_at <= now() - known.behind AND state_format <= $5 \
                     ORDER BY wake_at LIMIT $4 FOR UPDATE SKIP LOCKED \
                 ) AS due"
            ));
            let query = sqlx::query(AssertSqlSafe(sql))
                .bind(bytes_max)
                .bind(names)
                .bind(versions)
                .bind(limit)
                .bind(signed(state_format))
                .bind(behind.collect::<Vec<_>>());
            query.fetch_all(connection).await
        }
        Selection::Waiting { known, after, limit } => {
            let query = as_far_as_it_goes(&waiting());
            let (names, versions): (Vec<&str>, Vec<i32>) =
                known.iter().map(|(name, version, _)| (name.as_str(), signed(*version))).unzip();
            let under_way = known.iter().map(|(_, _, longest)| interval(longest.under_way.min(AGE_MAX)));
            let awaiting = known.iter().map(|(_, _, longest)| interval(longest.awaiting.min(AGE_MAX)));
            sqlx::query(AssertSqlSafe(query))
                .bind(bytes_max)
                .bind(names)
                .bind(versions)
                .bind(limit)
                .bind(signed(state_format))
                .bind(under_way.collect::<Vec<_>>())
                .bind(after.map(|(wake_at, _)| wake_at))
                .bind(after.map(|(_, id)| id.0))
                .bind(awaiting.collect::<Vec<_>>())
                .fetch_all(connection)
                .await
        }
    }
}

/// The sagas that wait, in the order of the times. Those that await something from outside are passed over within the
/// query: none of them is locked or handed out.
fn waiting() -> String {
    format!(
        "SELECT *, row_number() OVER (ORDER BY wake_at, id) AS turn FROM ( \
             SELECT waiting.* \
             FROM unnest($2::text[], $3::integer[], $6::interval[], $9::interval[]) \
                  AS known (saga, version, longest, awaited), LATERAL ( \
                 SELECT {COLUMNS} FROM sagas \
                 WHERE sagas.saga = known.saga AND sagas.version = known.version AND state_format <= $5 \
                       AND wake_at > now() + least(known.longest, known.awaited) \
                       AND wake_at > now() + CASE WHEN awaiting THEN known.awaited ELSE known.longest END \
                       AND ($7::timestamptz IS NULL OR (wake_at, id) > ($7, $8::uuid)) \
                 ORDER BY wake_at, id LIMIT $4 FOR UPDATE SKIP LOCKED \
             ) AS waiting ORDER BY wake_at, id LIMIT $4) AS first"
    )
}
