//! Events of the installation as a whole: outages, forgetting, wiped stores, clocks; and the passing of time.

use std::sync::atomic::Ordering;
use std::time::Duration;

use redress_core::{CommandMessage, Outcome};
use redress_testkit::participants::reply;

use super::world::{JUMP_MS_MAX, Weather, World, at};

/// The longest pause between two moves, in milliseconds, while there are commands for participants.
const BUSY_MS_MAX: u64 = 20;
/// The same while there are none.
const IDLE_MS_MAX: u64 = 6_000;
/// The shortest and the longest outage, in milliseconds: from longer than one attempt to longer than all of a step's
/// and than the memory of the participants.
const OUTAGE_MS: std::ops::Range<i64> = 15_000..240_000;

impl World {
    /// Lets events of the whole installation happen.
    pub(super) fn change_the_weather(&mut self) {
        if self.strikes(3, "store wiped") {
            self.bus.with(|store, _| store.wipe());
        }
        if self.strikes(3, "clock jumped") {
            let skew_ms = self.rng.i64(-JUMP_MS_MAX..=JUMP_MS_MAX);
            self.skew_ms.store(skew_ms, Ordering::Relaxed);
        }
        if self.strikes(1, "broker away") {
            self.broker_away_until = self.now_ms + self.rng.i64(OUTAGE_MS);
        }
        if self.strikes(1, "participants away") {
            self.participants_away_until = self.now_ms + self.rng.i64(OUTAGE_MS);
        }
        let pruned = self.participants.prune(at(self.now_ms));
        if pruned > 0 {
            self.count("pruned");
        }
    }

    /// From now on nothing goes wrong any more.
    pub(super) fn clear_up_the_weather(&mut self) {
        self.weather = Weather::Calm;
        self.skew_ms.store(0, Ordering::Relaxed);
        self.broker_away_until = self.now_ms;
        self.participants_away_until = self.now_ms;
    }

    pub(super) const fn broker_is_away(&self) -> bool {
        self.now_ms < self.broker_away_until
    }

    /// How long the broker will be away.
    pub(super) fn broker_is_away_for(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.broker_away_until - self.now_ms).unwrap_or(0))
    }

    pub(super) const fn participants_are_away(&self) -> bool {
        self.now_ms < self.participants_away_until
    }

    /// A participant can make nothing of a command, and leaves nothing behind.
    pub(super) fn refuse(&mut self, command: &CommandMessage) {
        let key = &command.key;
        let attempt = (key.saga_id, key.step.clone(), key.phase, command.attempt);
        // A verification of a resolution is noted as a failed attempt.
        self.failed.insert(attempt.clone());
        self.refused.insert(attempt);
        let outcome = Outcome::Refused { reason: "unreadable".to_owned() };
        self.bus.with(|store, now| store.replies.publish(reply(command, outcome), now));
    }

    /// The time until the next move: short while a participant has something to do.
    pub(super) fn pause(&mut self) -> Duration {
        let is_deaf = self.broker_is_away() || self.participants_are_away();
        let is_busy = !is_deaf && self.bus.with(|store, now| store.commands.ready(now, |_| true) > 0);
        let ms_max = if is_busy { BUSY_MS_MAX } else { IDLE_MS_MAX };
        Duration::from_millis(self.rng.u64(..ms_max))
    }
}
