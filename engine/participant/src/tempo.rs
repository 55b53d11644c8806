//! How long the handlers of a command take, and where its commands run: decided from measurements alone.
//!
//! Short commands share a batch and its transaction, since that is where the speed comes from. A handler that takes
//! long would hold up the others of its batch, and all that come after it; so its commands run beside the batches, each
//! in a transaction of its own. The engine finds out which is which:
//!
//! | tempo | its commands | becomes |
//! |---|---|---|
//! | unproven | one alone, as a probe; the others wait for it | short by the probe, or long as soon as it takes [`SHORT_MAX`] |
//! | short | share a batch | long by one call over [`HICCUP_MIN`], or by many over [`SHORT_MAX`] |
//! | long | beside the batches | short again once slow calls are rare |
//!
//! What is rare and what is often is told by a moving share of slow calls. The two limits for it lie far apart, so that
//! one stall of the machine costs a few dozen commands that run beside, while a handler that is slow one time in
//! twenty stays there.
//!
//! Commands that run beside each other may be slow only because they wait for each other, as on a row that all of them
//! need: in a batch they would be short. So a command whose calls take no longer than that explains is unproven again after
//! a while: those under way end, and one alone is the probe. The while is short at first, since the first probe may have met
//! a stall, and doubles as long as the command does not stay short.

use std::time::{Duration, Instant};

/// The longest call of a short handler: a few statements on a busy machine. Sixteen such calls in a batch hold up a
/// command behind them for a third of a second at worst.
pub(crate) const SHORT_MAX: Duration = Duration::from_millis(20);
/// A call in a shared batch that takes longer gives the lane back. Above [`SHORT_MAX`], lest a busy machine opens lanes; and
/// half of what a short command may wait behind a slow one.
pub(crate) const HICCUP_MIN: Duration = Duration::from_millis(50);
/// What each further command of a set may add to both limits: a set-oriented handler spends far less on one.
const PER_FURTHER_COMMAND: Duration = Duration::from_millis(1);
/// The weight of one call in the moving share of slow ones: it remembers some hundred calls.
const WEIGHT: f64 = 1.0 / 64.0;
/// The share of slow calls above which a short command becomes long: seven in short succession.
const OFTEN: f64 = 0.10;
/// The share of slow calls below which a long command becomes short: thirty short calls after a single stall.
const SELDOM: f64 = 0.01;
/// How long a command stays long at first that may be slow only because its calls wait for each other: some stalls of a
/// machine.
const PROVE_AGAIN_MIN: Duration = Duration::from_millis(200);
/// And at the longest. A probe costs it the time of one call, in which no other of its calls begins: a few per cent.
const PROVE_AGAIN_MAX: Duration = Duration::from_secs(10);
/// Once a command was short for so long, what was before says nothing more.
const STEADY_AFTER: Duration = Duration::from_secs(10);
/// The time for which waiting commands are held, rather than put back: longer than the pause of those put back, so that
/// there is always one when a place becomes free, and short, because another instance may have places free.
const HELD_FOR: Duration = Duration::from_secs(2);
/// The most commands of a kind that wait, however short they are: as many as a batch holds.
const WAITING_MAX: usize = 500;

/// Where the commands of a kind run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tempo {
    /// Not known: one alone, to find out.
    Unproven,
    /// In a shared batch.
    Short,
    /// Beside the batches.
    Long,
}

/// Where calls were measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measured {
    /// In a shared batch.
    Shared,
    /// As the probe of its kind.
    Probe,
    /// Beside the batches.
    Beside,
}

/// Calls of one handler that have ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Calls {
    fast: u32,
    slow: u32,
    hiccups: u32,
    longest: Duration,
}

impl Calls {
    /// One more call with so many commands.
    pub(crate) fn add(&mut self, took: Duration, commands: usize) {
        match took <= allowed(SHORT_MAX, commands) {
            true => self.fast += 1,
            false => self.slow += 1,
        }
        self.hiccups += u32::from(took > allowed(HICCUP_MIN, commands));
        self.longest = self.longest.max(took);
    }
}

/// The limit for one call with so many commands.
pub(crate) fn allowed(limit: Duration, commands: usize) -> Duration {
    let further = u32::try_from(commands.saturating_sub(1)).unwrap_or(u32::MAX);
    limit.saturating_add(PER_FURTHER_COMMAND.saturating_mul(further))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Unproven,
    Short { since: Instant },
    Long { since: Instant },
}

/// The measurements of one handler.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    stage: Stage,
    /// Moving; from 0 to 1.
    slow_share: f64,
    /// Lately.
    longest: Duration,
    /// How long it stays long before it is proven again.
    prove_again: Duration,
    /// The most calls beside each other.
    concurrency: u32,
}

impl Record {
    /// Of a handler that was never measured.
    pub(crate) fn new(concurrency: usize) -> Self {
        let concurrency = u32::try_from(concurrency).unwrap_or(u32::MAX);
        let (stage, longest, prove_again) = (Stage::Unproven, Duration::ZERO, PROVE_AGAIN_MIN);
        Self { stage, slow_share: 0.0, longest, prove_again, concurrency }
    }

    /// Where its commands run now.
    pub(crate) fn tempo(&self, now: Instant) -> Tempo {
        match self.stage {
            Stage::Unproven => Tempo::Unproven,
            Stage::Short { .. } => Tempo::Short,
            Stage::Long { since } if self.may_wait_for_itself() && now >= since + self.prove_again => {
                Tempo::Unproven
            }
            Stage::Long { .. } => Tempo::Long,
        }
    }

    /// Returns true if its calls take no longer than short ones do that wait for each other.
    fn may_wait_for_itself(&self) -> bool {
        self.longest <= SHORT_MAX.saturating_mul(self.concurrency)
    }

    /// A call takes longer than a short one does, and has not ended yet.
    pub(crate) fn runs_long(&mut self, so_far: Duration, now: Instant) {
        if self.stage == Stage::Unproven {
            self.slow_share = 1.0;
        }
        self.longest = self.longest.max(so_far);
        self.becomes_long(now);
    }

    /// These calls have ended.
    pub(crate) fn ended(&mut self, calls: Calls, measured: Measured, now: Instant) {
        let Calls { fast, slow, hiccups, longest } = calls;
        if fast + slow == 0 {
            return;
        }
        let kept = |calls: u32| (1.0 - WEIGHT).powi(i32::try_from(calls).unwrap_or(i32::MAX));
        self.slow_share = 1.0 - (1.0 - self.slow_share * kept(fast)) * kept(slow);
        self.longest = longest.max(self.longest.mul_f64(kept(fast + slow)));
        match (self.stage, measured) {
            // It was long from the moment on at which it had taken too long.
            (Stage::Long { since }, Measured::Probe) if slow > 0 && now <= since + longest => {}
            (_, Measured::Probe) if slow > 0 => {
                self.slow_share = 1.0;
                self.becomes_long(now);
            }
            (_, Measured::Probe) => {
                (self.slow_share, self.longest) = (0.0, longest);
                self.stage = Stage::Short { since: now };
            }
            (Stage::Short { .. }, Measured::Shared | Measured::Beside)
                if hiccups > 0 || self.slow_share > OFTEN =>
            {
                self.becomes_long(now);
            }
            (Stage::Long { .. }, Measured::Shared | Measured::Beside) if self.slow_share < SELDOM => {
                self.stage = Stage::Short { since: now };
            }
            (_, Measured::Shared | Measured::Beside) => {}
        }
    }

    fn becomes_long(&mut self, now: Instant) {
        self.prove_again = match self.stage {
            Stage::Unproven => PROVE_AGAIN_MIN,
            Stage::Short { since } if now >= since + STEADY_AFTER => PROVE_AGAIN_MIN,
            Stage::Short { .. } | Stage::Long { .. } => PROVE_AGAIN_MAX.min(self.prove_again * 2),
        };
        self.stage = Stage::Long { since: now };
    }

    /// The most commands of this kind that wait: as many as begin within [`HELD_FOR`], and at least one for each place.
    pub(crate) fn waiting_max(&self) -> usize {
        let begun =
            HELD_FOR.as_secs_f64() / self.longest.max(SHORT_MAX).as_secs_f64() * f64::from(self.concurrency);
        (begun as usize).min(WAITING_MAX).max(usize::try_from(self.concurrency).unwrap_or(WAITING_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn calls(took: &[u64]) -> Calls {
        let mut calls = Calls::default();
        took.iter().for_each(|&took| calls.add(ms(took), 1));
        calls
    }

    fn proven(took: u64, now: Instant) -> Record {
        let mut record = Record::new(16);
        record.ended(calls(&[took]), Measured::Probe, now);
        record
    }

    #[test]
    fn tempo_follows_the_calls() {
        use Measured::{Beside, Shared};
        let now = Instant::now();
        // The probe, then the calls behind it.
        let table: &[(u64, Measured, &[u64], Tempo)] = &[
            (2, Shared, &[], Tempo::Short),
            (20, Shared, &[], Tempo::Short),
            (21, Beside, &[], Tempo::Long),
            (2, Shared, &[3, 3, 30, 3], Tempo::Short),
            (2, Shared, &[3, 3, 60, 3], Tempo::Long),
            (2, Shared, &[30; 6], Tempo::Short),
            (2, Shared, &[30; 7], Tempo::Long),
            (3_000, Beside, &[2; 200], Tempo::Long),
            (3_000, Beside, &[2; 300], Tempo::Short),
        ];
        for (probe, measured, then, tempo) in table {
            let mut record = proven(*probe, now);
            record.ended(calls(then), *measured, now);
            assert_eq!(record.tempo(now), *tempo, "{probe} ms, then {then:?}");
        }
        assert_eq!(Record::new(16).tempo(now), Tempo::Unproven);
    }

    #[test]
    fn one_stall_costs_a_few_dozen_calls_and_a_handler_slow_one_time_in_twenty_stays_long() {
        let now = Instant::now();
        let mut record = proven(2, now);
        record.runs_long(ms(50), now);
        record.ended(calls(&[2, 2, 70]), Measured::Shared, now);
        let mut needed = 0;
        while record.tempo(now) == Tempo::Long {
            record.ended(calls(&[2]), Measured::Beside, now);
            needed += 1;
        }
        assert_eq!(needed, 29);
        let mut record = proven(3_000, now);
        for _ in 0..1_000 {
            record.ended(calls(&[2; 19]), Measured::Beside, now);
            record.ended(calls(&[3_000]), Measured::Beside, now);
            assert_eq!(record.tempo(now), Tempo::Long);
        }
    }

    #[test]
    fn probe_that_has_not_ended_is_long() {
        let (now, mut record) = (Instant::now(), Record::new(16));
        record.runs_long(SHORT_MAX, now);
        assert_eq!(record.tempo(now), Tempo::Long);
    }

    #[test]
    fn only_calls_that_may_wait_for_each_other_are_proven_again() {
        let now = Instant::now();
        let later = now + PROVE_AGAIN_MIN;
        // Sixteen calls of 20 ms, one after the other.
        for (took, tempo) in [(320, Tempo::Unproven), (321, Tempo::Long)] {
            let mut record = proven(100, now);
            record.ended(calls(&[took]), Measured::Beside, now);
            assert_eq!((record.tempo(now), record.tempo(later)), (Tempo::Long, tempo), "{took} ms");
        }
        let mut record = proven(100, now);
        record.ended(calls(&[2]), Measured::Probe, later);
        assert_eq!(record.tempo(later), Tempo::Short);
    }

    #[test]
    fn command_that_does_not_stay_short_is_proven_less_and_less_often() {
        let mut now = Instant::now();
        let mut record = proven(100, now);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            pauses.push(record.prove_again.as_millis());
            now += record.prove_again;
            assert_eq!(record.tempo(now), Tempo::Unproven);
            record.runs_long(ms(20), now);
            now += ms(80);
            record.ended(calls(&[100]), Measured::Probe, now);
        }
        assert_eq!(pauses, [200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]);
        for (short_for, pause) in [(STEADY_AFTER - ms(1), 10_000), (STEADY_AFTER, 200)] {
            record.ended(calls(&[2]), Measured::Probe, now);
            now += short_for;
            record.ended(calls(&[60]), Measured::Shared, now);
            assert_eq!(record.prove_again.as_millis(), pause);
        }
    }

    #[test]
    fn set_has_a_little_more_time_for_each_command() {
        let mut set = Calls::default();
        set.add(ms(500), 500);
        assert_eq!(set, Calls { fast: 1, slow: 0, hiccups: 0, longest: ms(500) });
        set.add(ms(60), 2);
        assert_eq!(set, Calls { fast: 1, slow: 1, hiccups: 1, longest: ms(500) });
    }

    #[test]
    fn as_many_wait_as_begin_soon() {
        let now = Instant::now();
        let waiting = [2, 100, 1_000, 3_000, 60_000].map(|took| proven(took, now).waiting_max());
        assert_eq!(waiting, [500, 320, 32, 16, 16]);
    }
}
