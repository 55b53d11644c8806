//! Checks every history against its definition, one saga after the other: there may be millions of rows.

use futures_util::TryStreamExt;
use redress::SagaDefinition;
use redress_core::history::HistoryEntry;
use sqlx::Row;
use uuid::Uuid;

use super::clients::Clients;
use super::support::check::entry;

/// Legal moves only, without gaps.
pub(crate) async fn judge(clients: &Clients) {
    let definition = redress_sagas::all().into_iter().find(|definition| *definition.name == *"place-order");
    let definition = definition.expect("the demo sells orders");
    let mut rows = sqlx::query(
        "SELECT saga_id, seq, at, event, step, phase, attempt, detail FROM saga_history ORDER BY saga_id, seq",
    )
    .fetch(&clients.yard.journal);
    let (mut of, mut history) = (Uuid::nil(), Vec::new());
    while let Some(row) = rows.try_next().await.expect("the journal answers") {
        let saga: Uuid = row.get("saga_id");
        if saga != of {
            judge_one(clients, &definition, of, &history);
            (of, history) = (saga, Vec::new());
        }
        history.push(entry(&row));
    }
    judge_one(clients, &definition, of, &history);
}

fn judge_one(clients: &Clients, definition: &SagaDefinition, saga: Uuid, history: &[HistoryEntry]) {
    if history.is_empty() {
        return;
    }
    if let Err(problem) = redress_testkit::check::history(definition, history) {
        clients.book.violation(format!("{saga}: {problem}"));
    }
}

/// The history of a saga, in one line.
pub(crate) async fn story(clients: &Clients, saga: Uuid) -> String {
    let story = "SELECT string_agg(concat_ws(' ', seq, event, step, phase, attempt), ', ' ORDER BY seq) \
                 FROM saga_history WHERE saga_id = $1";
    let story = sqlx::query_scalar::<_, Option<String>>(story).bind(saga).fetch_one(&clients.yard.journal);
    story.await.ok().flatten().unwrap_or_else(|| "nothing is known of it".to_owned())
}
