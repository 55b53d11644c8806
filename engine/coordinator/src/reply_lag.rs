//! How far the replies that this coordinator takes lie behind.
//!
//! A command is timed out because its answer has not come. But where replies come faster than they are decided on, after a
//! long outage or in a rush, the answer may have lain at the broker for as long as the command's time was; sent once more,
//! the command brings one answer more, and the replies fall behind further: a storm in which nearly all work is for
//! nothing, and which does not end when the rush does. So the timers look at the sagas as of the time up to which the
//! replies were taken. That is the broker's time of the newest one that was taken, if others waited behind it; the broker says
//! both with each message.
//!
//! - Where the replies are not behind, nothing changes. They are not if none waited behind the newest one, or none has come
//!   for [`CAUGHT_UP_AFTER`].
//! - Replies that come once more say nothing: they are old, and others may be newer.
//! - The times are the broker's, and the timers' are the journal's. Clocks that disagree make the timers later by as much,
//!   in a rush alone; never by more than [`BEHIND_MAX`], whatever the clocks say.
//! - A saga whose reply is lost waits by so much longer. Silence was never a proof.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use redress_core::{Name, Timestamp};

use crate::ports::Lag;

/// A smaller lag is none: replies wait for their batch, and clocks agree nearly.
const BEHIND_MIN: Duration = Duration::from_secs(1);
/// The timers are never later than this because of the replies.
const BEHIND_MAX: Duration = Duration::from_secs(60);
/// How long a wait for replies without any shows that there are none: longer than the broker takes to hand out those that
/// it has.
const CAUGHT_UP_AFTER: Duration = Duration::from_secs(1);

/// The lag of the replies, definition by definition.
#[derive(Debug, Default)]
pub(crate) struct ReplyLag(Mutex<BTreeMap<(Name, u32), Progress>>);

/// How far the replies to the sagas of one definition were taken.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// When the newest that was taken was published, if others waited behind it.
    newest: Option<Timestamp>,
    /// Since when, by the monotonic clock, replies have been waited for in vain.
    waits_since: Option<Duration>,
}

impl Progress {
    /// How far the replies are behind, at a moment of the journal's clock and of the monotonic one.
    fn behind(self, now: Timestamp, monotonic: Duration) -> Duration {
        let waits_for = self.waits_since.map_or(Duration::ZERO, |since| monotonic.saturating_sub(since));
        if waits_for >= CAUGHT_UP_AFTER {
            return Duration::ZERO;
        }
        let age = self.newest.and_then(|newest| (now - newest).to_std().ok()).unwrap_or_default();
        if age < BEHIND_MIN { Duration::ZERO } else { age.min(BEHIND_MAX) }
    }
}

impl ReplyLag {
    /// Replies to the sagas of this definition are waited for from now on.
    pub(crate) fn waits(&self, saga: &Name, version: u32, monotonic: Duration) {
        self.progress().entry((saga.clone(), version)).or_default().waits_since = Some(monotonic);
    }

    /// Some were taken, that tell this of those that wait, the last one last.
    pub(crate) fn took(&self, saga: &Name, version: u32, told: impl DoubleEndedIterator<Item = Lag>) {
        let mut progress = self.progress();
        let progress = progress.entry((saga.clone(), version)).or_default();
        progress.waits_since = None;
        match told.rev().find(|lag| *lag != Lag::Unknown) {
            Some(Lag::Behind { published_at }) => progress.newest = Some(published_at),
            Some(Lag::CaughtUp) => progress.newest = None,
            Some(Lag::Unknown) | None => {}
        }
    }

    /// How far the replies to the sagas of this definition are behind.
    pub(crate) fn behind(&self, saga: &Name, version: u32, now: Timestamp, monotonic: Duration) -> Duration {
        let progress = self.progress().get(&(saga.clone(), version)).copied();
        progress.unwrap_or_default().behind(now, monotonic)
    }

    fn progress(&self) -> MutexGuard<'_, BTreeMap<(Name, u32), Progress>> {
        self.0.lock().expect("no thread panics while it holds the progress")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_timestamp(1_800_000_000 + seconds, 0).expect("a moment of this century")
    }

    #[test]
    fn timers_are_as_late_as_the_replies_are() {
        let (lag, saga) = (ReplyLag::default(), Name::new("place-order").unwrap());
        let took = |told: Lag| lag.took(&saga, 1, [told].into_iter());
        let behind = |now: i64, monotonic: u32| lag.behind(&saga, 1, at(now), SECOND * monotonic).as_secs();
        assert_eq!(behind(100, 0), 0, "nothing was taken yet");
        lag.waits(&saga, 1, Duration::ZERO);
        took(Lag::Behind { published_at: at(70) });
        assert_eq!(behind(100, 0), 30);
        assert_eq!(lag.behind(&saga, 2, at(100), Duration::ZERO), Duration::ZERO, "of another version");
        took(Lag::Unknown);
        assert_eq!(behind(101, 1), 31, "redelivered ones say nothing");
        assert_eq!(behind(1_000, 1), BEHIND_MAX.as_secs(), "whatever the clocks say");
        assert_eq!(behind(60, 1), 0, "the broker's clock is ahead");
        took(Lag::Behind { published_at: at(100) });
        assert_eq!(
            lag.behind(&saga, 1, at(100) + SECOND / 2, SECOND),
            Duration::ZERO,
            "as fast as they come"
        );
        assert_eq!(behind(130, 1), 30);
        took(Lag::CaughtUp);
        assert_eq!(behind(200, 1), 0, "none waited behind it, whatever the clocks say");
    }

    #[test]
    fn wait_without_a_reply_shows_that_there_is_none() {
        let (lag, saga) = (ReplyLag::default(), Name::new("place-order").unwrap());
        lag.took(&saga, 1, [Lag::Behind { published_at: at(0) }].into_iter());
        lag.waits(&saga, 1, SECOND * 40);
        let behind = |monotonic: Duration| lag.behind(&saga, 1, at(40), monotonic);
        assert_eq!(behind(SECOND * 40 + SECOND / 2), SECOND * 40, "some may be on their way to us");
        assert_eq!(behind(SECOND * 41), Duration::ZERO);
    }
}
