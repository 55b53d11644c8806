//! The journal on Postgres sits the exam that the journal in memory has passed.

use redress_coordinator::JournalError;
use redress_coordinator::journal::PgJournal;
use redress_coordinator::ports::{Change, Changes, Inserted, Journal, NewSaga, Selection};
use redress_core::history::HistoryEntry;
use redress_core::state::SagaState;
use redress_core::{SagaId, Timestamp};
use redress_testkit::exam::{self, ExaminedJournal};
use redress_testkit::memory::{self, CommitError};

use crate::place::Place;

struct Examinee {
    journal: PgJournal,
    place: Place,
}

impl ExaminedJournal for Examinee {
    async fn insert(
        &mut self,
        key: &str,
        id: SagaId,
        state: SagaState,
        history: Vec<HistoryEntry>,
    ) -> memory::Inserted {
        let definition = exam::definition();
        let saga = NewSaga {
            id,
            saga: definition.name,
            version: definition.version,
            key: key.to_owned(),
            fingerprint: [0; 32],
            input: b"{}".to_vec(),
            tags: serde_json::json!({}),
            state,
            history,
        };
        match self.journal.insert(vec![saga], Vec::new()).await.unwrap()[0] {
            Inserted::New => memory::Inserted::New,
            Inserted::Same(same) => memory::Inserted::Same(same),
            Inserted::Other(other) => panic!("the same body: {other}"),
        }
    }

    async fn read(&mut self, id: SagaId) -> (u64, SagaState) {
        let row = self.journal.saga(id).await.unwrap().unwrap();
        (row.revision.unsigned_abs(), row.state)
    }

    async fn commit(&mut self, changes: Vec<memory::Change>) -> Result<(), CommitError> {
        let ids: Vec<SagaId> = changes.iter().map(|change| change.id).collect();
        let first = ids[0];
        let change = |change: &memory::Change| Change {
            id: change.id,
            revision: change.revision.cast_signed(),
            moved: true,
            fired: false,
            new_data: false,
            state: change.state.clone(),
        };
        let written = Changes {
            sagas: changes.iter().map(change).collect(),
            history: changes
                .into_iter()
                .flat_map(|c| c.history.into_iter().map(move |row| (c.id, row)))
                .collect(),
            ..Changes::default()
        };
        match self.journal.transact(Selection::Unlocked(ids), move |_| (written, ())).await {
            Ok(()) => Ok(()),
            Err(JournalError::Collision(_)) => Err(CommitError::Collision(first)),
            Err(error) if error.with_causes().contains("a terminal state has no way out") => {
                Err(CommitError::WayOut(first))
            }
            Err(error) => panic!("{}", error.with_causes()),
        }
    }

    async fn due(&mut self) -> Vec<SagaId> {
        let definition = exam::definition();
        let due = Selection::Due { known: vec![(definition.name, definition.version)], limit: 10 };
        let read = |snapshot: redress_coordinator::ports::Snapshot| {
            (Changes::default(), snapshot.sagas.iter().map(|stored| stored.id).collect())
        };
        self.journal.transact(due, read).await.unwrap()
    }

    async fn rows(&mut self, id: SagaId) -> usize {
        let sql = "SELECT count(*) FROM saga_history WHERE saga_id = $1";
        let rows: i64 = sqlx::query_scalar(sql).bind(id.0).fetch_one(&self.place.pool).await.unwrap();
        usize::try_from(rows).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_on_postgres_passes() {
    let place = Place::new().await;
    let journal = PgJournal::connect(&place.config()).await.unwrap();
    journal.migrate().await.unwrap();
    let now: Timestamp = sqlx::query_scalar("SELECT now()").fetch_one(&place.pool).await.unwrap();
    exam::journal(&mut Examinee { journal, place }, now).await;
}
