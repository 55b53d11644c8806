//! Ended sagas that are there before the measurement: `--preload`.
//!
//! They are copies of sagas that the bench has really played, one that has completed and one that was undone, in the
//! proportion of the load: the same state, data, input and history, moved into the past. So they have whatever columns and
//! rows the engine of the day writes; a column that it gets tomorrow is copied, too. Only ids, keys and times are their own,
//! those within a state as well, which are numbers in its JSON.
//! They are made by the database, in the bench's own private journal, several times as fast as sagas end.
//!
//! A chunk is one statement, and so one transaction: what an interrupted bench leaves behind is a journal that ends with it.

use std::time::Duration;

use anyhow::Context as _;
use indicatif::ProgressBar;
use redress_core::SagaId;
use redress_participant::sqlx::{self, AssertSqlSafe, Connection as _, PgConnection, Row as _};

/// Sagas of one statement: its rows are sorted in memory, and a terminal sees progress about twice a second.
const CHUNK: u64 = 5_000;
/// Memory for a sort, as 5,000 sagas have some 20 MB of history; and no compilation of a statement that runs for half a
/// second, which would take longer than the statement.
const SESSION: &str = "SET work_mem = '96MB'; SET jit = off";
/// The time over which they are spread: less than the 30 days for which ended sagas are kept.
const SPAN: Duration = Duration::from_secs(20 * 86_400);
/// The time between the last of them and now: they lie in the past, whatever a saga takes.
const BEFORE_NOW: Duration = Duration::from_secs(3_600);
/// The tables of an ended saga, with the column of its id. An echo saga has no places and no letters.
const TABLES: [(&str, &str); 3] =
    [("sagas", "id"), ("saga_history", "saga_id"), ("idempotency_keys", "saga_id")];

/// A time in the JSON of a state: microseconds since 1970.
const TIME: &str = r#"(?<="(?:started_at|ended_at|deadline_at|until|since|answer_by)":)\d+"#;
/// A state with its times moved, from what `set_apart` makes of it.
const MOVED_STATE: &str = "convert_to((SELECT string_agg(piece || \
     coalesce((time + (extract(epoch FROM made.shift) * 1000000)::bigint)::text, ''), '' ORDER BY number) \
     FROM unnest(template.pieces, template.times) WITH ORDINALITY AS part (piece, time, number)), 'UTF8')";

/// Sagas of the bench that have really ended, to be copied.
#[derive(Clone, Copy, Debug)]
pub(super) struct Templates {
    pub(super) completed: SagaId,
    pub(super) undone: SagaId,
}

/// Makes so many ended sagas, `fail_rate` of them undone, and leaves the database as after a night: vacuumed, analyzed,
/// written to disk.
///
/// # Errors
/// That of the database.
pub(super) async fn preload(
    database_url: &str,
    sagas: u64,
    (templates, fail_rate): (Templates, f64),
    progress: &ProgressBar,
) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(database_url).await?;
    sqlx::raw_sql(SESSION).execute(&mut connection).await?;
    set_apart(&mut connection, templates).await?;
    let chunk = statement(&mut connection).await?;
    let seconds_each = SPAN.as_secs_f64() / sagas as f64;
    let until: chrono::DateTime<chrono::Utc> = sqlx::query_scalar("SELECT now() - make_interval(secs => $1)")
        .bind(BEFORE_NOW.as_secs_f64())
        .fetch_one(&mut connection)
        .await?;
    let mut made = 0;
    while made < sagas {
        let next = sagas.min(made + CHUNK);
        let insert = sqlx::query(AssertSqlSafe(chunk.as_str()))
            .bind(made.cast_signed())
            .bind(next.cast_signed())
            .bind(until)
            .bind(sagas.cast_signed())
            .bind(seconds_each)
            .bind(fail_rate)
            .bind(templates.completed.0)
            .bind(templates.undone.0);
        let rows: i64 = insert.fetch_one(&mut connection).await?.try_get(0)?;
        anyhow::ensure!(
            rows.cast_unsigned() == next - made,
            "{rows} sagas were made instead of {}",
            next - made
        );
        progress.inc(next - made);
        made = next;
    }
    // Pages that were filled a moment ago would be written during the measurement.
    for tidy in ["VACUUM (ANALYZE)", "CHECKPOINT"] {
        sqlx::raw_sql(tidy).execute(&mut connection).await.with_context(|| format!("{tidy} has failed"))?;
    }
    Ok(connection.close().await?)
}

/// Keeps the rows of the templates in tables of the session, states cut at their times: no index of the journal finds a key
/// by its saga, and a chunk must not take longer the more there are.
async fn set_apart(connection: &mut PgConnection, templates: Templates) -> anyhow::Result<()> {
    for (table, id) in TABLES {
        let rows = format!(
            "CREATE TEMPORARY TABLE template_{table} AS SELECT * FROM {table} WHERE {id} IN ('{}', '{}')",
            templates.completed, templates.undone
        );
        sqlx::raw_sql(AssertSqlSafe(rows)).execute(&mut *connection).await?;
        sqlx::raw_sql(AssertSqlSafe(format!("ANALYZE template_{table}"))).execute(&mut *connection).await?;
    }
    let cut = format!(
        "ALTER TABLE template_sagas ADD COLUMN pieces text[], ADD COLUMN times bigint[]; \
         UPDATE template_sagas SET pieces = regexp_split_to_array(convert_from(state, 'UTF8'), '{TIME}'), \
             times = ARRAY(SELECT match[1]::bigint \
                           FROM regexp_matches(convert_from(state, 'UTF8'), '({TIME})', 'g') AS match)"
    );
    sqlx::raw_sql(AssertSqlSafe(cut)).execute(&mut *connection).await?;
    let uncut = sqlx::query_scalar("SELECT count(*) FROM template_sagas WHERE cardinality(times) = 0");
    let uncut: i64 = uncut.fetch_one(&mut *connection).await?;
    anyhow::ensure!(uncut == 0, "the states of {uncut} sagas have no times that could be moved");
    Ok(())
}

/// The statement that makes the sagas with the numbers from `$1` to below `$2`, of `$4` in all, `$5` seconds apart, the last
/// one at `$3`; the part `$6` of them is copied from `$8`, the others from `$7`. Gives their number.
async fn statement(connection: &mut PgConnection) -> anyhow::Result<String> {
    let mut inserts = Vec::new();
    for (table, id) in TABLES {
        let columns = columns(connection, table).await?;
        let (names, values): (Vec<_>, Vec<_>) = columns.iter().map(|column| column.copied(id)).unzip();
        let (names, values) = (names.join(", "), values.join(", "));
        inserts.push(format!(
            "of_{table} AS (INSERT INTO {table} ({names}) SELECT {values} \
             FROM made JOIN template_{table} AS template ON template.{id} = made.template ORDER BY made.id)"
        ));
    }
    Ok(format!(
        "WITH made AS MATERIALIZED ( \
             SELECT new_letter_id(new.at) AS id, new.at - template.started_at AS shift, new.template \
             FROM (SELECT $3::timestamptz - make_interval(secs => ($4::bigint - 1 - number) * $5::float8) AS at, \
                          CASE WHEN floor((number + 1) * $6::float8) > floor(number * $6::float8) \
                               THEN $8::uuid ELSE $7::uuid END AS template \
                   FROM generate_series($1::bigint, $2::bigint - 1) AS number) AS new \
             JOIN template_sagas AS template ON template.id = new.template \
         ), {} SELECT count(*) FROM made",
        inserts.join(", ")
    ))
}

/// A column that has to be written.
#[derive(Debug)]
struct Column {
    name: String,
    is_time: bool,
}

async fn columns(connection: &mut PgConnection, table: &str) -> anyhow::Result<Vec<Column>> {
    let rows = sqlx::query(
        "SELECT quote_ident(attname) AS name, atttypid = 'timestamptz'::regtype AS is_time FROM pg_attribute \
         WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' AND attidentity = '' \
         ORDER BY attnum",
    );
    let rows = rows.bind(table).fetch_all(connection).await?;
    let column = |row| -> Result<Column, sqlx::Error> {
        let row: sqlx::postgres::PgRow = row;
        Ok(Column { name: row.try_get("name")?, is_time: row.try_get("is_time")? })
    };
    Ok(rows.into_iter().map(column).collect::<Result<_, _>>()?)
}

impl Column {
    /// Its name, and the value of a copy. The key of a start is as long as those of the bench: the text of an id.
    fn copied(&self, id: &str) -> (String, String) {
        let name = &self.name;
        let value = match name.as_str() {
            _ if name == id => "made.id".to_owned(),
            "key" => "made.id::text".to_owned(),
            "state" => MOVED_STATE.to_owned(),
            _ if self.is_time => format!("template.{name} + made.shift"),
            _ => format!("template.{name}"),
        };
        (name.clone(), value)
    }
}
