//! The record of a run: the accepted orders, the poison that was thrown, and the violations.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::plan::Kind;
use super::support::orders::Order;

/// How many of the newest orders disruptions choose among.
const RECENT_MAX: usize = 2_000;
/// How many violations are kept: the first ones say it all.
const VIOLATIONS_MAX: usize = 100;

/// The ends that an order may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// It ends as it must.
    AsOrdered,
    /// A cancel was asked for: it may have come in time.
    MayTurnBack,
}

/// An accepted order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) order: Order,
    pub(crate) leave: Leave,
}

/// Poison that was thrown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Thrown {
    /// When it was thrown last.
    pub(crate) at: Instant,
    /// How often it was thrown: a copy whose fate is unknown may arrive as well as the one after it.
    pub(crate) times: u32,
    /// How often the broker had died before the last throw: a message that it lost since has no letter.
    pub(crate) broker_deaths: u32,
    /// True if the broker said that it has stored it.
    pub(crate) stored: bool,
}

/// How often a kind was played, and the proofs that it happened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) played: u64,
    pub(crate) proofs: u64,
}

/// Everything that is noted.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) orders: HashMap<Uuid, Entry>,
    recent: VecDeque<Uuid>,
    pub(crate) poison: HashMap<Uuid, Thrown>,
    pub(crate) broker_deaths: u32,
    /// When the broker was back after its last death.
    pub(crate) broker_is_back: Option<DateTime<Utc>>,
    pub(crate) tallies: BTreeMap<Kind, Tally>,
    /// The moments because of which messages may come once more: ends of disruptions, and broken header blocks.
    pub(crate) redeliveries: Vec<Instant>,
    /// How processes ended, by role and manner.
    pub(crate) exits: BTreeMap<(String, String), u32>,
    /// Answers to starts, by status; 0 is none.
    pub(crate) answers: BTreeMap<u16, u64>,
    /// Orders that the load could not place at their time, because too many were still waiting for an answer.
    pub(crate) left_out: u64,
    pub(crate) violations: Vec<String>,
}

/// The notes of a run, shared by all of its parts.
#[derive(Debug, Default)]
pub(crate) struct Book(Mutex<Notes>);

impl Book {
    /// The notes.
    pub(crate) fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().expect("nobody panics while holding the notes")
    }

    /// An order was accepted as this saga.
    pub(crate) fn accepted(&self, saga: Uuid, entry: Entry) {
        let mut notes = self.notes();
        if notes.orders.insert(saga, entry).is_none() {
            notes.recent.push_back(saga);
            if notes.recent.len() > RECENT_MAX {
                notes.recent.pop_front();
            }
        }
    }

    /// Orders among the newest, drawn by chance; newer ones more often, as they are still under way.
    pub(crate) fn draw(&self, chance: &mut fastrand::Rng, count: usize) -> Vec<Uuid> {
        let notes = self.notes();
        let known = notes.recent.len();
        (0..count.min(known))
            .map(|_| {
                let back = (known as f64 * chance.f64().powi(4)) as usize;
                notes.recent[known - 1 - back.min(known - 1)]
            })
            .collect()
    }

    /// A cancel of this order will be asked for.
    pub(crate) fn may_turn_back(&self, saga: Uuid) {
        if let Some(entry) = self.notes().orders.get_mut(&saga) {
            entry.leave = Leave::MayTurnBack;
        }
    }

    /// Notes a violation.
    pub(crate) fn violation(&self, what: impl Into<String>) {
        let (what, mut notes) = (what.into(), self.notes());
        if notes.violations.len() < VIOLATIONS_MAX {
            eprintln!("violation: {what}");
            notes.violations.push(what);
        }
    }

    /// A disruption was played, with so much to show for it.
    pub(crate) fn played(&self, kind: Kind, proofs: u64) {
        let mut notes = self.notes();
        let tally = notes.tallies.entry(kind).or_default();
        tally.played += 1;
        tally.proofs += proofs;
        if redelivers(kind) {
            notes.redeliveries.push(Instant::now());
        }
    }

    /// Notes that the broker died: its content may be gone.
    pub(crate) fn broker_died(&self) {
        self.notes().broker_deaths += 1;
    }

    /// Notes that the broker is back after a death.
    pub(crate) fn broker_is_back(&self) {
        self.notes().broker_is_back = Some(Utc::now());
    }

    /// Poison with this mark is about to be thrown.
    pub(crate) fn throws(&self, mark: Uuid) {
        let mut notes = self.notes();
        let times = notes.poison.get(&mark).map_or(1, |before| before.times + 1);
        let thrown = Thrown { at: Instant::now(), times, broker_deaths: notes.broker_deaths, stored: false };
        notes.poison.insert(mark, thrown);
    }

    /// Poison with this mark is about to be thrown, and the client that receives it will end: the messages that it has
    /// in hand come once more.
    pub(crate) fn throws_broken(&self, mark: Uuid) {
        self.throws(mark);
        self.notes().redeliveries.push(Instant::now());
    }

    /// The broker has said that it stored the poison with this mark.
    pub(crate) fn stored(&self, mark: Uuid) {
        if let Some(thrown) = self.notes().poison.get_mut(&mark) {
            thrown.stored = true;
        }
    }

    /// The broker has refused the poison with this mark.
    pub(crate) fn refused(&self, mark: Uuid) {
        self.notes().poison.remove(&mark);
    }
}

/// Returns true if a message may come once more because of it: an acknowledgement is lost, or the message is copied.
const fn redelivers(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::KillCoordinator
            | Kind::FreezeCoordinator
            | Kind::KillService
            | Kind::FreezeService
            | Kind::RestartBroker
            | Kind::WipeBroker
            | Kind::BrokerAway
            | Kind::RestartDatabase
            | Kind::EndSessions
            | Kind::DropAnswer
            | Kind::DoubleMessages
            | Kind::InjectCrashes
    )
}
