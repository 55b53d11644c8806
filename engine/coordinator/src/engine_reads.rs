//! Reads of sagas: as they are, their lists, their history, their plan, their end.

use redress_core::history::HistoryEntry;
use redress_core::plan::{Plan, plan};
use redress_core::{Name, SagaId, Timestamp};
use tokio::sync::mpsc;

use crate::engine::Engine;
use crate::ports::{Bus, Clock, JournalError, JournalReads, ListFilter, Listed, Rest, Rows, SagaRow};
use crate::requests::PlanError;
use crate::view::{Page, SagaView};
use crate::waiters::Ended;

impl<J: JournalReads, B: Bus, C: Clock> Engine<J, B, C> {
    /// A saga that was started before this, and goes on, is stalled.
    fn stalled_before(&self) -> Timestamp {
        self.parts.decider.now() - self.parts.config.stalled_after
    }

    /// A saga as it is now.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub async fn saga(&self, id: SagaId) -> Result<Option<SagaView>, JournalError> {
        let Some(row) = self.parts.decider.journal.saga(id).await? else { return Ok(None) };
        let queued: Vec<Name> = row.state.waiting_for_place().map(|step| step.name.clone()).collect();
        let mut view = self.view(row);
        for step in queued {
            let behind = self.parts.decider.journal.place_holder(id, &step).await?;
            let mut steps = view.steps.iter_mut().filter(|view| *step == *view.name);
            if let Some(queued) = steps.next().and_then(|view| view.queued.as_mut()) {
                queued.behind = behind;
            }
        }
        Ok(Some(view))
    }

    fn view(&self, row: SagaRow) -> SagaView {
        let definition = Name::new(&row.saga)
            .ok()
            .and_then(|name| self.parts.decider.rules.registry.get(&name, row.version));
        SagaView::new(row, definition.map(|definition| &**definition), self.stalled_before())
    }

    /// A page of sagas, newest first; `next` is where to go on.
    ///
    /// A page looks at a bounded number of sagas. One that ends because of that says until when it has looked, and may be
    /// empty although there are more.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub async fn sagas(&self, mut filter: ListFilter) -> Result<Page<SagaView>, JournalError> {
        filter.stalled_before = filter.stalled.then(|| self.stalled_before());
        let Listed { rows, rest } = self.parts.decider.journal.sagas(&filter).await?;
        let searched_back_to = match rest {
            Rest::Unsearched(next) => next.saga().and_then(time_of),
            Rest::Nothing | Rest::More(_) => None,
        };
        let next = rest.next().map(|next| next.to_string());
        let items = Vec::with_capacity(rows.len());
        let mut page = Page { items, next, searched_back_to, unreadable: Vec::new() };
        for row in rows {
            match row {
                Ok(row) => page.items.push(self.view(row)),
                Err(id) => page.unreadable.push(id.to_string()),
            }
        }
        Ok(page)
    }

    /// A page of a saga's history, oldest first, after row number `after`; nothing if there is no such saga.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub async fn history(
        &self,
        id: SagaId,
        after: u32,
        limit: i64,
    ) -> Result<Option<Page<HistoryEntry>>, JournalError> {
        let after = i32::try_from(after).unwrap_or(i32::MAX);
        let Rows { rows: items, more } = self.parts.decider.journal.history(id, after, limit).await?;
        if items.is_empty() && self.parts.decider.journal.saga(id).await?.is_none() {
            return Ok(None);
        }
        let next = items.last().filter(|_| more).map(|entry| entry.seq.to_string());
        Ok(Some(Page { items, next, searched_back_to: None, unreadable: Vec::new() }))
    }

    /// The steps that a saga would still do and those that it would undo now; nothing if there is no such saga, an
    /// error inside if its definition is not known here or fails on its data.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub async fn plan(&self, id: SagaId) -> Result<Option<Result<Plan, PlanError>>, JournalError> {
        let Some(row) = self.parts.decider.journal.saga(id).await? else { return Ok(None) };
        let definition = Name::new(&row.saga)
            .ok()
            .and_then(|name| self.parts.decider.rules.registry.get(&name, row.version));
        Ok(Some(match definition {
            None => Err(PlanError::VersionNotHere(row.saga, row.version)),
            Some(definition) => plan(definition, &row.state).map_err(PlanError::Closure),
        }))
    }

    /// The number of sagas whose end is waited for here.
    pub fn waiting(&self) -> usize {
        self.parts.publisher.waiters.waited_for()
    }

    /// Every saga that this coordinator ends or parks from now on.
    pub fn watch_ended(&self) -> mpsc::UnboundedReceiver<Ended> {
        self.parts.publisher.waiters.watch()
    }
}

/// When the id of a saga was made, some milliseconds before its start; nothing if it tells no time.
fn time_of(id: SagaId) -> Option<Timestamp> {
    let (seconds, nanos) = id.0.get_timestamp()?.to_unix();
    Timestamp::from_timestamp(i64::try_from(seconds).ok()?, nanos)
}
