//! One batch of commands in one transaction.
//!
//! READ COMMITTED: claim all keys, rule on each command in order of arrival, run the handlers, write the answers,
//! commit. Commands whose handlers must run are gathered by type, so that a set-oriented handler sees them together;
//! a command that touches a key of one that is still waiting to run makes the waiting ones run first. So twins and
//! pairs of action and undo inside a batch are ruled on as if they had come one after the other.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use redress_core::fault::FaultKind;
use redress_core::inbox::{Fingerprint, Record, Recorded, Retention, Ruling, keys_to_claim, rule};
use redress_core::{CommandMessage, Name, Outcome, Phase, Rejection, Timestamp};
use sqlx::{Connection, PgConnection};

use crate::answer::crash;
use crate::connection::{give_back, lease};
use crate::erased::{Call, Erased, Limits, Ran};
use crate::retryable::{Mishap, Trouble, answered, sort};
use crate::settings::{FaultObedience, Stats, count};
use crate::store::{self, Memory};
use crate::worker::Worker;

/// The handlers of a service by the name of their command; `None` is the one for all that have none.
pub(crate) struct Handlers<S> {
    pub(crate) by_command: HashMap<Name, Box<dyn Erased<S>>>,
    pub(crate) actions_without_name: Option<Box<dyn Erased<S>>>,
    pub(crate) undos_without_name: Option<Box<dyn Erased<S>>>,
}

impl<S> Handlers<S> {
    pub(crate) fn of(&self, command: &CommandMessage) -> Option<&dyn Erased<S>> {
        let named = self.by_command.get(&command.command).map(Box::as_ref);
        let fallback = match command.key.phase {
            Phase::Action | Phase::Settlement => self.actions_without_name.as_deref(),
            Phase::Compensation => self.undos_without_name.as_deref(),
        };
        named.or(fallback).filter(|handler| match command.key.phase {
            Phase::Settlement => true,
            phase @ (Phase::Action | Phase::Compensation) => handler.phase() == phase,
        })
    }
}

/// What became of a command.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    /// Answer this and acknowledge.
    Answered(Outcome),
    /// Nobody could use it: answer `refused`, keep it, never again.
    Poison { reason: String },
}

/// Runs a batch, and waits for no row for longer than `lock_wait`; on an error nothing has happened, unless it is the
/// answer to the COMMIT that is missing.
pub(crate) async fn run<S: Send + Sync + 'static>(
    worker: &Worker<S>,
    commands: &[CommandMessage],
    lock_wait: Duration,
) -> Result<Vec<Verdict>, sqlx::Error> {
    let mut connection = lease(&worker.pool, worker.settings.silence_max).await?;
    let result = run_on(&mut connection, worker, commands, lock_wait).await;
    give_back(connection, result.as_ref().err().map(sort));
    result
}

async fn run_on<S: Send + Sync + 'static>(
    connection: &mut PgConnection,
    worker: &Worker<S>,
    commands: &[CommandMessage],
    lock_wait: Duration,
) -> Result<Vec<Verdict>, sqlx::Error> {
    let (settings, limits) = (&worker.settings, worker.settings.limits());
    let begun = answered(limits.silence, connection.begin_with(store::begin(lock_wait))).await;
    let mut transaction = begun.map_err(Mishap::Unreachable)?;
    let keys =
        commands.iter().flat_map(|command| keys_to_claim(command).into_iter().map(|key| key.to_string()));
    let claimed = answered(limits.silence, store::claim(&mut transaction, keys.collect())).await;
    let (memory, now) = claimed.map_err(|error| match sort(&error) {
        Trouble::Held => Mishap::Elsewhere(error).into(),
        _ => error,
    })?;
    let tally = Stats::default();
    let mut batch = Batch {
        handlers: &worker.handlers,
        service: worker.author.as_ref(),
        commands,
        connection: &mut transaction,
        memory,
        waiting: BTreeMap::new(),
        waiting_keys: HashSet::new(),
        verdicts: commands.iter().map(|_| None).collect(),
        obey: settings.faults != FaultObedience::Refused,
        limits,
        stats: &tally,
    };
    for place in 0..commands.len() {
        batch.rule_on(place, now, &settings.retention).await?;
    }
    batch.run_waiting().await?;
    let verdicts = std::mem::take(&mut batch.verdicts);
    let memory = batch.memory;
    answered(limits.silence, memory.write(&mut transaction)).await?;
    let dies = |command: &&CommandMessage| command.fault == Some(FaultKind::CrashBeforeCommit);
    if settings.faults == FaultObedience::Exit
        && let Some(command) = commands.iter().find(dies)
    {
        crash(&command.service);
    }
    answered(limits.silence, transaction.commit()).await?;
    worker.stats.add(&tally);
    let answered = |verdict: Option<Verdict>| verdict.expect("every command of a batch was ruled on");
    Ok(verdicts.into_iter().map(answered).collect())
}

struct Batch<'b, S> {
    handlers: &'b Handlers<S>,
    service: &'b S,
    commands: &'b [CommandMessage],
    connection: &'b mut PgConnection,
    memory: Memory,
    /// Places of the commands whose handlers must run, by command.
    waiting: BTreeMap<Name, Vec<usize>>,
    waiting_keys: HashSet<String>,
    verdicts: Vec<Option<Verdict>>,
    obey: bool,
    limits: Limits,
    /// Counted in the transaction, and added to the others once it has committed.
    stats: &'b Stats,
}

impl<S: Send + Sync> Batch<'_, S> {
    async fn rule_on(
        &mut self,
        place: usize,
        now: Timestamp,
        retention: &Retention,
    ) -> Result<(), sqlx::Error> {
        let command = &self.commands[place];
        let own = command.key.to_string();
        let action = command.key.of_action().to_string();
        if self.waiting_keys.contains(&own) || self.waiting_keys.contains(&action) {
            self.run_waiting().await?;
        }
        match rule(command, self.memory.get(&own), self.memory.get(&action), now, retention) {
            Ruling::Run => self.wait_to_run(place, own),
            Ruling::Refuse { reason } => self.verdicts[place] = Some(Verdict::Poison { reason }),
            Ruling::Answer { outcome, record } => {
                self.count_answer(command, &outcome, record.is_empty());
                for (key, record) in record {
                    self.memory.remember(key.to_string(), record);
                }
                self.verdicts[place] = Some(Verdict::Answered(outcome));
            }
        }
        Ok(())
    }

    fn wait_to_run(&mut self, place: usize, own: String) {
        let command = &self.commands[place];
        match &command.fault {
            Some(FaultKind::Fail) if self.obey => {
                count(&self.stats.injected);
                let message = "injected failure".to_owned();
                self.answered(place, Ran::Failed(message));
            }
            Some(FaultKind::Reject { code }) if self.obey && command.key.phase == Phase::Action => {
                count(&self.stats.injected);
                let rejection = Rejection::new(code.clone(), "injected rejection");
                self.answered(place, Ran::Rejected(rejection));
            }
            _ => {
                self.waiting_keys.insert(own);
                self.waiting.entry(command.command.clone()).or_default().push(place);
            }
        }
    }

    /// Runs what waits, command by command in the order of their names: two batches lock in the same order.
    async fn run_waiting(&mut self) -> Result<(), sqlx::Error> {
        self.waiting_keys.clear();
        for (_, places) in std::mem::take(&mut self.waiting) {
            let calls: Vec<Call> = places
                .iter()
                .map(|&place| &self.commands[place])
                .map(|command| Call { key: command.key.clone(), payload: command.payload.clone() })
                .collect();
            let handler = self.handlers.of(&self.commands[places[0]]);
            let handler = handler.expect("commands without a handler were set aside before the batch");
            let ran = handler.run(self.service, self.connection, &calls, self.limits).await?;
            for (place, ran) in places.into_iter().zip(ran) {
                self.answered(place, ran);
            }
        }
        Ok(())
    }

    fn answered(&mut self, place: usize, ran: Ran) {
        let command = &self.commands[place];
        let (outcome, recorded) = match ran {
            Ran::Done(reply) => {
                count(&self.stats.done);
                (Outcome::Done { reply: reply.clone() }, Recorded::Done { reply })
            }
            Ran::Rejected(rejection) => {
                count(&self.stats.rejected);
                (Outcome::Rejected(rejection.clone()), Recorded::Rejected(rejection))
            }
            Ran::Failed(message) => {
                count(&self.stats.failed);
                self.verdicts[place] = Some(Verdict::Answered(Outcome::Failed { message }));
                return;
            }
            Ran::Unreadable(reason) => {
                self.verdicts[place] = Some(Verdict::Poison { reason });
                return;
            }
        };
        let fingerprint = Some(Fingerprint::of(&command.command, &command.payload));
        self.memory.remember(command.key.to_string(), Record { fingerprint, recorded });
        self.verdicts[place] = Some(Verdict::Answered(outcome));
    }

    fn count_answer(&self, command: &CommandMessage, outcome: &Outcome, remembered: bool) {
        match (command.key.phase, outcome) {
            (_, Outcome::Expired) => count(&self.stats.expired),
            (Phase::Settlement, _) => count(&self.stats.settled),
            (Phase::Action, Outcome::Fenced) => count(&self.stats.fenced),
            (Phase::Compensation, Outcome::Done { .. }) if !remembered => {
                count(&self.stats.null_compensations)
            }
            (Phase::Action | Phase::Compensation, _) => count(&self.stats.duplicates),
        }
    }
}
