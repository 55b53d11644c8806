//! Checks the invariants at the end of every test, on the journal, the books of the services and the wire.
//!
//! | invariant | where it is checked |
//! |---|---|
//! | 1 money, 2 stock, 3 no double effect, 4 no action after its undo, 5 undone steps, 8 completed steps | the auditor |
//! | 5, 6 exactly these steps, in exactly this order | `undone`, `unsound_histories` |
//! | 7 no step forward once the plan is frozen | `unsound_histories` |
//! | 9 legal moves only, without gaps | `illegal_moves`, by what the simulator checks too |
//! | 10 every saga ends, 11 no accepted start is lost and none is there twice | `check` |
//! | 12 equal commands get equal answers | `Observer` |
//! | 13 quiet in the end | `until_quiet` |
//! | 14 nothing dropped silently | `unsound_histories` and `given_up`: no dead letter of the coordinator's or a service's |
//! | 15 no saga stops the others | all of them end in time; `trips_end_while_the_order_service_is_away` |
//! | 16 not vacuous | `Evidence`, asserted by each test |

use std::collections::BTreeMap;

use futures_util::StreamExt;
use redress::SagaDefinition;
use redress_core::JsonText;
use redress_core::history::HistoryEntry;
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row};
use uuid::Uuid;

use super::orders::Order;
use super::{World, until};

/// The events on the way, to prove that they happened.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    /// Commands that were sent again: as the next attempt, or as the same one if it may have been lost.
    pub(crate) resent: i64,
    /// Attempts that were not answered in time.
    pub(crate) timed_out: i64,
    /// Replies that came late or twice and were noted.
    pub(crate) late: i64,
    /// Settlements that were sent.
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
            assert_eq!(self.undone_of(*saga).await, undone, "{order:?} {saga}");
        }
        self.sound().await
    }

    /// Once nothing is open: the books agree, every history is sound, and nothing is left on the way.
    pub(crate) async fn sound(&self) -> Evidence {
        let open = "SELECT count(*) FROM sagas WHERE ended_at IS NULL AND status NOT IN ('parked', 'paused')";
        until("the end of all sagas", async || {
            let open: i64 = sqlx::query_scalar(open).fetch_one(self.journal()).await.ok()?;
            (open == 0).then_some(())
        })
        .await;
        let ends = ends(self.journal()).await;
        let wrong = redress_services::audit::check(self.books(), &ends).await.expect("the books can be read");
        assert_eq!(wrong, Vec::<String>::new());
        self.sound_histories().await;
        Evidence { redelivered: self.observer.redelivered(), ..evidence(self.journal()).await }
    }

    /// As [`sound`](Self::sound), for sagas of the test's own, of which the books say nothing.
    pub(crate) async fn sound_histories(&self) {
        assert_eq!(unsound_histories(self.journal()).await, Vec::<String>::new());
        assert_eq!(illegal_moves(self.journal(), &self.known()).await, Vec::<String>::new());
        assert_eq!(self.observer.two_answers(), Vec::<String>::new());
        self.until_quiet().await;
        assert_eq!(self.given_up().await, Vec::<String>::new());
    }

    /// The steps of a saga that were undone, in the order of their compensations.
    pub(crate) async fn undone_of(&self, saga: Uuid) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT step FROM saga_history WHERE saga_id = $1 AND event = 'done' AND phase = 'compensation' \
             ORDER BY seq",
        )
        .bind(saga)
        .fetch_all(self.journal())
        .await
        .expect("the journal answers")
    }

    /// Waits until the journal answers again after a restart of its server.
    pub(crate) async fn wait_for_journal(&self) {
        until("the journal", async || sqlx::query("SELECT 1").execute(self.journal()).await.ok()).await;
    }
}

impl World {
    /// Nothing is on its way, nothing is due, and no session holds a transaction open.
    pub(crate) async fn until_quiet(&self) {
        let context = async_nats::jetstream::new(self.nats().await);
        until("nothing on its way", async || {
            for what in ["COMMANDS", "REPLIES"] {
                let name = format!("{}_{what}", self.prefix.to_ascii_uppercase());
                let stream = context.get_stream(&name).await.ok()?;
                let mut consumers = stream.consumers();
                while let Some(consumer) = consumers.next().await {
                    let consumer = consumer.ok()?;
                    if consumer.num_pending > 0 || consumer.num_ack_pending > 0 {
                        return None;
                    }
                }
            }
            Some(())
        })
        .await;
        let due = "SELECT count(*) FROM sagas WHERE ended_at IS NOT NULL AND due_at IS NOT NULL";
        // In the journal and in the books.
        let held = "SELECT (SELECT count(*) FROM pg_stat_activity \
                            WHERE datname = ANY($1) AND state LIKE 'idle in transaction%') \
                         + (SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = pg_locks.database \
                            WHERE datname = ANY($1) AND locktype = 'advisory')";
        until("nothing due, no open transaction, no lock", async || {
            let due: i64 = sqlx::query_scalar(due).fetch_one(self.journal()).await.ok()?;
            let held = sqlx::query_scalar(held).bind(self.databases()).fetch_one(self.journal());
            let held: i64 = held.await.ok()?;
            (due + held == 0).then_some(())
        })
        .await;
    }

    /// The messages that the services gave up, and those that the broker did.
    ///
    /// A broker that was killed may find its consumers a little older than its streams, and then tells of messages that
    /// are gone and were, as far as it knows, not acknowledged: they were, and no consumer gave them up.
    async fn given_up(&self) -> Vec<String> {
        let context = async_nats::jetstream::new(self.nats().await);
        let name = format!("{}_DEAD_LETTERS", self.prefix.to_ascii_uppercase());
        let stream = until("the dead letters", async || context.get_stream(&name).await.ok()).await;
        let state = &stream.cached_info().state;
        let mut letters = Vec::new();
        for sequence in state.first_sequence.max(1)..=state.last_sequence {
            let letter = stream.get_raw_message(sequence).await.expect("a letter stays where it is");
            let payload = String::from_utf8_lossy(&letter.payload);
            if !payload.contains("Unacknowledged message was deleted") {
                letters.push(format!("{}: {:?} {payload}", letter.subject, letter.headers));
            }
        }
        letters
    }
}

/// The simulator's checks of every history, on those of the journal.
async fn illegal_moves(journal: &PgPool, known: &[SagaDefinition]) -> Vec<String> {
    let rows = sqlx::query(
        "SELECT h.saga_id, saga, version, seq, at, event, step, phase, attempt, detail \
         FROM saga_history h JOIN sagas s ON s.id = h.saga_id ORDER BY h.saga_id, seq",
    )
    .fetch_all(journal)
    .await
    .expect("the journal answers");
    let mut histories: BTreeMap<(Uuid, String, i32), Vec<HistoryEntry>> = BTreeMap::new();
    for row in &rows {
        let saga = (row.get("saga_id"), row.get("saga"), row.get("version"));
        histories.entry(saga).or_default().push(entry(row));
    }
    let mut wrong = Vec::new();
    for ((id, saga, version), history) in &histories {
        let same = |d: &&SagaDefinition| *d.name == **saga && i64::from(d.version) == i64::from(*version);
        match known.iter().find(same) {
            None => wrong.push(format!("{id}: the test does not say what `{saga}` version {version} is")),
            Some(definition) => {
                let problem = redress_testkit::check::history(definition, history).err();
                wrong.extend(problem.map(|problem| format!("{id}: {problem}")));
            }
        }
    }
    wrong
}

pub(crate) fn entry(row: &PgRow) -> HistoryEntry {
    let number = |column: &str| row.get::<Option<i32>, _>(column).map(i32::unsigned_abs);
    let word = |column: &str| row.get::<Option<String>, _>(column);
    HistoryEntry {
        seq: number("seq").unwrap_or_default(),
        at: row.get("at"),
        event: row.get::<String, _>("event").parse().expect("an event"),
        step: word("step").map(|step| step.parse().expect("a name")),
        phase: word("phase").map(|phase| phase.parse().expect("a phase")),
        attempt: number("attempt"),
        detail: JsonText::parse(row.get("detail")).expect("JSON"),
    }
}

async fn ends(journal: &PgPool) -> BTreeMap<Uuid, String> {
    let rows =
        sqlx::query("SELECT id, status FROM sagas").fetch_all(journal).await.expect("the journal answers");
    rows.iter().map(|row| (row.get("id"), row.get("status"))).collect()
}

/// Gaps, forward steps after the plan was frozen, undos out of order, steps answered twice.
pub(crate) async fn unsound_histories(journal: &PgPool) -> Vec<String> {
    let queries = [
        "SELECT 'gap in ' || saga_id FROM saga_history GROUP BY saga_id HAVING max(seq) <> count(*) OR min(seq) <> 1",
        "SELECT 'action sent after the plan was frozen in ' || h.saga_id FROM saga_history h \
         JOIN saga_history p ON p.saga_id = h.saga_id AND p.event = 'plan-frozen' \
         WHERE h.event = 'sent' AND h.phase = 'action' AND h.seq > p.seq",
        "SELECT 'step answered twice in ' || saga_id FROM saga_history WHERE event = 'done' \
         GROUP BY saga_id, step, CASE phase WHEN 'compensation' THEN 1 ELSE 0 END HAVING count(*) > 1",
        // A step is behind it if it stands behind it in the definition.
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
    for query in queries {
        let found: Vec<String> =
            sqlx::query_scalar(query).fetch_all(journal).await.expect("the journal answers");
        wrong.extend(found);
    }
    wrong
}

pub(crate) async fn evidence(journal: &PgPool) -> Evidence {
    let row = sqlx::query(
        "SELECT count(*) FILTER (WHERE event = 'sent') \
                    - count(DISTINCT (saga_id, step, phase)) FILTER (WHERE event = 'sent') AS resent, \
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
