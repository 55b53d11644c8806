//! Lists of the journal in memory.

use redress_coordinator::ports::{LOOKED_AT_MAX, ListCursor, ListFilter, Listed, Rest};
use redress_core::SagaId;

use super::saga_view::saga_row;
use super::tables::{Row, Tables};

/// A page of sagas: with a text, those that it names come first, and then those that have it in their inputs.
pub(super) fn list(tables: &Tables, filter: &ListFilter) -> Listed {
    let Some(text) = filter.text.as_deref().filter(|text| !text.is_empty()) else {
        return page(tables, filter, |_, _| true, |_, _| true, ListCursor::After);
    };
    let named = |id: SagaId, row: &Row| is_named(tables, text, id, row);
    let inputs = |filter: &ListFilter| {
        let has_text = |id, row: &Row| has_text(text, id, row) && !named(id, row);
        page(tables, filter, |_, _| true, has_text, |id| ListCursor::Inputs(Some(id)))
    };
    match filter.after {
        Some(ListCursor::Inputs(_)) => return inputs(filter),
        Some(ListCursor::After(_)) | None => {}
    }
    let first = page(tables, filter, named, |_, _| true, ListCursor::After);
    match first.rest {
        Rest::More(_) | Rest::Unsearched(_) => first,
        Rest::Nothing if !first.rows.is_empty() => {
            Listed { rest: Rest::More(ListCursor::Inputs(None)), ..first }
        }
        Rest::Nothing => inputs(&ListFilter { after: None, ..filter.clone() }),
    }
}

/// A page of those on the walk that are meant. Only a search looks at others, too: all other conditions find what they want
/// and nothing else.
fn page(
    tables: &Tables,
    filter: &ListFilter,
    is_on_walk: impl Fn(SagaId, &Row) -> bool,
    is_meant: impl Fn(SagaId, &Row) -> bool,
    cursor: impl Fn(SagaId) -> ListCursor,
) -> Listed {
    let limit = usize::try_from(filter.limit).unwrap_or(0);
    let (mut rows, mut looked_at) = (Vec::new(), 0);
    let is_found = |id, row: &Row| is_wanted(filter, id, row) && is_on_walk(id, row);
    for (id, row) in tables.rows.iter().rev().filter(|(id, row)| is_found(**id, row)) {
        looked_at += 1;
        if is_meant(*id, row) {
            if rows.len() == limit {
                let last = rows.last().map_or(*id, |row: &Result<_, SagaId>| id_of(row));
                return Listed { rows, rest: Rest::More(cursor(last)) };
            }
            rows.push(saga_row(*id, row, filter.include).map_err(|_| *id));
        }
        if looked_at == LOOKED_AT_MAX {
            return Listed { rows, rest: Rest::Unsearched(cursor(*id)) };
        }
    }
    Listed { rows, rest: Rest::Nothing }
}

fn id_of(row: &Result<redress_coordinator::ports::SagaRow, SagaId>) -> SagaId {
    row.as_ref().map_or_else(|id| *id, |row| row.id)
}

fn is_named(tables: &Tables, text: &str, id: SagaId, row: &Row) -> bool {
    let (whole, text_of_id) = (id.to_string(), text.to_lowercase());
    whole.starts_with(&text_of_id)
        || whole.replace('-', "").starts_with(&text_of_id)
        || tables.keys.get(text).is_some_and(|(of_key, _)| *of_key == id)
        || row.tags.as_object().is_some_and(|tags| tags.values().any(|value| *value == *text))
}

fn has_text(text: &str, id: SagaId, row: &Row) -> bool {
    let (text, input) = (text.to_lowercase(), String::from_utf8_lossy(&row.input).to_lowercase());
    id.to_string().contains(&text) || input.contains(&text)
}

fn is_wanted(filter: &ListFilter, id: SagaId, row: &Row) -> bool {
    let status = row.state.status_word();
    let code = row.state.parked().map(|reason| reason.code.as_str());
    let goes_on = matches!(status, "running" | "compensating") && !row.state.is_awaiting();
    filter.status.as_ref().is_none_or(|wanted| *wanted == status)
        && filter.code.as_ref().is_none_or(|wanted| Some(wanted.as_str()) == code)
        && filter.saga.as_ref().is_none_or(|wanted| **wanted == *row.definition.0)
        && filter.tag.as_ref().is_none_or(|(name, value)| row.tags[name] == **value)
        && filter.since.is_none_or(|since| row.state.started_at >= since)
        && filter.until.is_none_or(|until| row.state.started_at < until)
        && filter.after.and_then(ListCursor::saga).is_none_or(|after| id < after)
        && filter.stalled_before.is_none_or(|before| goes_on && row.state.started_at < before)
}
