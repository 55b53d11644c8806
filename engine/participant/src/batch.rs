//! Runs one batch of commands in one transaction.
//!
//! READ COMMITTED: claim all keys, or read what may be known of them ([`crate::claims`]), rule on each command in order of
//! arrival, run the handlers, write the answers, commit. Commands whose handlers must run are gathered by type, so that a
//! set-oriented handler sees them together; a command that touches a key of one that is still waiting to run makes the
//! waiting ones run first. So twins and pairs of action and undo inside a batch are ruled on as if they had come one after
//! the other.
//!
//! A shared batch answers all that needs no handler, runs the handlers that are short, and leaves the others ([`crate::tempo`]).
//! If a short one stalls, the batch gives its lane back, leaves the rest of that kind, and commits with what it has.

mod begin;
mod calls;
mod counts;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use redress_core::fault::FaultKind;
use redress_core::inbox::{Fingerprint, Record, Recorded, Retention, Ruling, rule};
use redress_core::{
    CommandMessage, IdempotencyKey, JsonText, LetterCode, Name, Outcome, Phase, Rejection, Timestamp,
};
use redress_postgres::answered;
use sqlx::PgConnection;

use crate::claims::Approach;
use crate::config::{FaultMode, Stats, count};
use crate::connection::{give_back_after_batch, lease_for_batch};
use crate::crash::crash;
use crate::dispatch::HandlerResult;
use crate::handlers::{Handlers, Registered, Runner};
use crate::inbox::Inbox;
use crate::isolation::Isolation;
use crate::member::{Arrival, Verdict};
use crate::meter::{Call, Meter};
use crate::open::OpenCommand;
use crate::pace::{ANSWER_BYTES_MAX, Pace};
use crate::savepoint::Savepoints;
use crate::store::Memory;
use crate::tempo::{HICCUP_MIN, Measured, SHORT_MAX, Tempo};
use crate::unit_error::UnitError;

use self::begin::begin;

/// Runs a batch, and waits for no row for longer than `lock_wait`; on an error nothing has happened, unless it is the
/// answer to the COMMIT that is missing.
pub(crate) async fn run<S: Send + Sync + 'static>(
    inbox: &Inbox<S>,
    commands: &[CommandMessage],
    lock_wait: Duration,
    isolation: &Isolation,
    arrival: Arrival,
) -> Result<Vec<Verdict>, UnitError> {
    let mut connection = lease_for_batch(&inbox.leases, inbox.config.silence_max).await?;
    let approach = inbox.claims.approach(isolation);
    let result = run_on(&mut connection, inbox, commands, lock_wait, isolation, (approach, arrival)).await;
    if result.is_err() && approach == Approach::ReadFirst {
        inbox.claims.read_in_vain();
    }
    give_back_after_batch(&inbox.leases, connection, result.as_ref().err().map(UnitError::disposition));
    result
}

async fn run_on<S: Send + Sync + 'static>(
    connection: &mut PgConnection,
    inbox: &Inbox<S>,
    commands: &[CommandMessage],
    lock_wait: Duration,
    isolation: &Isolation,
    (approach, arrival): (Approach, Arrival),
) -> Result<Vec<Verdict>, UnitError> {
    let (config, silence) = (&inbox.config, inbox.config.silence_max);
    let (mut transaction, memory, now) =
        begin(connection, inbox, commands, lock_wait, (approach, arrival)).await?;
    let savepoints = match approach {
        Approach::ClaimFirst => Savepoints::new(&mut transaction, silence),
        Approach::ReadFirst => Savepoints::begun(&mut transaction, silence),
    };
    let tally = Stats::default();
    let mut batch = Batch {
        handlers: &inbox.handlers,
        service: inbox.author.as_ref(),
        commands,
        savepoints,
        memory,
        waiting: BTreeMap::new(),
        waiting_keys: HashSet::new(),
        verdicts: commands.iter().map(|_| None).collect(),
        left_keys: HashSet::new(),
        in_doubt: HashMap::new(),
        begun: Instant::now(),
        obey: config.faults != FaultMode::Refused,
        isolation,
        stats: &tally,
        pace: &inbox.pace,
        answer_bytes: 0,
    };
    for place in 0..commands.len() {
        batch.rule_on(place, now, &config.retention).await?;
    }
    batch.run_waiting().await?;
    let Batch { verdicts, memory, savepoints, .. } = batch;
    savepoints.close().await?;
    answered(silence, memory.write(&mut transaction)).await?;
    let dies = |command: &&CommandMessage| command.fault == Some(FaultKind::CrashBeforeCommit);
    if config.faults == FaultMode::Exit
        && let Some(command) = commands.iter().find(dies)
    {
        crash(&command.service);
    }
    answered(silence, transaction.commit()).await?;
    inbox.stats.add(&tally);
    if isolation.is_on_lane() {
        inbox.pace.committed(config.batch_max);
    }
    let answered = |verdict: Option<Verdict>| verdict.expect("every command of a batch was ruled on");
    Ok(verdicts.into_iter().map(answered).collect())
}

/// An action that nobody knows to have happened, and that is undone.
struct Doubt {
    /// What was asked of the third party for it.
    request: JsonText,
    /// Its key and its record, once it is undone.
    record: (IdempotencyKey, Record),
}

struct Batch<'b, S> {
    handlers: &'b Handlers<S>,
    service: &'b S,
    commands: &'b [CommandMessage],
    savepoints: Savepoints<'b>,
    memory: Memory,
    /// Places of the commands whose handlers must run, by command; a settlement that gives up its question is none.
    waiting: BTreeMap<(Name, Phase), Vec<usize>>,
    waiting_keys: HashSet<String>,
    verdicts: Vec<Option<Verdict>>,
    /// Of the actions about which a command was left.
    left_keys: HashSet<String>,
    /// Of the commands that undo an action which nobody knows to have happened.
    in_doubt: HashMap<usize, Doubt>,
    /// When the batch had begun; its time is then the database's, if it was not carried on from before.
    begun: Instant,
    obey: bool,
    isolation: &'b Isolation,
    /// Counted in the transaction, and added to the others once it has committed.
    stats: &'b Stats,
    pace: &'b Pace,
    /// Of the answers that the handlers have made.
    answer_bytes: usize,
}

impl<S: Send + Sync> Batch<'_, S> {
    async fn rule_on(
        &mut self,
        place: usize,
        now: Timestamp,
        retention: &Retention,
    ) -> Result<(), UnitError> {
        let command = &self.commands[place];
        let own = command.key.to_string();
        let action = command.key.of_action().to_string();
        if self.waiting_keys.contains(&own) || self.waiting_keys.contains(&action) {
            self.run_waiting().await?;
        }
        // Once one is left, all behind it are: they are ruled on in order of arrival.
        if self.left_keys.contains(&action)
            || self.is_full()
            || self.memory.is_unread(&own)
            || self.memory.is_unread(&action)
        {
            self.verdicts[place] = Some(Verdict::Left);
            return Ok(());
        }
        match rule(command, self.memory.get(&own), self.memory.get(&action), now, retention) {
            Ruling::Run => self.wait_to_run(place, own, now).await?,
            Ruling::Refuse { reason } => {
                self.verdicts[place] = Some(Verdict::Poison { code: LetterCode::OtherPayload, reason });
            }
            Ruling::UndoInDoubt { request, record } => {
                self.in_doubt.insert(place, Doubt { request, record });
                self.waiting_keys.insert(action);
                self.wait_to_run(place, own, now).await?;
            }
            Ruling::Call { request } => self.call_again(place, request, now),
            Ruling::Inquire { request } => self.inquire(place, request, now),
            Ruling::Wait { until } => self.wait_for_call(place, until, now),
            Ruling::GiveUp => self.wait_to_give_up(place, action, now).await?,
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

    async fn wait_to_run(&mut self, place: usize, own: String, now: Timestamp) -> Result<(), UnitError> {
        let command = &self.commands[place];
        match &command.fault {
            Some(FaultKind::Fail) if self.obey => {
                count(&self.stats.injected);
                let message = "injected failure".to_owned();
                self.answered(place, HandlerResult::Failed(message));
            }
            Some(FaultKind::Reject { code }) if self.obey && command.key.phase == Phase::Action => {
                count(&self.stats.injected);
                let rejection = Rejection::new(code.clone(), "injected rejection");
                self.answered(place, HandlerResult::Rejected(rejection));
            }
            _ if self.calls_out(place) => self.prepare(place, now).await?,
            _ => {
                if let Some(fault) = command.fault.as_ref().filter(|fault| self.obey && fault.is_of_call()) {
                    tracing::warn!(key = %command.key, %fault, "the fault has nothing to strike: the handler calls nobody");
                }
                self.waiting_keys.insert(own);
                self.waiting.entry((command.command.clone(), command.key.phase)).or_default().push(place);
            }
        }
        Ok(())
    }

    /// An older instance does not know how to give up this question, and leaves it open.
    async fn wait_to_give_up(
        &mut self,
        place: usize,
        action: String,
        now: Timestamp,
    ) -> Result<(), UnitError> {
        let handler = self.handlers.of(&self.commands[place]);
        if handler.is_some_and(|handler| handler.calls_out().is_none()) {
            return self.wait_to_run(place, action, now).await;
        }
        self.verdicts[place] = Some(Verdict::Answered(Outcome::Accepted));
        count(&self.stats.settled);
        Ok(())
    }

    /// Returns true if the handlers have answered as much as this transaction holds.
    fn is_full(&self) -> bool {
        self.answer_bytes >= ANSWER_BYTES_MAX
    }

    /// Runs the waiting commands, type by type in the order of their names: two batches lock in the same order.
    async fn run_waiting(&mut self) -> Result<(), UnitError> {
        self.waiting_keys.clear();
        for (_, places) in std::mem::take(&mut self.waiting) {
            let handler = self.handlers.of(&self.commands[places[0]]);
            let handler = handler.expect("commands without a handler were set aside before the batch");
            let mut places = places.as_slice();
            while !places.is_empty() {
                let room = ANSWER_BYTES_MAX.saturating_sub(self.answer_bytes);
                if self.is_full() || !self.may_run(handler) {
                    self.leave(places);
                    break;
                }
                let (now, later) = places.split_at(self.pace.calls(room).min(places.len()));
                self.run_together(handler, now).await?;
                places = later;
            }
        }
        Ok(())
    }

    /// Returns true if this handler runs in this transaction.
    fn may_run(&self, handler: &Registered<S>) -> bool {
        match self.isolation {
            Isolation::Shared(_) => handler.tempo() == Tempo::Short,
            Isolation::Probe(_) | Isolation::Beside | Isolation::Everything => true,
        }
    }

    /// These commands are run later, and those behind them that are about the same actions, too.
    fn leave(&mut self, places: &[usize]) {
        for &place in places {
            self.left_keys.insert(self.commands[place].key.of_action().to_string());
            self.verdicts[place] = Some(Verdict::Left);
        }
    }

    /// Runs one handler for commands of one kind; those behind a call that stalls are left.
    async fn run_together(&mut self, handler: &Registered<S>, places: &[usize]) -> Result<(), UnitError> {
        let calls: Vec<Call> = places
            .iter()
            .map(|place| {
                let command = &self.commands[*place];
                let in_doubt = self.in_doubt.get(place).map(|doubt| doubt.request.clone());
                Call { key: command.key.clone(), payload: command.payload.clone(), in_doubt }
            })
            .collect();
        let (isolation, commands) = (self.isolation, self.commands);
        let on_slow = |so_far: Duration| {
            handler.runs_long(so_far);
            match isolation {
                Isolation::Shared(lane) | Isolation::Probe(lane) => lane.stalls(commands),
                Isolation::Beside | Isolation::Everything => {}
            }
        };
        let (measured, patience) = match isolation {
            Isolation::Shared(_) => (Measured::Shared, Some(HICCUP_MIN)),
            Isolation::Probe(_) => (Measured::Probe, Some(SHORT_MAX)),
            Isolation::Beside | Isolation::Everything => (Measured::Beside, None),
        };
        let mut meter = Meter::new(handler.limits, patience, &on_slow);
        let Runner::Inside(dispatch) = &handler.runner else { unreachable!("it was prepared") };
        let ran = dispatch.run(self.service, &mut self.savepoints, &calls, &mut meter).await;
        handler.ended(meter.calls(), measured);
        let ran = ran?;
        let sizes = ran.iter().map(HandlerResult::bytes);
        self.pace.answered(sizes.clone().max().unwrap_or(0));
        self.answer_bytes += sizes.sum::<usize>();
        let (run, left) = places.split_at(ran.len());
        for (place, ran) in run.iter().zip(ran) {
            self.answered(*place, ran);
        }
        self.leave(left);
        Ok(())
    }

    fn answered(&mut self, place: usize, ran: HandlerResult) {
        let command = &self.commands[place];
        let is_settlement = command.key.phase == Phase::Settlement;
        self.count_handled(command.key.phase, &ran);
        let (outcome, recorded) = match ran {
            HandlerResult::Done(reply) => {
                self.remember_doubt(place);
                (Outcome::Done { reply: reply.clone() }, Some(Recorded::Done { reply }))
            }
            HandlerResult::Rejected(rejection) => {
                (Outcome::Rejected(rejection.clone()), Some(Recorded::Rejected(rejection)))
            }
            HandlerResult::Fenced => (Outcome::Fenced, Some(Recorded::Fenced)),
            HandlerResult::Later => {
                // An undo has begun, whenever it ends.
                self.remember_doubt(place);
                (Outcome::Accepted, Some(Recorded::Open).filter(|_| !is_settlement))
            }
            HandlerResult::Failed(message) => {
                self.memory.unanswered(&command.key.to_string());
                (Outcome::Failed { message }, None)
            }
            HandlerResult::Unreadable(reason) => {
                self.memory.unanswered(&command.key.to_string());
                self.verdicts[place] = Some(Verdict::Poison { code: LetterCode::Unreadable, reason });
                return;
            }
        };
        if let Some(recorded) = recorded {
            self.remember(command, recorded);
        }
        self.verdicts[place] = Some(Verdict::Answered(outcome));
    }

    /// Remembers what a handler has said: of a command under its own key, of a settlement under its action's.
    fn remember(&mut self, command: &CommandMessage, recorded: Recorded) {
        if command.key.phase == Phase::Settlement {
            let action = command.key.of_action().to_string();
            let fingerprint = self.memory.get(&action).and_then(|record| record.fingerprint);
            return self.memory.remember(action, Record { fingerprint, recorded });
        }
        let fingerprint = Some(Fingerprint::of(&command.command, &command.payload));
        let (key, record) = (command.key.to_string(), Record { fingerprint, recorded });
        match record.recorded {
            Recorded::Open => self.memory.leave_open(key, record, OpenCommand::of(command)),
            Recorded::Done { .. }
            | Recorded::Rejected(_)
            | Recorded::Fenced
            | Recorded::Prepared { .. }
            | Recorded::GivenUp { .. } => self.memory.remember(key, record),
        }
    }
}
