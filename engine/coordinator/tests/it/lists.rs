//! Lists of a journal with many ended sagas: each looks at few of them, however rare what it wants is.

use redress_coordinator::journal::PgJournal;
use redress_coordinator::ports::{LOOKED_AT_MAX, ListCursor, Rest};
use redress_coordinator::{ListFilter, Migrations, Page, SagaView};
use redress_core::{SagaId, Timestamp};
use serde_json::Value;
use sqlx::Row as _;

use crate::fixture::{Fixture, start};
use crate::party::sell;

/// More than twice as many as one page looks at.
const COPIES: i32 = 12_000;

/// Copies of one that has ended, a minute between each and the next, the oldest first. Every hundredth is of another
/// definition, every third bears a label that is rare among the newest; one was closed, one was started with a word in its
/// input: the oldest of all. Histories have the row that says how they ended.
const COPY: &str = "WITH copies AS ( \
         INSERT INTO sagas (id, saga, version, status, revision, state, state_format, data, input, tags, started_at, \
                            ended_at, key) \
         SELECT new_letter_id(at), CASE WHEN number % 100 = 0 THEN 'rush' ELSE saga END, version, \
                CASE number WHEN 1 THEN 'closed' ELSE status END, revision, state, state_format, data, \
                CASE number WHEN 1 THEN '{\"number\":1,\"word\":\"Needle\"}'::bytea ELSE input END, \
                CASE WHEN number % 3 = 0 THEN jsonb_build_object('form', number::text, 'early', (number < 6000)::text) \
                     ELSE '{}' END, \
                at, at, 'copy-' || number \
         FROM sagas, generate_series(1, $2) AS number, \
              LATERAL (SELECT now() - make_interval(mins => $2 + 60 - number) AS at) AS time WHERE id = $1 \
         RETURNING id, status, started_at, key \
     ), keys AS ( \
         INSERT INTO idempotency_keys (key, fingerprint, saga_id) SELECT key, sha256(''), id FROM copies \
     ) INSERT INTO saga_history (saga_id, seq, at, event, detail) SELECT id, 1, started_at, status, '{}' FROM copies";

/// A journal with one saga that has ended, and its copies.
async fn crowded(fixture: &Fixture) -> SagaId {
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let id = coordinator.start(start("sell", 7)).await;
    assert_eq!(coordinator.end_of(id).await, "completed");
    coordinator.stop().await;
    sqlx::query(COPY).bind(id.0).bind(COPIES).execute(&fixture.pool).await.unwrap();
    sqlx::raw_sql("ANALYZE sagas, saga_history, saga_tags, idempotency_keys")
        .execute(&fixture.pool)
        .await
        .unwrap();
    id
}

/// Every kind of list, and those of several conditions.
fn filters(id: SagaId, now: Timestamp) -> Vec<(&'static str, ListFilter)> {
    let all = || ListFilter { limit: 50, ..ListFilter::default() };
    let word = |text: &str| Some(text.to_owned());
    let tag = |name: &str, value: &str| Some((name.to_owned(), value.to_owned()));
    let ago = |minutes| Some(now - chrono::TimeDelta::minutes(minutes));
    let after = Some(ListCursor::After(id));
    vec![
        ("newest", all()),
        ("cursor", ListFilter { after, ..all() }),
        ("completed", ListFilter { status: word("completed"), ..all() }),
        ("compensated", ListFilter { status: word("compensated"), ..all() }),
        ("closed", ListFilter { status: word("closed"), ..all() }),
        ("running", ListFilter { status: word("running"), ..all() }),
        ("parked", ListFilter { status: word("parked"), ..all() }),
        ("code", ListFilter { code: word("in-doubt"), ..all() }),
        ("stalled", ListFilter { stalled_before: ago(1), ..all() }),
        ("definition", ListFilter { saga: word("rush"), ..all() }),
        ("unknown definition", ListFilter { saga: word("nobody"), ..all() }),
        ("since", ListFilter { since: ago(65), ..all() }),
        ("until", ListFilter { until: ago(9_000), ..all() }),
        ("an hour", ListFilter { since: ago(9_060), until: ago(9_000), ..all() }),
        ("rare label", ListFilter { tag: tag("form", "9"), ..all() }),
        ("label of old ones", ListFilter { tag: tag("early", "true"), ..all() }),
        ("id", ListFilter { text: word(&id.to_string()), ..all() }),
        ("key", ListFilter { text: word("copy-3"), ..all() }),
        ("value of a label", ListFilter { text: word("true"), ..all() }),
        ("text", ListFilter { text: word("needle"), ..all() }),
        ("text of a definition", ListFilter { text: word("needle"), saga: word("rush"), ..all() }),
        ("definition and end", ListFilter { saga: word("rush"), status: word("closed"), ..all() }),
        ("definition and label", ListFilter { saga: word("rush"), tag: tag("early", "true"), ..all() }),
        ("label and end", ListFilter { tag: tag("early", "true"), status: word("compensated"), ..all() }),
        (
            "everything",
            ListFilter {
                since: ago(9_060),
                until: ago(10),
                saga: word("rush"),
                tag: tag("early", "true"),
                status: word("completed"),
                text: word("needle"),
                ..all()
            },
        ),
    ]
}

/// The nodes of a plan that read a table or an index.
fn scans<'p>(plan: &'p Value, found: &mut Vec<&'p Value>) {
    if plan["Relation Name"].is_string() {
        found.push(plan);
    }
    for part in plan["Plans"].as_array().into_iter().flatten() {
        scans(part, found);
    }
}

/// The rows that a node of a plan looked at.
fn looked_at(scan: &Value) -> f64 {
    let number = |member: &str| scan[member].as_f64().unwrap_or(0.0);
    let removed = number("Rows Removed by Filter") + number("Rows Removed by Index Recheck");
    (number("Actual Rows") + removed) * number("Actual Loops")
}

#[tokio::test(flavor = "multi_thread")]
async fn list_walks_an_index_and_looks_at_bounded_number_of_sagas() {
    let fixture = Fixture::new().await;
    let id = crowded(&fixture).await;
    let journal = PgJournal::connect(&fixture.config()).await.unwrap();
    let now = journal.now().await.unwrap();
    for (name, filter) in filters(id, now) {
        let plans = journal.list_plans(&filter).await.unwrap();
        assert!(!plans.is_empty(), "{name}");
        for plan in &plans {
            let mut found = Vec::new();
            scans(&plan[0]["Plan"], &mut found);
            assert!(!found.is_empty(), "{name}: {plan:#}");
            for scan in found {
                assert_ne!(scan["Node Type"], "Seq Scan", "{name}: {plan:#}");
                assert!(looked_at(scan) <= LOOKED_AT_MAX as f64, "{name}: {plan:#}");
            }
        }
    }
}

/// The pages of a list, to its end.
async fn pages(fixture: &Fixture, filter: ListFilter) -> Vec<Page<SagaView>> {
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let (mut pages, mut after) = (Vec::new(), None);
    loop {
        let page = coordinator.engine.sagas(ListFilter { after, ..filter.clone() }).await.unwrap();
        let next = page.next.clone();
        pages.push(page);
        let Some(next) = next else { break };
        after = Some(next.parse().unwrap());
    }
    coordinator.stop().await;
    pages
}

#[tokio::test(flavor = "multi_thread")]
async fn search_says_how_far_back_it_looked_and_cursor_goes_on_from_there() {
    let fixture = Fixture::new().await;
    crowded(&fixture).await;
    let search = ListFilter { text: Some("needle".to_owned()), limit: 50, ..ListFilter::default() };
    let pages = pages(&fixture, search).await;
    let found: Vec<usize> = pages.iter().map(|page| page.items.len()).collect();
    assert_eq!(found, [0, 0, 1], "the oldest of twelve thousand, after two times five thousand");
    let oldest =
        sqlx::query("SELECT id, started_at FROM sagas ORDER BY id").fetch_all(&fixture.pool).await.unwrap();
    let nth_newest = |n: usize| {
        let row = &oldest[oldest.len() - n];
        (SagaId(row.get("id")), row.get::<Timestamp, _>("started_at"))
    };
    for (page, looked_at) in pages.iter().zip([LOOKED_AT_MAX, 2 * LOOKED_AT_MAX]) {
        let (last, started_at) = nth_newest(looked_at);
        assert_eq!(page.next, Some(ListCursor::Inputs(Some(last)).to_string()));
        let back_to = page.searched_back_to.expect("it was not searched to the end");
        assert!((started_at - back_to).abs() < chrono::TimeDelta::seconds(1), "{back_to} {started_at}");
    }
    assert_eq!((&pages[2].next, pages[2].searched_back_to), (&None, None), "that was all");
    assert_eq!(pages[2].items[0].id, oldest[0].get::<uuid::Uuid, _>("id").to_string().parse().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn list_finds_all_that_is_wanted_page_by_page() {
    let fixture = Fixture::new().await;
    let id = crowded(&fixture).await;
    let journal = PgJournal::connect(&fixture.config()).await.unwrap();
    let now = journal.now().await.unwrap();
    let mut found = Vec::new();
    for (name, mut filter) in filters(id, now) {
        filter.limit = 200;
        let (mut count, mut pages) = (0, 0);
        loop {
            let page = journal.sagas(&filter).await.unwrap();
            count += page.rows.len();
            pages += 1;
            match page.rest {
                Rest::Nothing => break,
                Rest::More(next) | Rest::Unsearched(next) => filter.after = Some(next),
            }
        }
        found.push(format!("{name}: {count} in {pages}"));
    }
    insta::assert_snapshot!(found.join("\n"), @r"
    newest: 12001 in 61
    cursor: 12000 in 60
    completed: 12000 in 60
    compensated: 0 in 1
    closed: 1 in 1
    running: 0 in 1
    parked: 0 in 1
    code: 0 in 1
    stalled: 0 in 1
    definition: 120 in 1
    unknown definition: 0 in 1
    since: 6 in 1
    until: 3060 in 16
    an hour: 60 in 1
    rare label: 1 in 1
    label of old ones: 1999 in 10
    id: 1 in 4
    key: 1 in 4
    value of a label: 1999 in 13
    text: 1 in 3
    text of a definition: 0 in 1
    definition and end: 0 in 1
    definition and label: 19 in 1
    label and end: 0 in 1
    everything: 0 in 1
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn search_finds_key_and_beginning_of_id_by_index() {
    let fixture = Fixture::new().await;
    let id = crowded(&fixture).await;
    let named = ListFilter { text: Some("copy-3".to_owned()), limit: 1, ..ListFilter::default() };
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let first = coordinator.engine.sagas(named.clone()).await.unwrap();
    assert_eq!((first.items.len(), first.next.as_deref()), (1, Some("inputs")), "its key is found by index");
    let beginning = id.to_string()[..30].to_owned();
    for text in [beginning.clone(), beginning.replace('-', "").to_uppercase()] {
        let page = coordinator.engine.sagas(ListFilter { text: Some(text), ..named.clone() }).await.unwrap();
        assert_eq!(page.items[0].id, id, "and its id by how it begins");
    }
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_follow_their_saga_into_the_index_and_out_of_it() {
    let fixture = Fixture::new().await;
    let journal = PgJournal::connect(&fixture.config()).await.unwrap();
    journal.migrate(Migrations::Apply).await.unwrap();
    let insert = "INSERT INTO sagas (id, saga, version, status, revision, state, data, input, tags, started_at) \
                  SELECT gen_random_uuid(), 'sell', 1, 'running', 1, '{}', '{}', '{}', tags, now() \
                  FROM unnest(array['{}', '{\"a\": \"1\", \"b\": \"1\"}', '{\"a\": \"2\"}']::jsonb[]) AS tags";
    sqlx::query(insert).execute(&fixture.pool).await.unwrap();
    let all = "SELECT string_agg(name || ':' || value, ' ' ORDER BY name, value) FROM saga_tags JOIN sagas ON sagas.id = saga_id";
    let tags: Option<String> = sqlx::query_scalar(all).fetch_one(&fixture.pool).await.unwrap();
    assert_eq!(tags.as_deref(), Some("a:1 a:2 b:1"));
    sqlx::query("DELETE FROM sagas WHERE tags ? 'b'").execute(&fixture.pool).await.unwrap();
    let left: Vec<String> = sqlx::query_scalar("SELECT name || ':' || value FROM saga_tags")
        .fetch_all(&fixture.pool)
        .await
        .unwrap();
    assert_eq!(left, ["a:2"]);
}

/// The indexes, triggers and functions that migration 0020 makes, each as the statement that would make it.
async fn made(fixture: &Fixture) -> Vec<String> {
    let made = "SELECT indexdef FROM pg_indexes WHERE tablename IN ('sagas', 'saga_tags', 'saga_history') \
                    AND indexname <> 'sagas_open' \
                UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname LIKE 'sagas\\_%\\_tags' \
                UNION ALL SELECT regexp_replace(pg_get_functiondef(oid), '\\s+', ' ', 'g') FROM pg_proc \
                    WHERE proname LIKE '%\\_saga\\_tags' ORDER BY 1";
    sqlx::query_scalar(made).fetch_all(&fixture.pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn indexes_that_were_made_beforehand_are_taken_as_they_are() {
    let fixture = Fixture::new().await;
    let mut older = sqlx::migrate!("./migrations");
    older.dangerous_set_table_name("_redress_coordinator_migrations");
    older.migrations.to_mut().retain(|migration| migration.version < 20);
    older.run(&fixture.pool).await.unwrap();
    let tagged = "INSERT INTO sagas (id, saga, version, status, revision, state, data, input, tags, started_at) \
                  VALUES (gen_random_uuid(), 'sell', 1, 'running', 1, '{}', '{}', '{}', '{\"a\": \"1\"}', now())";
    sqlx::query(tagged).execute(&fixture.pool).await.unwrap();
    let beforehand = std::fs::read_to_string("../../ops/before-0020.sql").unwrap();
    // Each by itself: an index that is made beside writers is no part of a transaction.
    for statement in beforehand.split("\n\n") {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&fixture.pool).await.unwrap();
    }
    let prepared = made(&fixture).await;
    PgJournal::connect(&fixture.config()).await.unwrap().migrate(Migrations::Apply).await.unwrap();
    assert_eq!(made(&fixture).await, prepared, "nothing is made twice");
    let unprepared = Fixture::new().await;
    PgJournal::connect(&unprepared.config()).await.unwrap().migrate(Migrations::Apply).await.unwrap();
    assert_eq!(made(&unprepared).await, prepared, "both ways make the same");
    assert_eq!(fixture.count("SELECT count(*) FROM saga_tags").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_index_of_sagas_names_a_column_that_changes_with_the_steps() {
    let fixture = Fixture::new().await;
    let journal = PgJournal::connect(&fixture.config()).await.unwrap();
    journal.migrate(Migrations::Apply).await.unwrap();
    // In the condition, too: Postgres does not ask whether a row is in the index.
    let named = "SELECT coalesce(string_agg(indexdef, E'\\n'), '') FROM pg_indexes WHERE tablename = 'sagas' \
                 AND indexdef ~ '\\m(status|revision|state|data|due_at)\\M'";
    let named: String = sqlx::query_scalar(named).fetch_one(&fixture.pool).await.unwrap();
    assert_eq!(named, "", "updates of open sagas would no longer be HOT");
}
