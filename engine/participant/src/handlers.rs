//! The handlers of a service by the name of their command, each with its limits and its tempo.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use redress_core::{CommandMessage, Name, Phase};

use crate::beside::Bounds;
use crate::call_dispatch::CallDispatch;
use crate::dispatch::{CallSize, Dispatch};
use crate::meter::Limits;
use crate::pacer::Pacer;
use crate::tempo::{Calls, Measured, Record, Tempo};

/// How the commands of a handler are carried out.
pub(crate) enum Runner<S> {
    /// In the inbox transaction.
    Inside(Box<dyn Dispatch<S>>),
    /// By calls to a third party.
    CallsOut(Box<dyn CallDispatch<S>>),
}

impl<S> Runner<S> {
    pub(crate) fn phase(&self) -> Phase {
        match self {
            Self::Inside(dispatch) => dispatch.phase(),
            Self::CallsOut(dispatch) => dispatch.phase(),
        }
    }
}

/// A handler of a service.
pub(crate) struct Registered<S> {
    /// Among the handlers.
    pub(crate) place: usize,
    pub(crate) runner: Runner<S>,
    pub(crate) limits: Limits,
    pub(crate) pacer: Pacer,
    concurrency: usize,
    record: Mutex<Record>,
}

impl<S> Registered<S> {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().expect("no thread panics while it holds the measurements of a handler")
    }

    /// Where its commands run now. Those that call a third party never share a batch.
    pub(crate) fn tempo(&self) -> Tempo {
        match self.runner {
            Runner::Inside(_) => self.record().tempo(Instant::now()),
            Runner::CallsOut(_) => Tempo::Long,
        }
    }

    /// The part that calls a third party, if there is one.
    pub(crate) fn calls_out(&self) -> Option<&dyn CallDispatch<S>> {
        match &self.runner {
            Runner::Inside(_) => None,
            Runner::CallsOut(dispatch) => Some(&**dispatch),
        }
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
        let size = match &self.runner {
            Runner::Inside(dispatch) => dispatch.size(),
            Runner::CallsOut(_) => CallSize::One,
        };
        let set_max = match size {
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
        runner: Runner<S>,
        (limits, concurrency): (Limits, usize),
    ) {
        let (place, phase) = (self.all.len(), runner.phase());
        let record = Mutex::new(Record::new(concurrency));
        let pacer = Pacer::new(limits.calls_per_s);
        self.all.push(Registered { place, runner, limits, pacer, concurrency, record });
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

    /// The handler of a command. Of a settlement it is the one that gives up the open question, or that asks a third
    /// party; there need be none, since the inbox answers all other settlements.
    pub(crate) fn of(&self, command: &CommandMessage) -> Option<&Registered<S>> {
        let phase = command.key.phase;
        if phase == Phase::Settlement {
            let gives_up = self.give_ups.get(&command.command).map(|&place| &self.all[place]);
            let action = self.by_command.get(&command.command).map(|&place| &self.all[place]);
            return gives_up.or(action.filter(|action| action.calls_out().is_some()));
        }
        match self.by_command.get(&command.command) {
            Some(&place) => Some(&self.all[place]).filter(|named| named.runner.phase() == phase),
            None => {
                self.without_name.iter().map(|&place| &self.all[place]).find(|it| it.runner.phase() == phase)
            }
        }
    }

    /// The handler that a batch runs for a command. A third party that is to be asked what became of a call is asked apart
    /// from it.
    pub(crate) fn run_by_batch(&self, command: &CommandMessage) -> Option<&Registered<S>> {
        let inquires = |handler: &&Registered<S>| {
            command.key.phase == Phase::Settlement && handler.calls_out().is_some()
        };
        self.of(command).filter(|handler| !inquires(handler))
    }

    /// Phase and command of each; no command of one that is for all that have none.
    pub(crate) fn named(&self) -> impl Iterator<Item = (Phase, Option<&Name>)> {
        let named = self.by_command.iter().map(|(command, &place)| (place, Some(command)));
        let all = named.chain(self.without_name.iter().map(|&place| (place, None)));
        all.map(|(place, command)| (self.all[place].runner.phase(), command))
    }

    /// Phase and command of each handler, in their order; those that give up open questions among them.
    pub(crate) fn in_order(&self) -> Vec<(Phase, Option<&Name>)> {
        let mut order: Vec<(Phase, Option<&Name>)> =
            self.all.iter().map(|handler| (handler.runner.phase(), None)).collect();
        for (command, &place) in self.by_command.iter().chain(&self.give_ups) {
            order[place].1 = Some(command);
        }
        order
    }

    /// The longest that a handler may take.
    pub(crate) fn time_max(&self) -> Option<Duration> {
        self.all.iter().map(|handler| handler.limits.handler).max()
    }
}
