//! The end: calm, until everything has ended; then the audit of everything that was promised.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use sqlx::Row;
use tokio::time::Instant;
use uuid::Uuid;

use super::book::{Entry, Leave};
use super::clients::Clients;
use super::disruptions::{faults, operators, poison};
use super::histories;
use super::leftovers;
use super::letters;
use super::level::not_back;
use super::plan::Kind;
use super::support::check;
use super::support::orders::Order;
use super::watch::Watch;
use super::yard::Yard;
use super::{level, rest};

/// How long the run goes on without any end or improvement before it is over: longer than the longest pause before a
/// command is sent again, several times.
const PATIENCE: Duration = Duration::from_secs(240);
/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Messages that stay in a work queue by intent.
const ANCHORS: usize = 1;
/// Sagas that an operator takes from the list at once.
const DESK: i64 = 200;

/// Ends all disruptions: frozen processes run, the broker is back, injected faults are gone.
pub(crate) async fn calm(clients: &Clients) {
    let yard = &clients.yard;
    for supervisor in yard.supervisors() {
        if let Some((pid, _)) = supervisor.ready() {
            supervisor.signal(pid, Signal::SIGCONT);
        }
    }
    for server in [yard.stack.postgres().start().await, yard.stack.nats().start().await] {
        if let Err(error) = server {
            clients.book.violation(format!("a server did not come back: {error}"));
        }
    }
    for supervisor in yard.supervisors() {
        if tokio::time::timeout(PATIENCE, supervisor.until_ready()).await.is_err() {
            clients.book.violation(format!("{} was never ready again", supervisor.name));
        }
    }
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Some(url) = clients.url("/v1/faults")
            && clients.http.delete(url).send().await.is_ok_and(|answer| answer.status().is_success())
        {
            return;
        }
        rest(LOOK_EVERY).await;
    }
    clients.book.violation("the faults could not be taken away");
}

/// In the calm every kind of poison is thrown once more: nothing is lost now, so each has exactly its dead letter.
pub(crate) async fn throw_once_more(clients: &Clients) {
    for (kind, stored) in [
        (Kind::PoisonCommands, poison::commands(clients).await),
        (Kind::PoisonReplies, poison::replies(clients).await),
        (Kind::PoisonHeaders, poison::headers(clients).await),
        (Kind::BrokenHeaders, poison::broken_headers(clients).await),
    ] {
        judge_throw(clients, kind, stored);
    }
}

fn judge_throw(clients: &Clients, kind: Kind, stored: Result<u64, String>) {
    if stored != Ok(0) && stored.is_ok() {
        return;
    }
    clients.book.violation(format!("{kind:?} in the calm: the broker has stored {stored:?}"));
}

/// Operators retry parked sagas and resume paused ones, until every saga has ended.
pub(crate) async fn until_all_ended(clients: &Clients) {
    let (mut fewest, mut since) = (i64::MAX, Instant::now());
    loop {
        let open = "SELECT count(*) FROM sagas WHERE ended_at IS NULL";
        let open: Option<i64> = sqlx::query_scalar(open).fetch_one(&clients.yard.journal).await.ok();
        match open {
            Some(0) => return,
            Some(open) if open < fewest => (fewest, since) = (open, Instant::now()),
            Some(_) | None => {}
        }
        if since.elapsed() > PATIENCE {
            let open = stuck(clients).await;
            return clients.book.violation(format!("these sagas do not end: {}", open.join("; ")));
        }
        put_right(clients).await;
        rest(LOOK_EVERY).await;
    }
}

async fn put_right(clients: &Clients) {
    let waiting =
        "SELECT id, status FROM sagas WHERE ended_at IS NULL AND status IN ('parked', 'paused') LIMIT $1";
    let Ok(rows) = sqlx::query(waiting).bind(DESK).fetch_all(&clients.yard.journal).await else { return };
    for row in rows {
        let verb = if row.get::<String, _>("status") == "parked" { "retry" } else { "resume" };
        // If another operator was quicker, the answer is 409.
        if let Err(violation) = operators::verb(clients, row.get("id"), verb).await {
            clients.book.violation(violation);
        }
    }
}

/// The open sagas, with their histories.
async fn stuck(clients: &Clients) -> Vec<String> {
    let open = "SELECT s.id || ' ' || s.status || ': ' || string_agg(concat_ws(' ', h.event, h.step, h.phase, h.attempt), \
                ', ' ORDER BY h.seq) FROM sagas s JOIN saga_history h ON h.saga_id = s.id WHERE s.ended_at IS NULL \
                GROUP BY s.id LIMIT 5";
    sqlx::query_scalar(open).fetch_all(&clients.yard.journal).await.unwrap_or_default()
}

/// Nothing is on its way, nothing is due, no session holds a transaction or a lock, and the streams hold their anchors
/// and what a broker forgot to delete when it died.
pub(crate) async fn until_quiet(clients: &Clients) {
    let begun = Instant::now();
    while let Some(noise) = noise(clients).await {
        if begun.elapsed() > PATIENCE {
            return clients.book.violation(format!("not quiet in the end: {noise}"));
        }
        rest(LOOK_EVERY).await;
    }
}

async fn noise(clients: &Clients) -> Option<String> {
    let yard = &clients.yard;
    for what in ["COMMANDS", "REPLIES"] {
        if let Some(noise) = leftovers::noise(clients, what, ANCHORS).await {
            return Some(noise);
        }
    }
    let held = "SELECT (SELECT count(*) FROM sagas WHERE ended_at IS NOT NULL AND due_at IS NOT NULL) AS due, \
                (SELECT count(*) FROM pg_stat_activity \
                 WHERE datname = ANY($1) AND state LIKE 'idle in transaction%') AS held, \
                (SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = pg_locks.database \
                 WHERE datname = ANY($1) AND locktype = 'advisory') AS locks";
    let row = match sqlx::query(held).bind(Yard::databases()).fetch_one(&yard.journal).await {
        Ok(row) => row,
        Err(error) => return Some(error.to_string()),
    };
    let count = |what: &str| row.get::<i64, _>(what);
    let is_quiet = count("due") + count("held") + count("locks") == 0;
    (!is_quiet).then(|| {
        let (due, held, locks) = (count("due"), count("held"), count("locks"));
        format!("{due} sagas are due after their end, {held} transactions and {locks} locks are held")
    })
}

/// Memory and descriptors are back at their level.
pub(crate) async fn until_back(clients: &Clients, watch: &Watch, before: &level::Looks) {
    let begun = Instant::now();
    loop {
        let wrong = not_back(before, &watch.looks());
        if wrong.is_empty() {
            return;
        }
        if begun.elapsed() > PATIENCE {
            return wrong.into_iter().for_each(|wrong| clients.book.violation(wrong));
        }
        rest(LOOK_EVERY).await;
    }
}

/// Checks every promise, on the journal, the books and the letters.
pub(crate) async fn audit(clients: &Clients) -> BTreeMap<String, u64> {
    let (book, yard) = (&clients.book, &clients.yard);
    let ends = ends(clients).await;
    let orders = std::mem::take(&mut book.notes().orders);
    judge_ends(clients, &orders, &ends).await;
    match redress_services::audit::check(&yard.books, &ends).await {
        Ok(wrong) => wrong.into_iter().for_each(|wrong| book.violation(wrong)),
        Err(error) => book.violation(format!("the books cannot be read: {error}")),
    }
    for wrong in check::unsound_histories(&yard.journal).await {
        // Dead letters are accounted for below, each with its mark.
        if !wrong.starts_with("dead letter: ") {
            book.violation(wrong);
        }
    }
    histories::judge(clients).await;
    letters::judge(clients).await;
    let mut counted = BTreeMap::new();
    for status in ends.into_values() {
        *counted.entry(status).or_default() += 1;
    }
    counted
}

async fn ends(clients: &Clients) -> BTreeMap<Uuid, String> {
    let rows = sqlx::query("SELECT id, status FROM sagas").fetch_all(&clients.yard.journal).await;
    rows.expect("the journal answers").iter().map(|row| (row.get("id"), row.get("status"))).collect()
}

/// One saga per accepted order and no other, each ended as it must.
async fn judge_ends(
    clients: &Clients,
    orders: &std::collections::HashMap<Uuid, Entry>,
    ends: &BTreeMap<Uuid, String>,
) {
    let book = &clients.book;
    if let Some(lost) = orders.keys().find(|saga| !ends.contains_key(saga)) {
        book.violation(format!("{lost} was accepted, and the journal does not know it"));
    }
    if ends.len() != orders.len() {
        book.violation(format!("{} orders were accepted, and {} sagas exist", orders.len(), ends.len()));
    }
    let refused = refused_by_order(clients).await;
    for (saga, entry) in orders {
        let end = ends.get(saga).map_or("lost", String::as_str);
        let (own_end, _) = entry.order.end();
        let may_turn_back = entry.leave == Leave::MayTurnBack || refused.contains(saga);
        let fits = end == own_end || (may_turn_back && end == "compensated");
        if !fits {
            let story = histories::story(clients, *saga).await;
            book.violation(format!("{saga} ({:?}) ended {end}, not {own_end}: {story}", entry.order));
        }
    }
    if !orders.values().any(|entry| entry.order == Order::Fine) {
        book.violation("there was no order that could be completed");
    }
}

/// The sagas that turned back because a refusal was injected.
async fn refused_by_order(clients: &Clients) -> BTreeSet<Uuid> {
    let refused = "SELECT DISTINCT saga_id FROM saga_history WHERE event = 'rejected' \
                   AND position(convert_to($1, 'UTF8') IN detail) > 0";
    let refused = sqlx::query_scalar(refused).bind(faults::REFUSAL).fetch_all(&clients.yard.journal).await;
    refused.expect("the journal answers").into_iter().collect()
}

/// All processes leave politely when they are asked to.
pub(crate) async fn leave(clients: &Arc<Clients>) {
    let leaving =
        clients.yard.supervisors().map(async |supervisor| (&supervisor.name, supervisor.leave().await));
    for (name, code) in futures_util::future::join_all(leaving).await {
        if code != Some(0) {
            clients.book.violation(format!("{name} was asked to leave and ended with {code:?}"));
        }
    }
}
