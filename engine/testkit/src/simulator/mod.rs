//! Whole installations, driven by a seed: two coordinators, several sagas, a bad network, crashes and jumping clocks.
//!
//! A run has two phases. In the *storm* everything goes wrong with some probability: messages are lost, doubled, delayed
//! and reordered, coordinators and participants die between any two moves, the broker's store is wiped, clocks jump,
//! operators interfere. Then the weather is *calm*, and everything must end. What must hold is checked after every
//! commit and at the end ([`check`](crate::check)); whatever goes wrong names the seed that shows it again. The same seed
//! gives the same history, down to its hash.

mod desk;
mod operators;
mod plant;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use fastrand::Rng;
use redress_core::decide::{Context, Event, start};
use redress_core::fault::{FaultBook, FaultKind};
use redress_core::{
    CommandMessage, Name, Outcome, Phase, Rejection, ReplyMessage, SagaDefinition, SagaId, Timestamp,
};
use uuid::Uuid;

use crate::memory::{CommitError, MemoryBus, MemoryJournal, Row};
use crate::participants::{Business, Participants, reply};
use crate::specimen;
use crate::story::line;
use desk::{Desk, Rules};

pub use plant::Plant;

/// Sagas in one run.
const SAGAS: u128 = 3;
/// Moves of the storm.
const STORM_MOVES: u32 = 300;
/// Moves after which a run that has not ended in calm weather never will.
const CALM_MOVES_MAX: u32 = 6_000;
/// How long a message stays with whoever took it, in milliseconds.
const ACK_WAIT_MS: i64 = 5_000;
/// The longest a message is under way, in milliseconds: longer than a step's timeout, so that answers come late.
const DELAY_MS_MAX: u64 = 40_000;
/// How far the journal's clock may jump, in milliseconds.
const JUMP_MS_MAX: i64 = 30_000;

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// SHA-256, in hex, of all histories.
    pub hash: String,
    /// How often each kind of thing happened, to see that the storm was one.
    pub happened: BTreeMap<&'static str, u64>,
}

/// A run in which something did not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("seed {seed}: {wrong}")]
pub struct Violation {
    /// Shows it again.
    pub seed: u64,
    /// What did not hold.
    pub wrong: String,
    /// The history of the saga in question, line by line.
    pub history: Vec<String>,
}

/// Plays the installation of this seed, with a planted bug if one is given.
///
/// # Errors
/// [`Violation`] if anything did not hold, or panicked.
pub fn simulate(seed: u64, plant: Option<Plant>) -> Result<Run, Violation> {
    let definitions = [specimen::five_steps(2, 3), specimen::branching(2, 3), specimen::nested(2, 3)];
    played(World::begin(seed, plant, &definitions), seed)
}

fn played(mut world: World<'_>, seed: u64) -> Result<Run, Violation> {
    let result = caught(|| world.play());
    result.map(|()| world.report()).map_err(|(saga, wrong)| {
        // Of a panic nobody knows to which saga it belongs.
        let sagas = saga.map_or_else(|| world.sagas.clone(), |id| vec![id]);
        let history = sagas.iter().flat_map(|id| world.journal.history(*id).iter().map(line)).collect();
        Violation { seed, wrong, history }
    })
}

/// A panic is a violation too: it must not take its seed with it.
fn caught(play: impl FnOnce() -> Result<(), Wrong>) -> Result<(), Wrong> {
    // The world is only read afterwards, as evidence.
    catch_unwind(AssertUnwindSafe(play)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it did not say why");
        Err((None, format!("it panicked: {text}")))
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    Storm,
    Calm,
}

type Wrong = (Option<SagaId>, String);

struct World<'d> {
    rng: Rng,
    plant: Option<Plant>,
    definitions: &'d [SagaDefinition],
    weather: Weather,
    /// The true time, in milliseconds since 1970.
    now_ms: i64,
    /// How far the journal's clock is ahead of it, in milliseconds.
    skew_ms: i64,
    journal: MemoryJournal,
    commands: MemoryBus<CommandMessage>,
    replies: MemoryBus<ReplyMessage>,
    desks: [Desk; 2],
    participants: Participants,
    /// Steps whose business says no.
    refusing: BTreeSet<(SagaId, Name)>,
    /// Attempts that really failed.
    failed: BTreeSet<(SagaId, Name, Phase, u32)>,
    sagas: Vec<SagaId>,
    happened: BTreeMap<&'static str, u64>,
}

impl<'d> World<'d> {
    fn begin(seed: u64, plant: Option<Plant>, definitions: &'d [SagaDefinition]) -> Self {
        Self {
            rng: Rng::with_seed(seed),
            plant,
            definitions,
            weather: Weather::Storm,
            now_ms: 1_000_000,
            skew_ms: 0,
            journal: MemoryJournal::default(),
            commands: MemoryBus::default(),
            replies: MemoryBus::default(),
            desks: [Desk::Idle, Desk::Idle],
            participants: Participants::new(Plant::without(plant)),
            refusing: BTreeSet::new(),
            failed: BTreeSet::new(),
            sagas: Vec::new(),
            happened: BTreeMap::new(),
        }
    }

    fn start(&mut self, id: SagaId) {
        let definition = &self.definitions[self.rng.usize(..self.definitions.len())];
        for step in &definition.steps {
            if self.rng.u8(..) < 24 {
                self.refusing.insert((id, step.name.clone()));
            }
        }
        let input = serde_json::json!({ "gift": self.rng.bool() });
        let input = if definition.name == *"branching" { input } else { serde_json::json!({}) };
        let data = definition.read_input(&input).expect("the specimens take this input");
        let mut faults = FaultBook::default();
        let mut ctx = Context {
            definition,
            saga_id: id,
            now: self.clock(),
            jitter: 0.0,
            faults: &mut faults,
            traceparent: None,
        };
        let decision = start(&mut ctx, data, Vec::new());
        let definition = (definition.name.clone(), definition.version);
        let row = Row { definition, revision: 1, state: decision.state };
        self.journal.insert(&id.to_string(), id, row, decision.history);
        self.sagas.push(id);
        self.publish(decision.commands);
    }

    /// The journal's clock.
    fn clock(&self) -> Timestamp {
        at(self.now_ms + self.skew_ms)
    }

    fn count(&mut self, what: &'static str) {
        *self.happened.entry(what).or_default() += 1;
    }

    /// Whether a mishap of this likelihood (in 256) happens now.
    fn strikes(&mut self, likelihood: u8, what: &'static str) -> bool {
        let strikes = self.weather == Weather::Storm && self.rng.u8(..) < likelihood;
        if strikes {
            self.count(what);
        }
        strikes
    }

    fn play(&mut self) -> Result<(), Wrong> {
        for number in 1..=SAGAS {
            self.start(SagaId(Uuid::from_u128(number)));
        }
        for _ in 0..STORM_MOVES {
            self.go_on()?;
        }
        self.weather = Weather::Calm;
        self.skew_ms = 0;
        for _ in 0..CALM_MOVES_MAX {
            if self.rests() {
                return self.check_all();
            }
            self.go_on()?;
        }
        let open = self.sagas.iter().find(|id| !self.is_ended(**id)).copied();
        Err((open, "it never ends".to_owned()))
    }

    fn is_ended(&self, id: SagaId) -> bool {
        self.journal.read(id).is_some_and(|row| row.state.is_ended())
    }

    /// Whether all sagas have ended, and nothing is under way or asked that could still change anything.
    fn rests(&self) -> bool {
        self.sagas.iter().all(|id| self.is_ended(*id))
            && self.journal.next_due().is_none()
            && self.commands.next_at().is_none()
            && self.replies.next_at().is_none()
    }

    /// One move of somebody.
    fn go_on(&mut self) -> Result<(), Wrong> {
        if self.strikes(3, "store wiped") {
            self.commands.wipe();
            self.replies.wipe();
        }
        if self.strikes(3, "clock jumped") {
            self.skew_ms = self.rng.i64(-JUMP_MS_MAX..=JUMP_MS_MAX);
        }
        match self.rng.u8(..16) {
            0..6 => self.participate(),
            6..14 => {
                let desk = self.rng.usize(..2);
                self.work(desk)?;
            }
            14 => self.interfere(),
            _ => {}
        }
        self.pass_time();
        Ok(())
    }

    /// Time goes on a little, or to when something happens if nothing can happen now.
    fn pass_time(&mut self) {
        let now = at(self.now_ms);
        let busy = self.commands.ready(now) > 0
            || self.replies.ready(now) > 0
            || !self.journal.due(self.clock()).is_empty()
            || self.desks.iter().any(|desk| !matches!(desk, Desk::Idle));
        if busy {
            self.now_ms += self.rng.i64(0..20);
            return;
        }
        let due = self.journal.next_due().map(|due| due.timestamp_millis() - self.skew_ms + 1);
        let arrival = [self.commands.next_at(), self.replies.next_at()];
        let arrival = arrival.into_iter().flatten().map(|at| at.timestamp_millis());
        self.now_ms = arrival.chain(due).min().unwrap_or(self.now_ms + 1_000).max(self.now_ms + 1);
    }

    fn publish(&mut self, commands: Vec<CommandMessage>) {
        for command in commands {
            if !self.strikes(10, "publish refused") {
                self.commands.publish(command, at(self.now_ms));
            }
        }
    }

    /// What goes wrong with a delivery, in the words of every other test.
    fn mishap(&mut self) -> Option<FaultKind> {
        if self.weather == Weather::Calm {
            return None;
        }
        let ms = self.rng.u64(..DELAY_MS_MAX);
        let mishaps = [
            (14, FaultKind::DropCommand),
            (16, FaultKind::Delay { ms }),
            (36, FaultKind::Fail),
            (10, FaultKind::CrashBeforeCommit),
            (10, FaultKind::CrashAfterCommit),
            (18, FaultKind::DropReply),
            (16, FaultKind::DelayReply { ms }),
            (14, FaultKind::Duplicate),
            (10, FaultKind::CrashAfterReply),
        ];
        let mut draw = self.rng.u8(..);
        let mishap = mishaps.into_iter().find_map(|(likelihood, kind)| {
            let strikes = draw < likelihood;
            draw = draw.saturating_sub(likelihood);
            strikes.then_some(kind)
        })?;
        self.count(mishap.word());
        Some(mishap)
    }

    /// A participant takes a command: commit, reply, acknowledge, and it may die in between.
    fn participate(&mut self) {
        let now = at(self.now_ms);
        let ready = self.commands.ready(now);
        if ready == 0 {
            return;
        }
        let nth = self.rng.usize(..ready);
        let again_at = at(self.now_ms + ACK_WAIT_MS);
        let Some((token, command)) = self.commands.take(nth, now, again_at) else { return };
        let mishap = self.mishap();
        match &mishap {
            Some(FaultKind::CrashBeforeCommit) => return,
            Some(FaultKind::DropCommand) => return self.commands.acknowledge(token),
            Some(FaultKind::Delay { ms }) => return self.commands.give_back(token, self.in_ms(*ms)),
            Some(_) | None => {}
        }
        let business =
            if mishap == Some(FaultKind::Fail) { Business::Failed } else { self.business(&command) };
        let outcome = self.participants.handle(&command, now, &business);
        if matches!(outcome, Outcome::Failed { .. }) {
            let key = &command.key;
            self.failed.insert((key.saga_id, key.step.clone(), key.phase, command.attempt));
        }
        let arrival = match &mishap {
            Some(FaultKind::CrashAfterCommit) => return,
            Some(FaultKind::DropReply) => None,
            Some(FaultKind::DelayReply { ms }) => Some(self.in_ms(*ms)),
            Some(_) | None => Some(now),
        };
        if let Some(arrival) = arrival {
            self.replies.publish(reply(&command, outcome), arrival);
        }
        match &mishap {
            Some(FaultKind::CrashAfterReply) => {}
            Some(FaultKind::Duplicate) => self.commands.give_back(token, now),
            Some(_) | None => self.commands.acknowledge(token),
        }
    }

    fn in_ms(&self, ms: u64) -> Timestamp {
        at(self.now_ms + ms.cast_signed())
    }

    fn business(&mut self, command: &CommandMessage) -> Business {
        let refuses = (command.key.saga_id, command.key.step.clone());
        let says_no = command.key.phase == Phase::Action && self.refusing.contains(&refuses);
        if !says_no {
            return Business::Done;
        }
        if self.participants.would_run(command) {
            self.count("rejected");
            let retriable = command.key.step == *"confirm";
            // A retriable step that an operator has re-opened, and a participant that forgets, say yes the next time.
            if retriable || self.plant == Some(Plant::ForgetARejection) {
                self.refusing.remove(&refuses);
            }
        }
        Business::Rejected(Rejection::new("no", "no"))
    }

    /// One move of a coordinator.
    fn work(&mut self, desk: usize) -> Result<(), Wrong> {
        if !matches!(self.desks[desk], Desk::Idle) && self.strikes(12, "coordinator died") {
            self.desks[desk] = Desk::Idle;
            return Ok(());
        }
        self.desks[desk] = match std::mem::take(&mut self.desks[desk]) {
            Desk::Idle => self.take_batch(),
            Desk::Taken { tokens, events, read } => self.commit(tokens, events, read)?,
            Desk::Committed { tokens, commands } => {
                self.publish(commands);
                Desk::Published { tokens }
            }
            Desk::Published { tokens } => {
                for token in tokens {
                    if !self.strikes(10, "acknowledgement lost") {
                        self.replies.acknowledge(token);
                    }
                }
                Desk::Idle
            }
        };
        Ok(())
    }

    /// Replies, if there are any, or else sagas that are due.
    fn take_batch(&mut self) -> Desk {
        let now = at(self.now_ms);
        let mut tokens = Vec::new();
        let mut events: BTreeMap<SagaId, Vec<Event>> = BTreeMap::new();
        for _ in 0..self.rng.usize(1..4) {
            let ready = self.replies.ready(now);
            if ready == 0 {
                break;
            }
            let nth = self.rng.usize(..ready);
            if let Some((token, reply)) = self.replies.take(nth, now, at(self.now_ms + ACK_WAIT_MS)) {
                tokens.push(token);
                events.entry(reply.key.saga_id).or_default().push(Event::Reply(reply));
            }
        }
        if events.is_empty() {
            let due = self.journal.due(self.clock()).into_iter().take(2);
            events = due.map(|id| (id, vec![Event::TimerFired])).collect();
        }
        if events.is_empty() { Desk::Idle } else { self.read(tokens, events) }
    }

    fn read(&self, tokens: Vec<u64>, events: BTreeMap<SagaId, Vec<Event>>) -> Desk {
        let read = events.keys().filter_map(|id| Some((*id, self.journal.read(*id)?.clone()))).collect();
        Desk::Taken { tokens, events, read }
    }

    fn commit(
        &mut self,
        tokens: Vec<u64>,
        events: BTreeMap<SagaId, Vec<Event>>,
        read: BTreeMap<SagaId, Row>,
    ) -> Result<Desk, Wrong> {
        let ids: Vec<SagaId> = read.keys().copied().collect();
        let rules = Rules {
            definitions: self.definitions,
            plant: self.plant,
            now: self.clock(),
            jitter: self.rng.f64(),
        };
        match rules.commit(&mut self.journal, events.clone(), read) {
            Ok(commands) => {
                for id in ids {
                    self.check(id)?;
                }
                Ok(Desk::Committed { tokens, commands })
            }
            Err(CommitError::Collision(_)) => {
                self.count("collision");
                Ok(self.read(tokens, events))
            }
            Err(CommitError::WayOut(id)) => Err((Some(id), "it left its end".to_owned())),
        }
    }
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_timestamp_millis(ms).expect("a time in this century")
}

#[cfg(test)]
mod tests;
