//! Decides which disruption comes when: a pure function of a seed, so that the same seed plays the same monkey again.
//!
//! The kinds come like cards from a deck that is shuffled anew whenever it is empty: every kind has come before any of
//! them comes a second time. Nothing is killed in the last third, because a process that has just been started cannot
//! show that it gives back what it took.

use std::time::Duration;

/// The mean pause between two disruptions of a long run: most of them last about as long, so one or two are always under
/// way, and the orders still get through.
const GAP: Duration = Duration::from_secs(4);
/// The shortest pause on average, for runs that are too short for every kind.
const GAP_MIN: Duration = Duration::from_millis(1_500);
/// Runs at least this long see the broker away for as long as the audit did.
const LONG: Duration = Duration::from_secs(240);
/// How long the audit's broker was away: the longest outage of any plan.
pub(crate) const LONGEST_OUTAGE: Duration = Duration::from_secs(75);

/// The kinds of disruptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// `kill -9` of a coordinator.
    KillCoordinator,
    /// A coordinator does not run for a while and then goes on (SIGSTOP, SIGCONT).
    FreezeCoordinator,
    /// `kill -9` of a service.
    KillService,
    /// A service does not run for a while and then goes on.
    FreezeService,
    /// The broker is killed and comes back with its store.
    RestartBroker,
    /// The broker is killed and comes back empty.
    WipeBroker,
    /// The broker is away for a while, and sometimes comes back empty.
    BrokerAway,
    /// Postgres stops at once and recovers.
    RestartDatabase,
    /// Every session of the installation is ended by `pg_terminate_backend`.
    EndSessions,
    /// The answer to a COMMIT, or the whole connection, is lost on the way.
    DropAnswer,
    /// Hundreds of sockets that say nothing, and some that stop in the middle of a request.
    SilentSockets,
    /// Clients that ask for the longest list and hardly read it.
    SlowReaders,
    /// Commands that no service can use.
    PoisonCommands,
    /// Replies that no coordinator can use.
    PoisonReplies,
    /// The same with headers that the broker takes for orders of its own.
    PoisonHeaders,
    /// Header blocks that a client library may not survive, written by hand.
    BrokenHeaders,
    /// Every message of some seconds is delivered twice.
    DoubleMessages,
    /// Orders close to the largest input.
    HugeInputs,
    /// Bodies that are no start, in every way that we know.
    HostileJson,
    /// Failures injected over the API that leave the services running.
    InjectFaults,
    /// Failures injected over the API that kill a service at a chosen point.
    InjectCrashes,
    /// Cancels at random moments.
    Cancel,
    /// Pauses, and resumes some time later.
    PauseAndResume,
    /// Orders that park, and operators who retry them.
    ParkAndRetry,
    /// Clients that hang up in the middle of a start, before or after its last byte.
    HangUp,
    /// The same start at both coordinators at the same moment.
    SameKeyTwice,
    /// A stream of commands that takes no more.
    FullStream,
}

impl Kind {
    /// All kinds.
    pub(crate) const ALL: [Self; 27] = [
        Self::KillCoordinator,
        Self::FreezeCoordinator,
        Self::KillService,
        Self::FreezeService,
        Self::RestartBroker,
        Self::WipeBroker,
        Self::BrokerAway,
        Self::RestartDatabase,
        Self::EndSessions,
        Self::DropAnswer,
        Self::SilentSockets,
        Self::SlowReaders,
        Self::PoisonCommands,
        Self::PoisonReplies,
        Self::PoisonHeaders,
        Self::BrokenHeaders,
        Self::DoubleMessages,
        Self::HugeInputs,
        Self::HostileJson,
        Self::InjectFaults,
        Self::InjectCrashes,
        Self::Cancel,
        Self::PauseAndResume,
        Self::ParkAndRetry,
        Self::HangUp,
        Self::SameKeyTwice,
        Self::FullStream,
    ];

    /// Returns true if a process of ours may die of it: afterwards its memory says nothing about leaks.
    pub(crate) const fn kills(self) -> bool {
        matches!(self, Self::KillCoordinator | Self::KillService | Self::InjectCrashes | Self::BrokenHeaders)
    }
}

/// One disruption of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Disruption {
    /// When it comes, from the beginning of the run.
    pub(crate) at: Duration,
    /// The kind of the disruption.
    pub(crate) kind: Kind,
    /// How long it lasts, if it lasts.
    pub(crate) length: Duration,
    /// The seed of its own choices.
    pub(crate) seed: u64,
}

/// The disruptions of a run of this length, in their order, of all kinds but these.
pub(crate) fn schedule(seed: u64, run: Duration, without: &[Kind]) -> Vec<Disruption> {
    let mut chance = fastrand::Rng::with_seed(seed);
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| !without.contains(kind)).collect();
    // A short run squeezes all of them in if they fit at all.
    let gap = GAP.min(run / (kinds.len() as u32 + 2)).max(GAP_MIN);
    let mut deck: Vec<Kind> = Vec::new();
    let mut plan = Vec::new();
    let mut at = gap;
    while at < run {
        if deck.is_empty() {
            deck.clone_from(&kinds);
            chance.shuffle(&mut deck);
        }
        let late = at > run * 2 / 3;
        if late && kinds.iter().all(|kind| kind.kills()) {
            break;
        }
        // The next card that may still come; a card that may not stays for the next deck, of which there is none then.
        let card = deck.iter().rposition(|kind| !(late && kind.kills()));
        let Some(kind) = card.map(|card| deck.remove(card)) else {
            deck.clear();
            continue;
        };
        let first = !plan.iter().any(|before: &Disruption| before.kind == kind);
        let length = length_of(kind, run, first, &mut chance);
        plan.push(Disruption { at, kind, length, seed: chance.u64(..) });
        at += gap.mul_f64(0.5 + chance.f64());
        if kinds.len() == 1 {
            // One kind alone does not run into itself.
            at += length;
        }
    }
    plan
}

/// How long it lasts: mostly some seconds, never a great part of the run.
fn length_of(kind: Kind, run: Duration, first: bool, chance: &mut fastrand::Rng) -> Duration {
    let drawn = match kind {
        Kind::BrokerAway if first && run >= LONG => return LONGEST_OUTAGE,
        Kind::BrokerAway => 3.0 + 17.0 * chance.f64(),
        Kind::FreezeCoordinator | Kind::FreezeService => 2.0 + 10.0 * chance.f64(),
        Kind::SilentSockets | Kind::SlowReaders => 5.0 + 15.0 * chance.f64(),
        Kind::DoubleMessages | Kind::FullStream | Kind::PauseAndResume => 2.0 + 4.0 * chance.f64(),
        Kind::KillCoordinator
        | Kind::KillService
        | Kind::RestartBroker
        | Kind::WipeBroker
        | Kind::RestartDatabase
        | Kind::EndSessions
        | Kind::DropAnswer
        | Kind::PoisonCommands
        | Kind::PoisonReplies
        | Kind::PoisonHeaders
        | Kind::BrokenHeaders
        | Kind::HugeInputs
        | Kind::HostileJson
        | Kind::InjectFaults
        | Kind::InjectCrashes
        | Kind::Cancel
        | Kind::ParkAndRetry
        | Kind::HangUp
        | Kind::SameKeyTwice => 0.0,
    };
    Duration::from_secs_f64(drawn).min(run / 8)
}
