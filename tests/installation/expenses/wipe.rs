//! The broker forgets everything while a thousand approvals are open: the questions are in the office's database, the
//! sagas in the journal, and neither needs the messages that are gone.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use redress::Given;
use serde_json::json;
use uuid::Uuid;

use super::firm::{Firm, Kind, answer, asked, question};
use crate::support::{OFFICES, own_servers, until};

const EXPENSES: usize = 1_000;
/// Answers that are given in one transaction.
const TOGETHER: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jetstream_store_is_wiped_while_a_thousand_approvals_are_open() {
    let mut firm = Firm::on(own_servers().await, &OFFICES).await;
    let handed_in = futures_util::stream::iter(0..EXPENSES)
        .map(|number| {
            let kind = Kind::number(number);
            let handing_in = firm.handing_in(kind, json!([]), &format!("expense-{number}"));
            async move { (handing_in.await, kind) }
        })
        .buffer_unordered(32)
        .collect::<BTreeMap<Uuid, Kind>>()
        .await;
    firm.expenses = handed_in;
    asked(&firm.office, EXPENSES as i64, None).await;
    let awaited = "SELECT count(*) FROM saga_history WHERE event = 'accepted'";
    until("all of them are awaited", async || {
        let awaited: i64 = sqlx::query_scalar(awaited).fetch_one(firm.world.journal()).await.ok()?;
        (awaited == EXPENSES as i64).then_some(())
    })
    .await;

    firm.world.stack.nats().wipe_store().await.unwrap();
    let open: Vec<(Uuid, Kind)> = firm.expenses.iter().map(|(id, kind)| (*id, *kind)).collect();
    for part in open.chunks(TOGETHER) {
        assert!(answer(&firm.office, part).await.iter().all(|given| *given == Given::Now));
    }
    let again = answer(&firm.office, &open[..TOGETHER]).await;
    assert!(again.iter().all(|given| matches!(given, Given::Before(_))), "each is answered once");
    firm.finish().await;
    let unsure = open.iter().map(|(id, _)| question(*id).to_string()).collect::<Vec<_>>();
    let answered = "SELECT count(*) FROM inbox WHERE key = ANY($1) AND outcome IN ('done', 'rejected')";
    let answered: i64 = sqlx::query_scalar(answered).bind(unsure).fetch_one(&firm.office).await.unwrap();
    assert_eq!(answered, EXPENSES as i64);
}
