//! The broker and the participants of a simulated installation.

use std::time::Duration;

use redress_core::decide::NotSent;
use redress_core::fault::FaultKind;
use redress_core::{CommandMessage, Outcome, Phase, Rejection};
use redress_testkit::participants::{Business, reply};
use redress_testkit::world::not_sent;

use super::mutants::Mutation;
use super::world::{ACK_WAIT, DELAY_MS_MAX, Weather, World, at};

impl World {
    /// Publishes a command, and returns it if the broker did not say that it has stored it. It may have, all the same.
    pub(super) fn publish(&mut self, command: &CommandMessage) -> Option<NotSent> {
        self.check_published(command);
        self.check_order(command);
        let is_refused = self.broker_is_away() || self.strikes(10, "publish refused");
        if !is_refused {
            self.bus.with(|store, now| store.commands.publish(command.clone(), now));
        }
        let is_answered = !is_refused && !self.strikes(6, "publish not answered");
        (!is_answered).then(|| not_sent(command))
    }

    /// A disruption of a delivery, in the words of every other test.
    pub(super) fn disruption(&mut self) -> Option<FaultKind> {
        if self.weather == Weather::Calm {
            return None;
        }
        let ms = self.rng.u64(..DELAY_MS_MAX);
        let disruptions = [
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
        let disruption = disruptions.into_iter().find_map(|(likelihood, kind)| {
            let strikes = draw < likelihood;
            draw = draw.saturating_sub(likelihood);
            strikes.then_some(kind)
        })?;
        self.count(disruption.word());
        Some(disruption)
    }

    /// A participant takes a command: commit, reply, acknowledge, and it may die in between.
    pub(super) fn participate(&mut self) {
        let now = at(self.now_ms);
        if self.broker_is_away() || self.participants_are_away() {
            return;
        }
        let draw = self.rng.usize(..);
        let taken = self.bus.with(|store, now| {
            let ready = store.commands.ready(now, |_| true);
            let nth = draw.checked_rem(ready)?;
            store.commands.take(nth, now, now + ACK_WAIT, |_| true)
        });
        let Some((token, command)) = taken else { return };
        if self.strikes(8, "refuse") {
            self.refuse(&command);
            return self.acknowledge(token);
        }
        let disruption = self.disruption();
        match &disruption {
            Some(FaultKind::CrashBeforeCommit) => return,
            Some(FaultKind::DropCommand) => return self.acknowledge(token),
            Some(FaultKind::Delay { ms }) => return self.give_back(token, *ms),
            Some(_) | None => {}
        }
        let business =
            if disruption == Some(FaultKind::Fail) { Business::Failed } else { self.business(&command) };
        let outcome = self.handle_in_order(&command, now, &business);
        self.note_questions(&command, &outcome);
        // A verification that leads to no outcome is noted as a failed attempt.
        if matches!(outcome, Outcome::Failed { .. } | Outcome::InDoubt { .. }) {
            let key = &command.key;
            self.failed.insert((key.saga_id, key.step.clone(), key.phase, command.attempt));
        }
        let arrival = match &disruption {
            Some(FaultKind::CrashAfterCommit) => return,
            Some(FaultKind::DropReply) => None,
            Some(FaultKind::DelayReply { ms }) => Some(Duration::from_millis(*ms)),
            Some(_) | None => Some(Duration::ZERO),
        };
        if let Some(delay) = arrival {
            self.bus.with(|store, now| store.replies.publish(reply(&command, outcome), now + delay));
        }
        match &disruption {
            Some(FaultKind::CrashAfterReply) => {}
            Some(FaultKind::Duplicate) => self.give_back(token, 0),
            Some(_) | None => self.acknowledge(token),
        }
    }

    fn acknowledge(&self, token: u64) {
        self.bus.with(|store, _| store.commands.acknowledge(token));
    }

    fn give_back(&self, token: u64, ms: u64) {
        self.bus.with(|store, now| store.commands.give_back(token, now + Duration::from_millis(ms)));
    }

    pub(super) fn business(&mut self, command: &CommandMessage) -> Business {
        if let Some(business) = self.later_business(command) {
            return business;
        }
        let refuses = (command.key.saga_id, command.key.step.clone());
        let says_no = command.key.phase == Phase::Action && self.refusing.contains(&refuses);
        if !says_no {
            return Business::Done;
        }
        if self.participants.would_run(command) {
            self.count("rejected");
            let retriable = command.key.step == *"confirm" || command.key.step == *"announce";
            // A retriable step that an operator has re-opened, and a participant that forgets, say yes the next time.
            if retriable || self.mutation == Some(Mutation::ForgetARejection) {
                self.refusing.remove(&refuses);
            }
        }
        Business::Rejected(Rejection::new("no", "no"))
    }
}
