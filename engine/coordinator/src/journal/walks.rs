//! The walks of lists: each goes along an index, newest saga first, and so costs what it looks at, not what there is.
//!
//! A filter usually has one walk that finds what is asked for and nothing else. Several conditions together have several:
//! then the one is taken whose last step lies farthest back, and the rest of the conditions is asked of each saga on it.
//! A walk ends after [`LOOKED_AT_MAX`] sagas, and the page says so: the alternative is a whole scan in disguise. The texts
//! are put together from fixed parts, so that each combination is one prepared statement without a condition that may be
//! absent: such a one (`$1 IS NULL OR …`) has no index in a plan that is made once.
//!
//! Ids are of version 7: they begin with the milliseconds of the wall clock of the coordinator that made them. `started_at`
//! is of the database's clock, some milliseconds later in the same request. So a time bounds the ids as well, with
//! [`CLOCK_SKEW_MAX`] between the clocks; the time itself is asked of each saga beside it.

use std::time::Duration;

use redress_core::{SagaId, Timestamp};
use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;

use crate::ports::{LOOKED_AT_MAX, ListCursor, ListFilter};

/// How far the clock of a coordinator may be from that of the database: a start lies between the two as well, which takes
/// milliseconds, and seconds at the worst. A larger one makes a page at a given time look at more sagas of that time.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(60);

/// Where the sagas of a list are found, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Walk<'f> {
    /// Among all.
    All,
    /// Among those of a definition.
    OfDefinition(&'f str),
    /// Among those with a label.
    Tagged(&'f (String, String)),
    /// Among those that came to this end, which few do: its event, word for word as in the condition of the index.
    Undone(&'static str),
    /// Among those that have not ended.
    Open,
    /// Among those that have not ended and await nothing from outside.
    Unawaiting,
    /// Those that a text names.
    Named(Named<'f>),
}

/// The sagas that a text names: by the beginning of the id, by the key of the start, or by the value of a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Named<'f> {
    pub(super) text: &'f str,
    /// The first and the last id that begin like the text, if one can.
    pub(super) ids: Option<(Uuid, Uuid)>,
}

impl<'f> Named<'f> {
    pub(super) fn new(text: &'f str) -> Self {
        Self { text, ids: ids_that_begin(text) }
    }
}

/// The walks on which all that a filter wants is found.
pub(super) fn walks(filter: &ListFilter) -> Vec<Walk<'_>> {
    let mut walks = Vec::new();
    match filter.status.as_deref() {
        _ if filter.stalled_before.is_some() || filter.code.is_some() => walks.push(Walk::Unawaiting),
        Some("parked" | "paused") => walks.push(Walk::Unawaiting),
        Some("running" | "compensating") => walks.push(Walk::Open),
        Some("compensated") => walks.push(Walk::Undone("compensated")),
        Some("closed") => walks.push(Walk::Undone("closed")),
        // Most sagas complete: they are found among all.
        Some(_) | None => {}
    }
    walks.extend(filter.tag.as_ref().map(Walk::Tagged));
    walks.extend(filter.saga.as_deref().map(Walk::OfDefinition));
    if walks.is_empty() {
        walks.push(Walk::All);
    }
    walks
}

/// The least and the greatest id that a page may show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) least: Uuid,
    pub(super) greatest: Uuid,
}

impl Bounds {
    pub(super) fn of(filter: &ListFilter) -> Self {
        let skew = CLOCK_SKEW_MAX;
        let least = filter.since.map_or(0, |since| millis(since - skew) << 80);
        let before = [filter.until, filter.stalled_before].into_iter().flatten().min();
        let by_time = before.map_or(u128::MAX, |before| ((millis(before + skew) + 1) << 80) - 1);
        let after = filter.after.and_then(ListCursor::saga);
        let by_cursor = after.map_or(u128::MAX, |SagaId(id)| id.as_u128().saturating_sub(1));
        Self { least: Uuid::from_u128(least), greatest: Uuid::from_u128(by_time.min(by_cursor)) }
    }
}

/// A time as ids begin with it: 48 bits, which years from 1970 to 9999 are.
fn millis(time: Timestamp) -> u128 {
    u128::try_from(time.timestamp_millis()).unwrap_or(0)
}

/// The first and the last id that begin like this text, with or without dashes.
fn ids_that_begin(text: &str) -> Option<(Uuid, Uuid)> {
    let text = text.to_ascii_lowercase();
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    let filled = |digit: &str| digits.clone() + &digit.repeat(32_usize.saturating_sub(digits.len()));
    let (first, last) = (Uuid::try_parse(&filled("0")).ok()?, Uuid::try_parse(&filled("f")).ok()?);
    let begins = first.hyphenated().to_string().starts_with(&text) || !text.contains('-');
    (begins && !digits.is_empty()).then_some((first, last))
}

impl Walk<'_> {
    /// Adds the query that gives the ids of the walk, newest first.
    pub(super) fn push(&self, sql: &mut QueryBuilder<Postgres>, bounds: Bounds) {
        match self {
            Self::All => push_steps(sql, "SELECT id FROM sagas WHERE", "id", bounds),
            Self::OfDefinition(saga) => {
                sql.push("(SELECT id FROM sagas WHERE ended_at IS NOT NULL AND saga = ").push_bind(*saga);
                push_steps(sql, " AND", "id", bounds);
                sql.push(") UNION ALL (");
                push_open(sql, bounds, |kinds| {
                    kinds.push("saga = ").push_bind(*saga);
                });
                sql.push(format_args!(") ORDER BY id DESC LIMIT {LOOKED_AT_MAX}"));
            }
            Self::Tagged((name, value)) => {
                sql.push("SELECT saga_id AS id FROM saga_tags WHERE name = ").push_bind(name);
                sql.push(" AND value = ").push_bind(value);
                push_steps(sql, " AND", "saga_id", bounds);
            }
            Self::Undone(event) => {
                sql.push(format_args!("SELECT saga_id AS id FROM saga_history WHERE event = '{event}'"));
                push_steps(sql, " AND", "saga_id", bounds);
            }
            Self::Unawaiting => push_open(sql, bounds, |kinds| {
                kinds.push("NOT awaiting");
            }),
            Self::Open => push_open(sql, bounds, |kinds| {
                kinds.push("true");
            }),
            Self::Named(named) => named.push(sql, bounds),
        }
    }
}

impl Named<'_> {
    fn push(&self, sql: &mut QueryBuilder<Postgres>, bounds: Bounds) {
        sql.push("SELECT DISTINCT id FROM (");
        if let Some((first, last)) = self.ids {
            let (least, greatest) = (bounds.least.max(first), bounds.greatest.min(last));
            sql.push("(");
            Walk::All.push(sql, Bounds { least, greatest });
            sql.push(") UNION ALL ");
        }
        sql.push("(SELECT saga_id AS id FROM idempotency_keys WHERE key = ").push_bind(self.text);
        push_steps(sql, " AND", "saga_id", bounds);
        sql.push(") UNION ALL (SELECT saga_id AS id FROM saga_tags WHERE value = ").push_bind(self.text);
        push_steps(sql, " AND", "saga_id", bounds);
        sql.push(format_args!(")) AS named ORDER BY id DESC LIMIT {LOOKED_AT_MAX}"));
    }

    /// Adds the condition that a saga is not one of these. Each question is asked of one saga: the planner may turn a
    /// `NOT EXISTS` into a table of all that bear the label.
    pub(super) fn push_exclusion(&self, sql: &mut QueryBuilder<Postgres>) {
        if let Some((first, last)) = self.ids {
            sql.push(" AND NOT id BETWEEN ").push_bind(first).push(" AND ").push_bind(last);
        }
        for named in ["idempotency_keys WHERE key", "saga_tags WHERE value"] {
            sql.push(format_args!(" AND (SELECT true FROM {named} = ")).push_bind(self.text);
            sql.push(" AND saga_id = sagas.id LIMIT 1) IS NULL");
        }
    }
}

/// From one kind of open sagas to the next along the index, as many as there are: `kinds`.
pub(super) const OPEN_KINDS: &str = "WITH RECURSIVE kinds AS ( \
         (SELECT awaiting, saga, version FROM sagas WHERE ended_at IS NULL ORDER BY awaiting, saga, version LIMIT 1) \
         UNION ALL \
         SELECT next.* FROM kinds, LATERAL ( \
             SELECT awaiting, saga, version FROM sagas WHERE ended_at IS NULL \
                 AND (awaiting, saga, version) > (kinds.awaiting, kinds.saga, kinds.version) \
             ORDER BY awaiting, saga, version LIMIT 1 \
         ) AS next \
     )";

/// The newest of each kind of open sagas for which the condition holds, and the newest of those.
fn push_open(
    sql: &mut QueryBuilder<Postgres>,
    bounds: Bounds,
    condition: impl FnOnce(&mut QueryBuilder<Postgres>),
) {
    sql.push(format_args!("{OPEN_KINDS} SELECT of_kind.id FROM (SELECT * FROM kinds WHERE "));
    condition(sql);
    sql.push(
        ") AS kind, LATERAL (SELECT id FROM sagas WHERE ended_at IS NULL AND awaiting = kind.awaiting \
             AND saga = kind.saga AND version = kind.version",
    );
    push_steps(sql, " AND", "id", bounds);
    sql.push(format_args!(") AS of_kind ORDER BY id DESC LIMIT {LOOKED_AT_MAX}"));
}

/// The bounds and the end of a walk along the ids in `column`.
fn push_steps(sql: &mut QueryBuilder<Postgres>, before: &str, column: &str, bounds: Bounds) {
    sql.push(format_args!("{before} {column} BETWEEN ")).push_bind(bounds.least);
    sql.push(" AND ").push_bind(bounds.greatest);
    sql.push(format_args!(" ORDER BY {column} DESC LIMIT {LOOKED_AT_MAX}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginning_of_id_bounds_ids_with_and_without_dashes() {
        let bounds = |text: &str| {
            ids_that_begin(text).map(|(first, last)| format!("{} {}", first.hyphenated(), last.hyphenated()))
        };
        let of_eight = "0190163d-0000-0000-0000-000000000000 0190163d-ffff-ffff-ffff-ffffffffffff";
        for text in ["0190163d", "0190163D", "0190163d-"] {
            assert_eq!(bounds(text).as_deref(), Some(of_eight), "{text}");
        }
        let whole = "0190163d-8694-739b-aea5-966c26f8ad91";
        for text in [whole.to_owned(), whole.replace('-', ""), whole.to_uppercase()] {
            assert_eq!(bounds(&text), Some(format!("{whole} {whole}")), "{text}");
        }
        for text in ["", "-", "019-0163d", "zoë", "0190163d-8694-739b-aea5-966c26f8ad911", "x"] {
            assert_eq!(bounds(text), None, "{text}");
        }
    }

    #[test]
    fn times_bound_ids_with_skew_and_cursor_counts_beside_them() {
        let at = |ms| Timestamp::from_timestamp_millis(ms);
        let id = |bounds: Uuid| bounds.as_u128() >> 80;
        let hour = ListFilter { since: at(3_600_000), until: at(7_200_000), ..ListFilter::default() };
        let bounds = Bounds::of(&hour);
        assert_eq!((id(bounds.least), id(bounds.greatest)), (3_540_000, 7_260_000));
        let stalled = ListFilter { stalled_before: at(1), ..hour.clone() };
        assert_eq!(id(Bounds::of(&stalled).greatest), 60_001);
        let after = Some(ListCursor::After(SagaId(Uuid::from_u128(5))));
        assert_eq!(Bounds::of(&ListFilter { after, ..hour }).greatest, Uuid::from_u128(4));
        let all = Bounds::of(&ListFilter::default());
        assert_eq!((all.least, all.greatest), (Uuid::nil(), Uuid::max()));
    }
}
