//! The upkeep of the journal in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use redress_coordinator::ports::{JournalError, JournalUpkeep, Keep, OpenSagas, Standing};
use redress_core::state::ParkCode;
use redress_core::{Name, SagaId};

use super::journal::MemoryJournal;
use super::tables::Row;

/// The least time for which the audit log keeps an operator command, since a lost commit is looked up there.
const AUDIT_KEPT_MIN: Duration = Duration::from_secs(60 * 60);

impl JournalUpkeep for MemoryJournal {
    async fn open_sagas(&self) -> Result<Vec<OpenSagas>, JournalError> {
        let needs = |row: &&Row| row.state.ended_at.is_none() || row.wake_at.is_some();
        let mut open: BTreeMap<(Name, u32), i64> = BTreeMap::new();
        self.with(|tables| {
            for row in tables.rows.values().filter(needs) {
                *open.entry(row.definition.clone()).or_default() += 1;
            }
        });
        let open = open.into_iter();
        Ok(open
            .map(|((saga, version), count)| OpenSagas { saga: saga.to_string(), version, count })
            .collect())
    }

    async fn stalled(&self, after: Duration) -> Result<i64, JournalError> {
        let before = self.time() - after;
        let is_stalled = |row: &&Row| {
            matches!(row.state.status_word(), "running" | "compensating")
                && row.state.started_at < before
                && !row.state.is_awaiting()
        };
        let stalled = self.with(|tables| tables.rows.values().filter(is_stalled).count());
        Ok(i64::try_from(stalled).unwrap_or(i64::MAX))
    }

    async fn standing(&self) -> Result<Standing, JournalError> {
        let now = self.time();
        let mut oldest: BTreeMap<Name, Duration> = BTreeMap::new();
        let mut parked: BTreeMap<(Name, &str), (ParkCode, i64)> = BTreeMap::new();
        self.with(|tables| {
            for row in tables.rows.values().filter(|row| row.state.ended_at.is_none()) {
                let (saga, age) = (&row.definition.0, now - row.state.started_at);
                let oldest = oldest.entry(saga.clone()).or_default();
                *oldest = age.to_std().unwrap_or_default().max(*oldest);
                if let Some(reason) = row.state.parked() {
                    let entry = parked.entry((saga.clone(), reason.code.as_str()));
                    entry.or_insert((reason.code, 0)).1 += 1;
                }
            }
        });
        let parked = parked.into_iter();
        Ok(Standing {
            oldest: oldest.into_iter().map(|(saga, age)| (saga.to_string(), age)).collect(),
            parked: parked.map(|((saga, _), (code, count))| (saga.to_string(), code, count)).collect(),
        })
    }

    async fn asleep(&self, versions: &[(Name, u32)]) -> Result<Vec<SagaId>, JournalError> {
        let now = self.time();
        let sleeps = |(_, row): &(&SagaId, &Row)| {
            let is_asleep = row.wake_at.is_some_and(|at| at > now) && !row.state.is_awaiting();
            is_asleep && versions.contains(&row.definition)
        };
        Ok(self.with(|tables| tables.rows.iter().filter(sleeps).map(|(id, _)| *id).collect()))
    }

    async fn wake(&self, ids: Vec<SagaId>) -> Result<(), JournalError> {
        let now = self.time();
        self.with(|tables| {
            for id in ids {
                if let Some(wake_at) = tables.rows.get_mut(&id).and_then(|row| row.wake_at.as_mut()) {
                    *wake_at = now.min(*wake_at);
                }
            }
        });
        Ok(())
    }

    async fn untold_places(
        &self,
        versions: &[(Name, u32)],
        limit: i64,
    ) -> Result<Vec<(SagaId, Name)>, JournalError> {
        let limit = usize::try_from(limit).unwrap_or_default();
        Ok(self.with(|tables| tables.untold_places(versions, limit)))
    }

    async fn tidy_places(&self, limit: i64) -> Result<u64, JournalError> {
        let limit = usize::try_from(limit).unwrap_or_default();
        Ok(self.with(|tables| tables.tidy_places(limit)))
    }

    async fn places_waiting(&self) -> Result<i64, JournalError> {
        Ok(i64::try_from(self.with(|tables| tables.places_waiting())).unwrap_or(i64::MAX))
    }

    async fn prune_sagas(&self, keep: Keep, limit: i64) -> Result<u64, JournalError> {
        let before = self.time() - keep.sagas;
        let is_old = |(_, row): &(&SagaId, &Row)| {
            row.state.ended_at.is_some_and(|at| at < before) && row.state.due_at().is_none()
        };
        Ok(self.with(|tables| {
            let old: Vec<SagaId> =
                tables.rows.iter().filter(is_old).map(|(id, _)| *id).take(at_most(limit)).collect();
            for id in &old {
                // A key that expired may be that of a younger saga by now.
                if let Some(row) = tables.rows.remove(id)
                    && tables.keys.get(&row.key).is_some_and(|(holder, _)| holder == id)
                {
                    tables.keys.remove(&row.key);
                }
            }
            old.len() as u64
        }))
    }

    async fn prune_keys(&self, age: Duration, limit: i64) -> Result<u64, JournalError> {
        let before = self.time() - age;
        Ok(self.with(|tables| {
            let rows = &tables.rows;
            let is_kept = |row: &Row| row.state.ended_at.is_none_or(|at| at >= before);
            let keys = tables.keys.iter();
            let old = keys.filter(|(_, (holder, _))| !rows.get(holder).is_some_and(is_kept));
            let old: Vec<String> = old.map(|(key, _)| key.clone()).take(at_most(limit)).collect();
            for key in &old {
                tables.keys.remove(key);
            }
            old.len() as u64
        }))
    }

    async fn prune_dead_letters(&self, keep: Keep, limit: i64) -> Result<u64, JournalError> {
        let before = self.time() - keep.dead_letters;
        Ok(self.with(|tables| {
            let is_open = |row: &Row| row.state.ended_at.is_none();
            let open: BTreeSet<SagaId> =
                tables.rows.iter().filter(|(_, row)| is_open(row)).map(|(id, _)| *id).collect();
            remove(&mut tables.dead_letters, limit, |row| {
                row.at < before && row.letter.saga_id.is_none_or(|id| !open.contains(&id))
            })
        }))
    }

    async fn prune_audit(&self, keep: Keep, limit: i64) -> Result<u64, JournalError> {
        let before = self.time() - keep.sagas.max(AUDIT_KEPT_MIN);
        Ok(self.with(|tables| {
            let rows = &tables.rows;
            remove(&mut tables.audit, limit, |(at, audit)| *at < before && !rows.contains_key(&audit.saga_id))
        }))
    }

    async fn prune_faults(&self, limit: i64) -> Result<u64, JournalError> {
        Ok(self.with(|tables| remove(&mut tables.faults, limit, |fault| fault.remaining == Some(0))))
    }
}

fn at_most(limit: i64) -> usize {
    usize::try_from(limit).unwrap_or(0)
}

/// Removes at most so many rows, and says how many.
fn remove<T>(rows: &mut Vec<T>, limit: i64, is_old: impl Fn(&T) -> bool) -> u64 {
    let mut removed = 0;
    rows.retain(|row| {
        let goes = removed < at_most(limit) && is_old(row);
        removed += usize::from(goes);
        !goes
    });
    removed as u64
}
