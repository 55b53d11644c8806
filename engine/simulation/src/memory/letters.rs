//! The dead letters of the journal in memory.

use std::collections::BTreeMap;
use std::time::Duration;

use redress_coordinator::ports::{
    JournalError, JournalLetters, LetterDecision, LetterFilter, LetterGroup, LetterRoom, LetterRow,
    LetterState, LetterStep, Rows,
};
use redress_core::dead_letter::LetterVerb;
use uuid::Uuid;

use super::journal::MemoryJournal;
use super::tables::Tables;

impl JournalLetters for MemoryJournal {
    async fn letters(&self, filter: &LetterFilter) -> Result<Rows<LetterRow>, JournalError> {
        let limit = usize::try_from(filter.limit).unwrap_or(0);
        let mut rows = self.with(|tables| found(tables, filter));
        rows.retain(|row| filter.after.is_none_or(|after| row.letter.id < after));
        let more = rows.len() > limit;
        rows.truncate(limit);
        rows.iter_mut().for_each(|row| row.letter.payload.clear());
        Ok(Rows { rows, more })
    }

    async fn letter(&self, id: Uuid) -> Result<Option<LetterRow>, JournalError> {
        Ok(self.with(|tables| tables.dead_letters.iter().find(|row| row.letter.id == id).cloned()))
    }

    async fn letter_groups(&self, filter: &LetterFilter) -> Result<Vec<LetterGroup>, JournalError> {
        let mut groups = BTreeMap::new();
        for row in self.with(|tables| found(tables, filter)) {
            *groups.entry((row.letter.source, row.letter.code.as_str(), row.letter.code)).or_default() += 1;
        }
        let group = |((source, _, code), count)| LetterGroup { source, code, count };
        Ok(groups.into_iter().map(group).collect())
    }

    async fn move_letter(&self, step: LetterStep) -> Result<bool, JournalError> {
        let now = self.time();
        Ok(self.with(|tables| {
            let (LetterStep::Decided { id, .. }
            | LetterStep::Published { id }
            | LetterStep::NotPublished { id }) = &step;
            let Some(row) = tables.dead_letters.iter_mut().find(|row| row.letter.id == *id) else {
                return false;
            };
            let next = match (step, &row.state) {
                (LetterStep::Decided { verb, actor, reason, .. }, LetterState::Kept) => {
                    let decision = LetterDecision { at: now, actor, reason };
                    match verb {
                        LetterVerb::Replay => LetterState::Replaying(decision),
                        LetterVerb::Discard => LetterState::Discarded(decision),
                    }
                }
                (LetterStep::Published { .. }, LetterState::Replaying(decision)) => {
                    LetterState::Replayed(decision.clone())
                }
                (LetterStep::NotPublished { .. }, LetterState::Replaying(_)) => LetterState::Kept,
                (
                    LetterStep::Decided { .. }
                    | LetterStep::Published { .. }
                    | LetterStep::NotPublished { .. },
                    LetterState::Kept
                    | LetterState::Replaying(_)
                    | LetterState::Replayed(_)
                    | LetterState::Discarded(_),
                ) => return false,
            };
            row.state = next;
            true
        }))
    }

    async fn give_back_letters(&self, after: Duration) -> Result<u64, JournalError> {
        let before = self.time() - after;
        let mut given_back = 0;
        self.with(|tables| {
            for row in &mut tables.dead_letters {
                if let LetterState::Replaying(decision) = &row.state
                    && decision.at < before
                {
                    row.state = LetterState::Kept;
                    given_back += 1;
                }
            }
        });
        Ok(given_back)
    }

    async fn prune_excess_letters(&self, room: LetterRoom, limit: i64) -> Result<u64, JournalError> {
        Ok(self.with(|tables| {
            let mut ranked: Vec<&LetterRow> = tables.dead_letters.iter().collect();
            ranked.sort_by_key(|row| std::cmp::Reverse((row.state == LetterState::Kept, row.letter.id)));
            let (mut bytes, mut excess) = (0, Vec::new());
            for (place, row) in (1..).zip(ranked) {
                bytes += size(row);
                let is_open = |id| tables.rows.get(&id).is_some_and(|row| row.state.ended_at.is_none());
                if (place > room.letters || bytes > room.bytes) && !row.letter.saga_id.is_some_and(is_open) {
                    excess.push(row.letter.id);
                }
            }
            let gone: Vec<Uuid> =
                excess.into_iter().rev().take(usize::try_from(limit).unwrap_or(0)).collect();
            tables.dead_letters.retain(|row| !gone.contains(&row.letter.id));
            gone.len() as u64
        }))
    }
}

/// The bytes of a letter, headers and body.
fn size(row: &LetterRow) -> i64 {
    let headers: usize = row.letter.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    i64::try_from(headers + row.letter.payload.len()).unwrap_or(i64::MAX)
}

/// The letters that a filter finds, newest first, whatever page is wanted.
fn found(tables: &Tables, filter: &LetterFilter) -> Vec<LetterRow> {
    let is_wanted = |row: &&LetterRow| {
        filter.code.is_none_or(|code| row.letter.code == code)
            && filter.source.as_ref().is_none_or(|source| row.letter.source == *source)
            && filter.saga.is_none_or(|saga| row.letter.saga_id == Some(saga))
            && filter.status.is_none_or(|status| row.state.status() == status)
            && filter.since.is_none_or(|since| row.at >= since)
            && filter.until.is_none_or(|until| row.at < until)
    };
    let mut rows: Vec<LetterRow> = tables.dead_letters.iter().filter(is_wanted).cloned().collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.letter.id));
    rows
}
