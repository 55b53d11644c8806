//! The journal on Postgres as the coordinator's ports see it: each method is the one of the same name.

use std::time::Duration;

use redress_core::history::HistoryEntry;
use redress_core::{Name, SagaId, Timestamp};

use super::pg::PgJournal;
use crate::ports::{
    JournalError, JournalReads, JournalUpkeep, Keep, ListFilter, Listed, OpenSaga, OpenSagas, Rows, SagaRow,
    Standing, UnderWay,
};

impl JournalReads for PgJournal {
    async fn saga(&self, id: SagaId) -> Result<Option<SagaRow>, JournalError> {
        Self::saga(self, id).await
    }

    async fn at_rest(&self, ids: &[SagaId]) -> Result<Vec<SagaId>, JournalError> {
        Self::at_rest(self, ids).await
    }

    async fn sagas(&self, filter: &ListFilter) -> Result<Listed, JournalError> {
        Self::sagas(self, filter).await
    }

    async fn open_with_tag(
        &self,
        tag: &(String, String),
        after: Option<SagaId>,
        limit: i64,
    ) -> Result<Rows<OpenSaga>, JournalError> {
        Self::open_with_tag(self, tag, after, limit).await
    }

    async fn history(&self, id: SagaId, after: i32, limit: i64) -> Result<Rows<HistoryEntry>, JournalError> {
        Self::history(self, id, after, limit).await
    }

    async fn place_holder(&self, id: SagaId, step: &Name) -> Result<Option<SagaId>, JournalError> {
        Self::place_holder(self, id, step).await
    }

    async fn census(&self) -> Result<Vec<(String, u32, String, i64)>, JournalError> {
        Self::census(self).await
    }

    async fn under_way(&self, versions: &[(Name, u32)], since: Timestamp) -> Result<UnderWay, JournalError> {
        Self::under_way(self, versions, since).await
    }

    async fn ready(&self) -> Result<(), JournalError> {
        Self::ready(self).await
    }
}

impl JournalUpkeep for PgJournal {
    async fn open_sagas(&self) -> Result<Vec<OpenSagas>, JournalError> {
        Self::open_sagas(self).await
    }

    async fn stalled(&self, after: Duration) -> Result<i64, JournalError> {
        Self::stalled(self, after).await
    }

    async fn standing(&self) -> Result<Standing, JournalError> {
        Self::standing(self).await
    }

    async fn asleep(&self, versions: &[(Name, u32)]) -> Result<Vec<SagaId>, JournalError> {
        Self::asleep(self, versions).await
    }

    async fn wake(&self, ids: Vec<SagaId>) -> Result<(), JournalError> {
        Self::wake(self, ids).await
    }

    async fn untold_places(
        &self,
        versions: &[(Name, u32)],
        limit: i64,
    ) -> Result<Vec<(SagaId, Name)>, JournalError> {
        Self::untold_places(self, versions, limit).await
    }

    async fn tidy_places(&self, limit: i64) -> Result<u64, JournalError> {
        Self::tidy_places(self, limit).await
    }

    async fn places_waiting(&self) -> Result<i64, JournalError> {
        Self::places_waiting(self).await
    }

    async fn prune_sagas(&self, keep: Keep, limit: i64) -> Result<u64, JournalError> {
        Self::prune_sagas(self, keep, limit).await
    }

    async fn prune_keys(&self, age: Duration, limit: i64) -> Result<u64, JournalError> {
        Self::prune_keys(self, age, limit).await
    }

    async fn prune_dead_letters(&self, keep: Keep, limit: i64) -> Result<u64, JournalError> {
        Self::prune_dead_letters(self, keep, limit).await
    }

    async fn prune_audit(&self, keep: Keep, limit: i64) -> Result<u64, JournalError> {
        Self::prune_audit(self, keep, limit).await
    }

    async fn prune_faults(&self, limit: i64) -> Result<u64, JournalError> {
        Self::prune_faults(self, limit).await
    }
}
