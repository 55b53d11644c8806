//! Lists of sagas: a page is a walk newest first, the conditions that the walk does not answer, and an end.
//!
//! A page ends when it is full, when it has grown large (the database itself does the sum: rows that would not be sent are
//! not fetched), or when it has looked at as many sagas, or searched as many bytes, as one page may. Where it stopped looking
//! comes as a row of its own, from the same statement: a second one would see other sagas.

use redress_core::SagaId;
use sqlx::postgres::PgRow;
use sqlx::{Postgres, QueryBuilder, Row};
use uuid::Uuid;

use super::pg::PgJournal;
use super::reads::{IS_REPLY, PAGE_BYTES_MAX, add_replies, fitting, saga_row};
use super::search::{part_of_an_id, pattern};
use super::walks::{Bounds, Named, Walk, walks};
use crate::ports::{JournalError, LOOKED_AT_MAX, ListCursor, ListFilter, Listed, Rest};

/// Bytes of inputs that one page searches for a text: an expression takes some 100 ms for so many.
const SEARCH_BYTES_MAX: i64 = 4 * 1024 * 1024;

/// What stands before a query that is carried out for its plan.
const EXPLAIN: &str = "EXPLAIN (ANALYZE, FORMAT JSON) ";

/// What a page shows of the sagas that a filter wants.
#[derive(Clone, Copy, Debug)]
enum Part<'f> {
    /// All.
    Whole,
    /// Those that the text names.
    Named(Named<'f>),
    /// The others, if they have the text in their inputs or ids.
    Inputs(Named<'f>),
}

impl PgJournal {
    /// A page of sagas, newest first; one that cannot be read is named and hides no other.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub async fn sagas(&self, filter: &ListFilter) -> Result<Listed, JournalError> {
        let text = filter.text.as_deref().filter(|text| !text.is_empty());
        let Some(named) = text.map(Named::new) else { return self.page(filter, Part::Whole).await };
        match filter.after {
            Some(ListCursor::Inputs(_)) => return self.page(filter, Part::Inputs(named)).await,
            Some(ListCursor::After(_)) | None => {}
        }
        let page = self.page(filter, Part::Named(named)).await?;
        match page.rest {
            Rest::More(_) | Rest::Unsearched(_) => Ok(page),
            Rest::Nothing if !page.rows.is_empty() => {
                Ok(Listed { rest: Rest::More(ListCursor::Inputs(None)), ..page })
            }
            Rest::Nothing => {
                let inputs = ListFilter { after: Some(ListCursor::Inputs(None)), ..filter.clone() };
                self.page(&inputs, Part::Inputs(named)).await
            }
        }
    }

    /// The plans of a list as the database carries them out, for tests and for those who find a list slow: of the choice of
    /// a walk, if there is one, and of each part of a search.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub async fn list_plans(&self, filter: &ListFilter) -> Result<Vec<serde_json::Value>, JournalError> {
        let named = filter.text.as_deref().map(Named::new);
        let parts = named.map_or(vec![Part::Whole], |named| vec![Part::Named(named), Part::Inputs(named)]);
        let mut plans = Vec::new();
        for part in parts {
            let walk = self.walk(filter, part).await?;
            let all = walks(filter);
            let reach = (all.len() > 1).then(|| reach_query(EXPLAIN, &all, Bounds::of(filter)));
            for mut sql in reach.into_iter().chain([page_query(EXPLAIN, filter, part, walk)]) {
                plans.push(self.reading(sql.build_query_scalar().fetch_one(&self.read)).await?);
            }
        }
        Ok(plans)
    }

    async fn page(&self, filter: &ListFilter, part: Part<'_>) -> Result<Listed, JournalError> {
        let walk = self.walk(filter, part).await?;
        let mut sql = page_query("", filter, part, walk);
        let rows = self.reading(sql.build().fetch_all(&self.read)).await?;
        let PageRows { rows, rest } = page_rows(rows, filter.limit, part)?;
        let mut sagas = Vec::with_capacity(rows.len());
        for row in &rows {
            let id = SagaId(row.try_get("id")?);
            sagas.push(saga_row(row, filter.include, self.state_format).map_err(|error| {
                tracing::error!(saga_id = %id, error = error.with_causes(), "saga unreadable");
                id
            }));
        }
        if filter.include.replies {
            self.reading(add_replies(&self.read, &mut sagas)).await?;
        }
        Ok(Listed { rows: sagas, rest })
    }

    /// The walk of a page: of several, the one that reaches farthest back.
    async fn walk<'f>(&self, filter: &'f ListFilter, part: Part<'f>) -> Result<Walk<'f>, JournalError> {
        let mut walks = match part {
            Part::Named(named) => vec![Walk::Named(named)],
            Part::Whole | Part::Inputs(_) => walks(filter),
        };
        let first = walks.remove(0);
        if walks.is_empty() {
            return Ok(first);
        }
        walks.insert(0, first);
        let mut sql = reach_query("", &walks, Bounds::of(filter));
        let row = self.reading(sql.build().fetch_one(&self.read)).await?;
        let mut best: Option<(Uuid, Walk<'f>)> = None;
        for (index, walk) in walks.into_iter().enumerate() {
            // One that ends before its last step looks at all there is.
            let Some(last) = row.try_get::<Option<Uuid>, _>(index)? else { return Ok(walk) };
            if best.is_none_or(|(farthest, _)| last < farthest) {
                best = Some((last, walk));
            }
        }
        Ok(best.map_or(first, |(_, walk)| walk))
    }
}

/// The last steps of these walks, in their order; nothing for one that comes to its end before.
fn reach_query(before: &str, walks: &[Walk<'_>], bounds: Bounds) -> QueryBuilder<Postgres> {
    let mut sql = QueryBuilder::new(format!("{before}SELECT "));
    for (index, walk) in walks.iter().enumerate() {
        sql.push(if index == 0 { "(SELECT id FROM (" } else { ", (SELECT id FROM (" });
        walk.push(&mut sql, bounds);
        sql.push(format_args!(") AS walk OFFSET {})", LOOKED_AT_MAX - 1));
    }
    sql
}

/// The rows of a page, each with the bytes that it brings to it; the last step of the walk is one of them, found or not.
fn page_query(before: &str, filter: &ListFilter, part: Part<'_>, walk: Walk<'_>) -> QueryBuilder<Postgres> {
    let include = filter.include;
    let column = |name: &str, wanted: bool| match wanted {
        true => (name.to_owned(), format!(" + octet_length({name})")),
        false => (format!("'null'::bytea AS {name}"), String::new()),
    };
    let (input, input_bytes) = column("input", include.input);
    let (data, data_bytes) = column("data", include.data);
    let replies_bytes = match include.replies {
        true => format!(
            " + (SELECT coalesce(sum(octet_length(h.detail)), 0) FROM saga_history h WHERE h.saga_id = sagas.id AND {IS_REPLY})"
        ),
        false => String::new(),
    };
    let (head, tail) = fitting("id DESC");
    let mut sql = QueryBuilder::new(format!("{before}{head}"));
    sql.push(
        "SELECT walked.id, at_the_end, coalesce(is_wanted, false) AS is_wanted, saga, version, revision, state_format, \
                state, tags, input, data, CASE WHEN is_wanted THEN bytes ELSE 0 END AS bytes FROM (",
    );
    push_walked(&mut sql, part, walk, Bounds::of(filter));
    sql.push(format_args!(
        ") AS walked LEFT JOIN LATERAL ( \
             SELECT saga, version, revision, state_format, state, tags, {input}, {data}, \
                    octet_length(state) + pg_column_size(tags){input_bytes}{data_bytes}{replies_bytes} AS bytes, true"
    ));
    push_conditions(&mut sql, filter, part);
    sql.push(
        " AS is_wanted FROM sagas WHERE sagas.id = walked.id \
         ) AS saga ON true WHERE is_wanted OR at_the_end ORDER BY walked.id DESC LIMIT ",
    );
    sql.push_bind(filter.limit.saturating_add(1));
    sql.push(tail).push_bind(PAGE_BYTES_MAX).push(" ORDER BY id DESC");
    sql
}

/// The steps of the walk, and which of them is the last.
fn push_walked(sql: &mut QueryBuilder<Postgres>, part: Part<'_>, walk: Walk<'_>, bounds: Bounds) {
    match part {
        Part::Whole | Part::Named(_) => {
            sql.push(format_args!(
                "SELECT id, row_number() OVER (ORDER BY id DESC) = {LOOKED_AT_MAX} AS at_the_end FROM ("
            ));
            walk.push(sql, bounds);
            sql.push(") AS walk");
        }
        Part::Inputs(_) => {
            sql.push(format_args!(
                "SELECT id, step = {LOOKED_AT_MAX} OR bytes >= {SEARCH_BYTES_MAX} AS at_the_end FROM ( \
                     SELECT walk.id, coalesce(octet_length(input), 0) AS own, row_number() OVER newest_first AS step, \
                            coalesce(sum(octet_length(input)) OVER newest_first, 0) AS bytes FROM ("
            ));
            walk.push(sql, bounds);
            sql.push(format_args!(
                ") AS walk LEFT JOIN LATERAL (SELECT input FROM sagas WHERE sagas.id = walk.id) AS saga ON true \
                 WINDOW newest_first AS (ORDER BY walk.id DESC ROWS UNBOUNDED PRECEDING)) AS sized \
                 WHERE bytes - own < {SEARCH_BYTES_MAX}"
            ));
        }
    }
}

/// All conditions of the filter: asked once more of what a walk finds, they cost nothing beside it.
fn push_conditions(sql: &mut QueryBuilder<Postgres>, filter: &ListFilter, part: Part<'_>) {
    if let Some(status) = &filter.status {
        sql.push(" AND status = ").push_bind(status.clone());
    }
    if let Some(saga) = &filter.saga {
        sql.push(" AND saga = ").push_bind(saga.clone());
    }
    if let Some((name, value)) = &filter.tag {
        sql.push(" AND tags @> ").push_bind(serde_json::json!({ name: value }));
    }
    if let Some(since) = filter.since {
        sql.push(" AND started_at >= ").push_bind(since);
    }
    if let Some(until) = filter.until {
        sql.push(" AND started_at < ").push_bind(until);
    }
    if let Some(before) = filter.stalled_before {
        sql.push(" AND status IN ('running', 'compensating') AND NOT awaiting AND started_at < ");
        sql.push_bind(before);
    }
    if let Some(code) = &filter.code {
        // Only states of parked sagas are read for it: the others have no such member.
        sql.push(" AND CASE WHEN status = 'parked' THEN convert_from(state, 'UTF8')::jsonb #>> ");
        sql.push("'{status,parked,reason,code}' = ").push_bind(code.clone()).push(" ELSE false END");
    }
    match part {
        Part::Whole | Part::Named(_) => {}
        Part::Inputs(named) => {
            sql.push(" AND (id::text LIKE ").push_bind(part_of_an_id(named.text));
            sql.push(" OR convert_from(input, 'UTF8') COLLATE \"C\" ~ ")
                .push_bind(pattern(named.text))
                .push(")");
            named.push_exclusion(sql);
        }
    }
}

/// The rows of a page, and what comes after them.
struct PageRows {
    rows: Vec<PgRow>,
    rest: Rest,
}

fn page_rows(mut rows: Vec<PgRow>, limit: i64, part: Part<'_>) -> Result<PageRows, JournalError> {
    let cursor = |row: &PgRow| {
        let id = SagaId(row.try_get("id")?);
        Ok::<_, JournalError>(match part {
            Part::Whole | Part::Named(_) => ListCursor::After(id),
            Part::Inputs(_) => ListCursor::Inputs(Some(id)),
        })
    };
    let found_in_all: i64 = rows.first().map_or(Ok(0), |row| row.try_get("found_in_all"))?;
    let is_cut = i64::try_from(rows.len()).unwrap_or(i64::MAX) < found_in_all;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut stopped_at = None;
    let mut wanted = Vec::with_capacity(rows.len());
    for row in rows.drain(..) {
        if row.try_get("at_the_end")? {
            stopped_at = Some(cursor(&row)?);
        }
        if row.try_get("is_wanted")? {
            wanted.push(row);
        }
    }
    let is_full = wanted.len() > limit;
    wanted.truncate(limit);
    let last = wanted.last().map(cursor).transpose()?;
    let rest = match (last, stopped_at) {
        (Some(last), _) if is_full || is_cut => Rest::More(last),
        (_, Some(stopped_at)) => Rest::Unsearched(stopped_at),
        (_, None) => Rest::Nothing,
    };
    Ok(PageRows { rows: wanted, rest })
}
