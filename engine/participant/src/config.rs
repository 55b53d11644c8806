//! The configuration of a participant.

use std::num::NonZeroU32;
use std::time::Duration;

use redress_core::inbox::Retention;

use crate::crash::CrashHook;
use crate::meter::Limits;
use crate::monitor::Monitor;
pub use crate::stats::Stats;
pub(crate) use crate::stats::count;

/// The treatment of injected failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum FaultMode {
    /// The header is ignored.
    #[default]
    Refused,
    /// Obeyed; a crash abandons its delivery after the commit, unanswered and unacknowledged.
    Abandon,
    /// Obeyed; a crash ends the process with code 86 after the commit.
    Exit,
}

/// Tuning of a participant.
#[derive(Clone, Debug)]
pub struct ParticipantConfig {
    /// The most commands in one transaction: past a few hundred the gain per command is small, and a batch that
    /// fails as a whole costs more.
    pub batch_max: usize,
    /// Batches in flight. One: commands that come meanwhile make the next batch larger, and larger batches cost less
    /// than a second lane gains. Handlers that take long need none: they run beside the batches.
    pub lanes: usize,
    /// Commands of one kind that run at the same time beside the batches, each in a transaction and on a connection of
    /// its own, if their handler takes long: at least 1. [`CommandLimits`] says it for one command. The pool of
    /// [`Service::open`](crate::Service::open) is sized from it, up to 48 connections or one for each command.
    pub concurrency: usize,
    /// How long the inbox remembers.
    pub retention: Retention,
    /// How often rows that the inbox need not remember are pruned.
    pub prune_every: Duration,
    /// How often dead letters that the broker has refused are offered to it again.
    pub forward_every: Duration,
    /// How often an instance looks for answers that were given later and are to be published; one cheap query if there are
    /// none.
    pub look_for_answers_every: Duration,
    /// How often a command that has come again and again is run alone, before it is given up: a handler that kills its
    /// process must not do so for ever.
    pub tries_max: u32,
    /// Until what age an unknown command is left for a newer instance that may know it.
    pub unknown_command_age: Duration,
    /// How long the database may stay silent before its connection is given up: longer than it lets any statement run.
    pub silence_max: Duration,
    /// The longest that one call of a handler may take. Past it its transaction is rolled back, the command is answered
    /// `failed`, and the others of its batch run on: a handler that waits must not hold its place for ever. Longer than
    /// the database lets any statement run (30 s), so that a slow statement fails with its own error and only a wait
    /// outside the database is cut off. [`CommandLimits`] says it for one command. The database lets a transaction of
    /// the service be idle for a little longer than the longest of them.
    pub handler_time_max: Duration,
    /// The longest that one call to a third party may take, or one inquiry ([`CallOut`](crate::CallOut)). Past it the
    /// command is answered `failed`, and nobody knows what became of the call. While a call may be under way no other
    /// one is made for its command, not even by another instance. [`CommandLimits`] says it for one command.
    pub call_time_max: Duration,
    /// The longest that a batch waits for a row which another transaction holds. Past it the members run one by one,
    /// and those that meet the row again are answered `failed`. Longer than a batch of another instance takes, and
    /// short, because an operator may hold the row by hand, and all commands of the service wait as long.
    pub lock_wait_max: Duration,
    /// How long a message rests while the database is down.
    pub database_down_pause: Duration,
    /// The treatment of injected failures.
    pub faults: FaultMode,
    /// Called at each crash point, for tests.
    pub crash: CrashHook,
    /// Sees the service at work; the same one for all services of a program that are shown together.
    pub monitor: Monitor,
}

impl Default for ParticipantConfig {
    fn default() -> Self {
        Self {
            batch_max: 500,
            lanes: 1,
            concurrency: Self::CONCURRENCY,
            retention: Retention::DEFAULT,
            prune_every: Duration::from_secs(10 * 60),
            forward_every: Duration::from_secs(30),
            look_for_answers_every: Duration::from_secs(1),
            tries_max: 10,
            unknown_command_age: Duration::from_secs(30),
            silence_max: Duration::from_secs(40),
            handler_time_max: Duration::from_secs(60),
            call_time_max: Duration::from_secs(30),
            lock_wait_max: Duration::from_secs(3),
            database_down_pause: Duration::from_secs(1),
            faults: FaultMode::Refused,
            crash: CrashHook::default(),
            monitor: Monitor::default(),
        }
    }
}

/// Limits of one command, where they are not those of its service. Set by
/// [`Participant::limits`](crate::Participant::limits), or by the mark of the handler:
/// `#[action(concurrency = 4, time_max_s = 120)]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommandLimits {
    /// Instead of [`ParticipantConfig::concurrency`]; at least 1.
    pub concurrency: Option<usize>,
    /// Instead of [`ParticipantConfig::handler_time_max`].
    pub handler_time_max: Option<Duration>,
    /// Instead of [`ParticipantConfig::call_time_max`].
    pub call_time_max: Option<Duration>,
    /// The most calls to the third party in a second, inquiries included, by each instance of the service; as many as
    /// come without it.
    pub calls_per_s: Option<NonZeroU32>,
}

/// The longest age that anything is compared with: a hundred years, longer than any inbox lives and short enough for
/// every clock to count back. A `Duration::MAX` that is meant as "never" becomes this.
const AGE_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

impl ParticipantConfig {
    /// The default of [`concurrency`](Self::concurrency): 40 commands of three seconds end in nine, and the connections of
    /// one kind are a third of those that a service opens at most.
    pub const CONCURRENCY: usize = 16;

    pub(crate) const fn limits(&self) -> Limits {
        Limits {
            silence: self.silence_max,
            handler: self.handler_time_max,
            call: self.call_time_max,
            calls_per_s: None,
        }
    }

    /// The limits of a command, and how many of it may run beside each other.
    pub(crate) fn limits_of(&self, command: CommandLimits) -> (Limits, usize) {
        let handler = command.handler_time_max.unwrap_or(self.handler_time_max);
        let concurrency = command.concurrency.unwrap_or(self.concurrency).max(1);
        let call = command.call_time_max.unwrap_or(self.call_time_max);
        (Limits { handler, call, calls_per_s: command.calls_per_s, ..self.limits() }, concurrency)
    }

    /// No age is longer than can be counted back.
    pub(crate) fn clamp_ages(mut self) -> Self {
        for age in [&mut self.retention.keep, &mut self.prune_every, &mut self.forward_every] {
            *age = AGE_MAX.min(*age);
        }
        self
    }
}
