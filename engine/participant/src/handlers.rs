//! The handlers of a service by the name of their command, each with its limits and its tempo.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use redress_core::{CommandMessage, Name, Phase};

use crate::beside::Bounds;
use crate::dispatch::{CallSize, Dispatch};
use crate::meter::Limits;
use crate::tempo::{Calls, Measured, Record, Tempo};

/// A handler of a service.
pub(crate) struct Registered<S> {
    /// Among the handlers.
    pub(crate) place: usize,
    pub(crate) dispatch: Box<dyn Dispatch<S>>,
    pub(crate) limits: Limits,
    concurrency: usize,
    record: Mutex<Record>,
}

impl<S> Registered<S> {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().expect("no thread panics while it holds the measurements of a handler")
    }

    /// Where its commands run now.
    pub(crate) fn tempo(&self) -> Tempo {
        self.record().tempo(Instant::now())
    }

    /// A call takes longer than a short one does, and has not ended yet.
    pub(crate) fn runs_long(&self, so_far: Duration) {
        self.record().runs_long(so_far, Instant::now());
    }

    /// These calls have ended.
    pub(crate) fn ended(&self, calls: Calls, measured: Measured) {
        self.record().ended(calls, measured, Instant::now());
    }

    /// The most of its commands that wait for a place beside the batches.
    pub(crate) fn waiting_max(&self) -> usize {
        self.record().waiting_max()
    }

    /// How it runs beside the batches; a set of it has at most `batch_max` commands.
    pub(crate) fn bounds(&self, batch_max: usize) -> Bounds {
        let set_max = match self.dispatch.size() {
            CallSize::One => 1,
            CallSize::Set => batch_max.max(1),
        };
        Bounds { concurrency: self.concurrency, set_max }
    }
}

/// The handlers of a service by the name of their command; those without a name are for all that have none.
pub(crate) struct Handlers<S> {
    pub(crate) all: Vec<Registered<S>>,
    by_command: HashMap<Name, usize>,
    without_name: Vec<usize>,
    /// Those that give up open questions, by the command of the question.
    give_ups: HashMap<Name, usize>,
}

impl<S> Default for Handlers<S> {
    fn default() -> Self {
        Self {
            all: Vec::new(),
            by_command: HashMap::new(),
            without_name: Vec::new(),
            give_ups: HashMap::new(),
        }
    }
}

impl<S> Handlers<S> {
    /// One more, for a command or for all commands of its phase that have none.
    pub(crate) fn add(
        &mut self,
        command: Option<Name>,
        dispatch: Box<dyn Dispatch<S>>,
        (limits, concurrency): (Limits, usize),
    ) {
        let (place, phase) = (self.all.len(), dispatch.phase());
        let record = Mutex::new(Record::new(concurrency));
        self.all.push(Registered { place, dispatch, limits, concurrency, record });
        let by_name = match phase {
            Phase::Action | Phase::Compensation => &mut self.by_command,
            Phase::Settlement => &mut self.give_ups,
        };
        match command {
            Some(command) => {
                by_name.insert(command, place);
            }
            None => self.without_name.push(place),
        }
    }

    /// The handler of a command. Of a settlement it is the one that gives up the open question; there need be none,
    /// since the inbox answers all other settlements.
    pub(crate) fn of(&self, command: &CommandMessage) -> Option<&Registered<S>> {
        let phase = command.key.phase;
        if phase == Phase::Settlement {
            return self.give_ups.get(&command.command).map(|&place| &self.all[place]);
        }
        match self.by_command.get(&command.command) {
            Some(&place) => Some(&self.all[place]).filter(|named| named.dispatch.phase() == phase),
            None => self
                .without_name
                .iter()
                .map(|&place| &self.all[place])
                .find(|it| it.dispatch.phase() == phase),
        }
    }

    /// Phase and command of each; no command of one that is for all that have none.
    pub(crate) fn named(&self) -> impl Iterator<Item = (Phase, Option<&Name>)> {
        let named = self.by_command.iter().map(|(command, &place)| (place, Some(command)));
        let all = named.chain(self.without_name.iter().map(|&place| (place, None)));
        all.map(|(place, command)| (self.all[place].dispatch.phase(), command))
    }

    /// The longest that a handler may take.
    pub(crate) fn time_max(&self) -> Option<Duration> {
        self.all.iter().map(|handler| handler.limits.handler).max()
    }
}
