//! Answers at the wrong time: before the question, twice, after the fence, after the retention. The office is told what
//! became of each, and no card is charged for an answer that does not count.

#![expect(clippy::unwrap_used, reason = "a test may panic; the helpers below are not in a test function")]

use std::time::Duration;

use redress::{AnswerError, Given, ServiceConfig};
use redress_core::inbox::Retention;
use redress_services::office::answer_approval;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::firm::{Firm, Kind, answer, asked, question};
use crate::support::until;

/// How long the office remembers answers here: longer than its commands lie until it is opened, on a slow machine, too.
const REMEMBERED: Duration = Duration::from_secs(20);

/// The office, which forgets soon.
struct Office {
    stop: CancellationToken,
    running: tokio::task::JoinHandle<()>,
}

impl Office {
    async fn open(firm: &Firm) -> Self {
        let service = redress_services::all().into_iter().find(|it| it.name() == "office").unwrap();
        let mut config = ServiceConfig::default();
        config.participant.retention = Retention { keep: REMEMBERED, margin: REMEMBERED / 20 };
        config.participant.prune_every = Duration::from_millis(50);
        let (database, wire) = (firm.world.database_of("office"), firm.world.wire().await);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let running =
            tokio::spawn(async move { service.run(&database, wire, config, stopped).await.unwrap() });
        Self { stop, running }
    }

    async fn close(self) {
        self.stop.cancel();
        self.running.await.unwrap();
    }
}

async fn refused(firm: &Firm, expense: Uuid) -> AnswerError {
    let mut connection = firm.office.acquire().await.unwrap();
    answer_approval(&mut connection, &question(expense), "carol", None).await.unwrap_err()
}

async fn remembers(firm: &Firm, expense: Uuid) -> bool {
    let known = "SELECT EXISTS (SELECT FROM inbox WHERE key = $1)";
    let known = sqlx::query_scalar(known).bind(question(expense).to_string());
    known.fetch_one(&firm.office).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn approval_counts_once_and_only_while_it_is_asked_for() {
    let mut firm = Firm::on(redress::devstack::shared().await, &["card"]).await;
    // Before the question: its tables are made, and nobody has read the command.
    let office = Office::open(&firm).await;
    until("the office's tables", async || {
        sqlx::query("SELECT FROM approvals").execute(&firm.office).await.ok()
    })
    .await;
    office.close().await;
    let early = firm.hand_in(Kind::Fine, json!([]), "early").await;
    let late = firm.hand_in(Kind::AnswerLost, json!([]), "late").await;
    let untimely = refused(&firm, early).await;
    assert!(matches!(untimely, AnswerError::Unknown { .. }), "{untimely}");

    // Twice: the first one counts, whatever the second one says.
    let office = Office::open(&firm).await;
    asked(&firm.office, 1, Some(early)).await;
    assert_eq!(answer(&firm.office, &[(early, Kind::Fine)]).await, [Given::Now]);
    let again = answer(&firm.office, &[(early, Kind::Refused)]).await;
    assert!(matches!(again[..], [Given::Before(_)]), "{again:?}");

    // After the fence: the saga was told that it never happened.
    let cancelled = firm.hand_in(Kind::Refused, json!([]), "cancelled").await;
    asked(&firm.office, 1, Some(cancelled)).await;
    let cancel = firm.world.url(&format!("/v1/sagas/{cancelled}/cancel"));
    let cancel = firm.world.http.post(cancel).send().await.unwrap();
    assert_eq!(cancel.status(), 202);
    firm.world.wait_for(2).await;
    let fenced = refused(&firm, cancelled).await;
    assert!(matches!(fenced, AnswerError::Fenced { .. }), "{fenced}");

    // After the retention: what was answered is forgotten, what is still asked is not, though it is as old as the first one.
    for answered in [early, cancelled] {
        until("it is forgotten", async || (!remembers(&firm, answered).await).then_some(())).await;
        let forgotten = refused(&firm, answered).await;
        assert!(matches!(forgotten, AnswerError::Unknown { .. }), "{forgotten}");
    }
    assert!(remembers(&firm, late).await, "an open question outlives the retention");
    assert_eq!(answer(&firm.office, &[(late, Kind::AnswerLost)]).await, [Given::Now]);

    firm.finish().await;
    office.close().await;
}
