//! Which sagas a unit of work reads, and how much of them.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;
use redress_coordinator::ports::{LongestWaits, Selection, Snapshot, Stored, StoredState};
use redress_core::{Name, SagaId, Timestamp};

use super::tables::{Row, Tables};

/// A saga that was chosen: its turn, then its id.
type Chosen<'t> = (usize, SagaId, &'t Row);

impl Tables {
    /// The selected sagas, turn by turn as far as the bytes go (but always one), in the order of their ids.
    pub(super) fn snapshot(&self, selection: &Selection, bytes_max: usize, now: Timestamp) -> Snapshot {
        let mut chosen = self.choose(selection, now);
        chosen.sort_by_key(|(turn, id, _)| (*turn, *id));
        let (mut bytes, mut sagas, mut left) = (0, Vec::new(), Vec::new());
        for (_, id, row) in chosen {
            if bytes < bytes_max.max(1) {
                sagas.push(stored(id, row));
            } else {
                left.push(id);
            }
            bytes += row.state.data.as_bytes().len().max(1);
        }
        sagas.sort_by_key(|stored| stored.id);
        let faults = if sagas.is_empty() { Default::default() } else { self.fault_book() };
        Snapshot { now, sagas, left, faults }
    }

    fn choose(&self, selection: &Selection, now: Timestamp) -> Vec<Chosen<'_>> {
        match selection {
            Selection::Unlocked(ids) | Selection::Known { read: ids, .. } | Selection::These(ids) => {
                self.these(ids)
            }
            Selection::Alone(id) => self.these(&[*id]),
            Selection::Due { known, limit } => {
                let is_due = |row: &Row, (name, version, behind): &(Name, u32, Duration)| {
                    let is_of_it = row.definition == (name.clone(), *version);
                    is_of_it && row.wake_at.is_some_and(|at| at + *behind <= now)
                };
                let of_each = |known| self.by_time(|row| is_due(row, known), *limit);
                // Definition by definition, so that a flood of one leaves the others their turn.
                known.iter().flat_map(of_each).collect()
            }
            Selection::Waiting { known, after, limit } => {
                let longest: BTreeMap<(&Name, u32), LongestWaits> =
                    known.iter().map(|(name, version, longest)| ((name, *version), *longest)).collect();
                let waits = |id: SagaId, row: &Row| {
                    let longest = longest.get(&(&row.definition.0, row.definition.1));
                    let longest = longest.map(|longest| match row.state.is_awaiting() {
                        true => longest.awaiting,
                        false => longest.under_way,
                    });
                    let is_beyond = |at: Timestamp| after.is_none_or(|after| (at, id) > after);
                    // Longer than any time is as good as never.
                    let begins = longest
                        .and_then(|longest| now.checked_add_signed(TimeDelta::from_std(longest).ok()?));
                    let too_long = |at: Timestamp| begins.is_some_and(|begins| at > begins);
                    row.wake_at.is_some_and(|at| too_long(at) && is_beyond(at))
                };
                let waiting = self.rows.iter().filter(|(id, row)| waits(**id, row));
                in_turn(waiting, *limit)
            }
        }
    }

    fn these(&self, ids: &[SagaId]) -> Vec<Chosen<'_>> {
        ids.iter().filter_map(|id| Some((0, *id, self.rows.get(id)?))).collect()
    }

    fn by_time(&self, is_wanted: impl Fn(&Row) -> bool, limit: i64) -> Vec<Chosen<'_>> {
        in_turn(self.rows.iter().filter(|(_, row)| is_wanted(row)), limit)
    }
}

/// The first of them, by their times.
fn in_turn<'t>(rows: impl Iterator<Item = (&'t SagaId, &'t Row)>, limit: i64) -> Vec<Chosen<'t>> {
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by_key(|(id, row)| (row.wake_at, **id));
    rows.truncate(usize::try_from(limit).unwrap_or(0));
    rows.into_iter().enumerate().map(|(turn, (id, row))| (turn, *id, row)).collect()
}

fn stored(id: SagaId, row: &Row) -> Stored {
    Stored {
        id,
        saga: row.definition.0.clone(),
        version: row.definition.1,
        revision: row.revision,
        wake_at: row.wake_at,
        state: StoredState::Readable(Box::new(row.state.clone())),
    }
}
