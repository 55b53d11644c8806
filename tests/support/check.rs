//! What must hold at the end of every test: the invariants, on the journal and on the books of the services.

use std::collections::BTreeMap;

use sqlx::{PgPool, Row};
use uuid::Uuid;

use super::orders::Order;
use super::{World, until};

/// What happened on the way, to prove that it did.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    /// Commands that were sent more than once.
    pub(crate) resent: i64,
    /// Attempts that were not answered in time.
    pub(crate) timed_out: i64,
    /// Replies that came late or twice and were noted.
    pub(crate) late: i64,
    /// Settlements that were asked for.
    pub(crate) settled: i64,
    /// Messages that were acknowledged or put back at a later delivery than their first.
    pub(crate) redelivered: u64,
}

impl World {
    /// Every order ended as it must, the books agree, and every history is sound.
    pub(crate) async fn check(&self, orders: &BTreeMap<Uuid, Order>) -> Evidence {
        self.wait_for(orders.len() as i64).await;
        let ends = ends(self.journal()).await;
        assert_eq!(ends.len(), orders.len(), "one saga per accepted order, and no other");
        for (saga, order) in orders {
            let (status, undone) = order.end();
            assert_eq!(ends.get(saga).map(String::as_str), Some(status), "{order:?} {saga}");
            assert_eq!(undone_steps(self.journal(), *saga).await, undone, "{order:?} {saga}");
        }
        let wrong = redress_services::audit::check(self.books(), &ends).await.expect("the books can be read");
        assert_eq!(wrong, Vec::<String>::new());
        assert_eq!(unsound_histories(self.journal()).await, Vec::<String>::new());
        Evidence { redelivered: self.observer.redelivered(), ..evidence(self.journal()).await }
    }

    /// Waits until the journal answers again after a restart of its server.
    pub(crate) async fn wait_for_journal(&self) {
        until("the journal", async || sqlx::query("SELECT 1").execute(self.journal()).await.ok()).await;
    }
}

async fn ends(journal: &PgPool) -> BTreeMap<Uuid, String> {
    let rows =
        sqlx::query("SELECT id, status FROM sagas").fetch_all(journal).await.expect("the journal answers");
    rows.iter().map(|row| (row.get("id"), row.get("status"))).collect()
}

async fn undone_steps(journal: &PgPool, saga: Uuid) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT step FROM saga_history WHERE saga_id = $1 AND event = 'done' AND phase = 'compensation' ORDER BY seq",
    )
    .bind(saga)
    .fetch_all(journal)
    .await
    .expect("the journal answers")
}

/// Gaps, forward steps after the plan was frozen, undos out of order, steps answered twice.
async fn unsound_histories(journal: &PgPool) -> Vec<String> {
    let questions = [
        "SELECT 'gap in ' || saga_id FROM saga_history GROUP BY saga_id HAVING max(seq) <> count(*) OR min(seq) <> 1",
        "SELECT 'action sent after the plan was frozen in ' || h.saga_id FROM saga_history h \
         JOIN saga_history p ON p.saga_id = h.saga_id AND p.event = 'plan-frozen' \
         WHERE h.event = 'sent' AND h.phase = 'action' AND h.seq > p.seq",
        "SELECT 'step answered twice in ' || saga_id FROM saga_history WHERE event = 'done' \
         GROUP BY saga_id, step, CASE phase WHEN 'compensation' THEN 1 ELSE 0 END HAVING count(*) > 1",
        // Behind it is what stands behind it in the definition.
        "WITH place AS ( \
             SELECT s.id AS saga_id, step.value ->> 'name' AS step, step.ordinality AS place FROM sagas s \
             JOIN saga_definitions d USING (saga, version), \
                  jsonb_array_elements(d.graph -> 'steps') WITH ORDINALITY AS step \
         ), undo AS ( \
             SELECT saga_id, step, place, min(seq) FILTER (WHERE event = 'sent') AS sent, \
                    max(seq) FILTER (WHERE event = 'done') AS done FROM saga_history JOIN place USING (saga_id, step) \
             WHERE phase = 'compensation' GROUP BY 1, 2, 3 \
         ) SELECT 'undone before the one behind it in ' || a.saga_id FROM undo a JOIN undo b USING (saga_id) \
         WHERE b.place > a.place AND a.sent < b.done",
        "SELECT 'dead letter: ' || reason FROM dead_letters",
    ];
    let mut wrong = Vec::new();
    for question in questions {
        let found: Vec<String> =
            sqlx::query_scalar(question).fetch_all(journal).await.expect("the journal answers");
        wrong.extend(found);
    }
    wrong
}

async fn evidence(journal: &PgPool) -> Evidence {
    let row = sqlx::query(
        "SELECT count(*) FILTER (WHERE event = 'sent' AND attempt > 1) AS resent, \
                count(*) FILTER (WHERE event = 'timed-out') AS timed_out, \
                count(*) FILTER (WHERE event = 'late') AS late, \
                count(*) FILTER (WHERE event = 'sent' AND phase = 'settlement') AS settled FROM saga_history",
    )
    .fetch_one(journal)
    .await
    .expect("the journal answers");
    Evidence {
        resent: row.get("resent"),
        timed_out: row.get("timed_out"),
        late: row.get("late"),
        settled: row.get("settled"),
        redelivered: 0,
    }
}
