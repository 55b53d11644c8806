//! The promises of lists: newest first, each condition by itself and all of them together, a page at a time.

use redress_coordinator::ports::{JournalReads, LOOKED_AT_MAX, ListCursor, ListFilter, Rest};
use redress_core::{SagaId, Timestamp};

use super::fixture::{begun, definition, insert, saga_id};

/// The ids of a page, and what comes after them.
async fn page(journal: &impl JournalReads, filter: ListFilter) -> (Vec<SagaId>, Rest) {
    let page = journal.sagas(&filter).await.expect("they can be read");
    let ids = page.rows.into_iter().map(|row| row.map_or_else(|id| id, |row| row.id)).collect();
    (ids, page.rest)
}

/// The first saga has ended, two go on. All bear one label, and each has one of its own: the key of its start.
pub(super) async fn filters(journal: &impl JournalReads) {
    let [first, second, third] = [1, 2, 3].map(saga_id);
    let all = || ListFilter { limit: 10, ..ListFilter::default() };
    let two = |after| ListFilter { limit: 2, after, ..ListFilter::default() };
    let more = Rest::More(ListCursor::After(second));
    assert_eq!(page(journal, two(None)).await, (vec![third, second], more), "the newest come first");
    let rest = page(journal, two(Some(ListCursor::After(second)))).await;
    assert_eq!(rest, (vec![first], Rest::Nothing), "and then the others");

    let word = |word: &str| Some(word.to_owned());
    let tag = |name: &str, value: &str| Some((name.to_owned(), value.to_owned()));
    let saga = Some(definition().name.to_string());
    for (filter, found) in [
        (ListFilter { status: word("completed"), ..all() }, vec![first]),
        (ListFilter { status: word("closed"), ..all() }, vec![]),
        (ListFilter { status: word("running"), ..all() }, vec![third, second]),
        (ListFilter { status: word("parked"), ..all() }, vec![]),
        (ListFilter { saga: saga.clone(), ..all() }, vec![third, second, first]),
        (ListFilter { saga: word("nobody"), ..all() }, vec![]),
        (ListFilter { tag: tag("suite", "yes"), ..all() }, vec![third, second, first]),
        (ListFilter { tag: tag("key", "two"), ..all() }, vec![second]),
        (ListFilter { tag: tag("key", "yes"), ..all() }, vec![]),
        (ListFilter { saga: saga.clone(), status: word("completed"), ..all() }, vec![first]),
        (ListFilter { saga, status: word("running"), tag: tag("key", "two"), ..all() }, vec![second]),
    ] {
        assert_eq!(page(journal, filter.clone()).await, (found, Rest::Nothing), "{filter:?}");
    }
    search(journal).await;
}

/// What a text names comes first, whatever its inputs say.
async fn search(journal: &impl JournalReads) {
    let [first, second, third] = [1, 2, 3].map(saga_id);
    let text = |text: &str, after| ListFilter {
        text: Some(text.to_owned()),
        limit: 10,
        after,
        ..ListFilter::default()
    };
    let inputs = Rest::More(ListCursor::Inputs(None));
    let by_id = third.to_string();
    for (searched, found) in [
        (by_id.as_str(), vec![third]),
        (&by_id.replace('-', ""), vec![third]),
        (&by_id[..34], vec![third, second, first]),
        ("two", vec![second]),
        ("yes", vec![third, second, first]),
    ] {
        assert_eq!(page(journal, text(searched, None)).await, (found, inputs), "{searched}");
        let others = page(journal, text(searched, Some(ListCursor::Inputs(None)))).await;
        assert_eq!(others, (vec![], Rest::Nothing), "{searched}: no other has it in its input");
    }
    let some = page(journal, text("{}", None)).await;
    assert_eq!(
        some,
        (vec![third, second, first], Rest::Nothing),
        "a text that names none is searched at once"
    );
    let after = Some(ListCursor::Inputs(Some(second)));
    assert_eq!(page(journal, text("{}", after)).await, (vec![first], Rest::Nothing), "and page by page");
    let last_digit = page(journal, text(&by_id[35..], None)).await;
    assert_eq!(last_digit, (vec![third], Rest::Nothing), "a part of an id is found, too");
    assert_eq!(page(journal, text("nowhere", None)).await, (vec![], Rest::Nothing));
}

/// A page looks at so many sagas and no more, and says which was the last.
pub(super) async fn search_is_bounded(journal: &impl JournalReads, now: Timestamp) {
    // Above all that the suite has begun.
    let number = |nth: usize| saga_id((1 << 64) + nth as u128);
    let mut oldest = begun(number(0), "needle-0", now);
    oldest.input = br#"{"word":"Needle"}"#.to_vec();
    insert(journal, oldest).await;
    let newer: Vec<_> =
        (1..=LOOKED_AT_MAX).map(|nth| begun(number(nth), &format!("many-{nth}"), now)).collect();
    for batch in newer.chunks(500) {
        journal.insert(batch.to_vec(), Vec::new()).await.expect("a batch can be inserted");
    }
    let search =
        |after| ListFilter { text: Some("needle".to_owned()), limit: 10, after, ..ListFilter::default() };
    let stopped = ListCursor::Inputs(Some(number(1)));
    assert_eq!(
        page(journal, search(None)).await,
        (vec![], Rest::Unsearched(stopped)),
        "it was not looked at yet"
    );
    assert_eq!(page(journal, search(Some(stopped))).await.0, [number(0)], "and is found from there");
}
