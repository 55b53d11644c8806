//! The journal in memory as people read it.

use std::collections::BTreeMap;

use redress_coordinator::ports::{
    JournalError, JournalReads, ListFilter, Listed, OpenSaga, Rows, SagaRow, UnderWay,
};
use redress_core::history::HistoryEntry;
use redress_core::{Name, SagaId, Timestamp};

use super::journal::MemoryJournal;
use super::list::list;
use super::saga_view::saga_row;
use super::tables::Row;

impl JournalReads for MemoryJournal {
    async fn saga(&self, id: SagaId) -> Result<Option<SagaRow>, JournalError> {
        self.look(id, |row| row.map(|row| saga_row(id, row, Default::default())).transpose())
    }

    async fn at_rest(&self, ids: &[SagaId]) -> Result<Vec<SagaId>, JournalError> {
        let rests = |row: Option<&Row>| {
            row.is_some_and(|row| row.state.ended_at.is_some() || row.state.status_word() == "parked")
        };
        Ok(ids.iter().copied().filter(|id| self.look(*id, rests)).collect())
    }

    async fn sagas(&self, filter: &ListFilter) -> Result<Listed, JournalError> {
        self.with(|tables| Ok(list(tables, filter)))
    }

    async fn open_with_tag(
        &self,
        tag: &(String, String),
        after: Option<SagaId>,
        limit: i64,
    ) -> Result<Rows<OpenSaga>, JournalError> {
        let limit = usize::try_from(limit).unwrap_or(0);
        let is_meant = |id: SagaId, row: &Row| {
            row.state.ended_at.is_none() && row.tags[&tag.0] == *tag.1 && after.is_none_or(|after| id < after)
        };
        self.with(|tables| {
            let found = tables.rows.iter().rev().filter(|(id, row)| is_meant(**id, row));
            let mut rows: Vec<_> = found
                .take(limit + 1)
                .map(|(id, Row { definition: (saga, version), .. })| OpenSaga {
                    id: *id,
                    saga: saga.to_string(),
                    version: *version,
                })
                .collect();
            let more = rows.len() > limit;
            rows.truncate(limit);
            Ok(Rows { rows, more })
        })
    }

    async fn history(&self, id: SagaId, after: i32, limit: i64) -> Result<Rows<HistoryEntry>, JournalError> {
        let (after, limit) = (after.unsigned_abs(), usize::try_from(limit).unwrap_or(0));
        let mut rows: Vec<HistoryEntry> = self.look(id, |row| {
            let history = row.map(|row| row.history.as_slice()).unwrap_or_default();
            history.iter().filter(|entry| entry.seq > after).take(limit + 1).cloned().collect()
        });
        let more = rows.len() > limit;
        rows.truncate(limit);
        Ok(Rows { rows, more })
    }

    async fn place_holder(&self, id: SagaId, step: &Name) -> Result<Option<SagaId>, JournalError> {
        Ok(self.with(|tables| tables.place_holder(id, step)))
    }

    async fn census(&self) -> Result<Vec<(String, u32, String, i64)>, JournalError> {
        let mut census: BTreeMap<(String, u32, String), i64> = BTreeMap::new();
        self.with(|tables| {
            for row in tables.rows.values().filter(|row| row.state.ended_at.is_none()) {
                let (name, version) = &row.definition;
                let status = row.state.status_word().to_owned();
                *census.entry((name.to_string(), *version, status)).or_default() += 1;
            }
        });
        Ok(census
            .into_iter()
            .map(|((name, version, status), count)| (name, version, status, count))
            .collect())
    }

    async fn under_way(&self, versions: &[(Name, u32)], since: Timestamp) -> Result<UnderWay, JournalError> {
        Ok(self.with(|tables| {
            let mut under_way = UnderWay { going: 0, resting: 0 };
            for row in tables.rows.values() {
                let is_over = row.state.ended_at.is_some() && row.wake_at.is_none();
                if is_over || row.state.started_at > since || !versions.contains(&row.definition) {
                    continue;
                }
                match row.state.status_word() {
                    "parked" | "paused" => under_way.resting += 1,
                    _ => under_way.going += 1,
                }
            }
            under_way
        }))
    }

    async fn ready(&self) -> Result<(), JournalError> {
        Ok(())
    }
}
