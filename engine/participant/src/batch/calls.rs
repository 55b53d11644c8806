//! The part of a batch that concerns calls to third parties: it keeps what is asked, and until when a call for it may be
//! under way, so that all is known before anything is asked.
//!
//! Such a command has a batch of its own, beside the others: its call follows the commit at once, and no other command
//! waits for it.

use std::time::{Duration, Instant};

use redress_core::inbox::{Fingerprint, Record, Recorded};
use redress_core::{JsonText, Outcome, Phase, Timestamp};

use super::{Batch, Doubt};
use crate::call_dispatch::Decided;
use crate::config::count;
use crate::dispatch::{HandlerResult, truncate_message};
use crate::isolation::Isolation;
use crate::lease::{Lease, Next};
use crate::member::Verdict;
use crate::meter::{Call, Meter};
use crate::tx::Tx;
use crate::unit_error::UnitError;

/// The time that the commit before a call and the transaction after it may take: past it, another instance may call
/// again with the same key, and this one's answer is not kept.
const LEASE_MARGIN: Duration = Duration::from_secs(5);
/// The pauses of a command for whose action a call may be under way: not so short that it asks all the time, and not so
/// long that it misses by much that the call ends early, as it usually does.
const WAIT_MIN: Duration = Duration::from_millis(250);
const WAIT_MAX: Duration = Duration::from_secs(10);

impl<S: Send + Sync> Batch<'_, S> {
    /// Keeps what the third party is to be asked, or answers without a call.
    pub(super) async fn prepare(&mut self, place: usize, now: Timestamp) -> Result<(), UnitError> {
        if self.sets_apart(place) {
            return Ok(());
        }
        let command = &self.commands[place];
        let handler = self.handlers.of(command).expect("it was looked at before");
        let dispatch = handler.calls_out().expect("it was looked at before");
        let in_doubt = self.in_doubt.get(&place).map(|doubt| doubt.request.clone());
        let call = Call { key: command.key.clone(), payload: command.payload.clone(), in_doubt };
        let mut meter = Meter::new(handler.limits, None, &|_| {});
        let mut tx =
            Tx::new(self.savepoints.begin().await?, call.key.clone()).doubting(call.in_doubt.clone());
        let preparing = dispatch.prepare(self.service, &mut tx, &call.payload);
        let decided = match meter.call(std::slice::from_ref(&call), preparing).await? {
            Ok(decided) => decided,
            Err(error) => {
                let error = UnitError::of_handler(error)?;
                Decided::Ended(HandlerResult::Failed(truncate_message(&error.chain())))
            }
        };
        match &decided {
            Decided::Call(_) | Decided::Ended(HandlerResult::Done(_)) => self.savepoints.keep(),
            Decided::Ended(
                HandlerResult::Rejected(_)
                | HandlerResult::Failed(_)
                | HandlerResult::Unreadable(_)
                | HandlerResult::Later
                | HandlerResult::Fenced,
            ) => self.savepoints.take_back(),
        }
        match decided {
            Decided::Ended(result) => self.answered(place, result),
            Decided::Call(request) => {
                self.remember_doubt(place);
                self.begin_call(place, request, Next::Call, now);
            }
        }
        Ok(())
    }

    /// Takes up a call of which nobody knows what became.
    pub(super) fn call_again(&mut self, place: usize, request: JsonText, now: Timestamp) {
        if self.calls_out(place) {
            if !self.sets_apart(place) {
                self.begin_call(place, request, Next::InquireThenCall, now);
            }
            return;
        }
        count(&self.stats.failed);
        let message =
            "a third party was called for it, and this version of the service has no handler that calls";
        self.verdicts[place] = Some(Verdict::Answered(Outcome::Failed { message: message.to_owned() }));
    }

    /// Takes up the settlement of an action of which nobody knows whether it happened.
    pub(super) fn inquire(&mut self, place: usize, request: JsonText, now: Timestamp) {
        if self.calls_out(place) {
            if !self.sets_apart(place) {
                self.begin_call(place, request, Next::Inquire, now);
            }
            return;
        }
        count(&self.stats.in_doubt);
        let reason = "a third party was called for it, and this version of the service has no handler that can inquire";
        self.verdicts[place] = Some(Verdict::Answered(Outcome::InDoubt { reason: reason.to_owned() }));
    }

    /// It rests until the call that may be under way must have ended, or is looked at before.
    pub(super) fn wait_for_call(&mut self, place: usize, until: Timestamp, now: Timestamp) {
        let rest = (until - now).to_std().unwrap_or_default();
        self.verdicts[place] = Some(Verdict::Later(rest.clamp(WAIT_MIN, WAIT_MAX)));
    }

    /// The action that this command has undone, if nobody knows whether it happened, is never called for again.
    pub(super) fn remember_doubt(&mut self, place: usize) {
        if let Some(Doubt { record: (key, record), .. }) = self.in_doubt.remove(&place) {
            self.memory.remember(key.to_string(), record);
        }
    }

    pub(super) fn calls_out(&self, place: usize) -> bool {
        let handler = self.handlers.of(&self.commands[place]);
        handler.is_some_and(|handler| handler.calls_out().is_some())
    }

    /// Sets a command apart, unless this batch is its own.
    fn sets_apart(&mut self, place: usize) -> bool {
        let may_call = match self.isolation {
            Isolation::Shared(_) => false,
            Isolation::Probe(_) | Isolation::Beside | Isolation::Everything => self.commands.len() == 1,
        };
        if !may_call {
            self.left_keys.insert(self.commands[place].key.of_action().to_string());
            self.verdicts[place] = Some(Verdict::Apart);
        }
        !may_call
    }

    fn begin_call(&mut self, place: usize, request: JsonText, next: Next, now: Timestamp) {
        let command = &self.commands[place];
        let handler = self.handlers.of(command).expect("it was looked at before");
        if let Isolation::Probe(lane) = self.isolation {
            lane.stalls(self.commands);
        }
        let rest = handler.pacer.take(Instant::now());
        let calls = match next {
            Next::Call | Next::Inquire => 1,
            Next::InquireThenCall => 2,
        };
        let called_until = now + (self.begun.elapsed() + rest + handler.limits.call * calls + LEASE_MARGIN);
        let (key, fingerprint) = match command.key.phase {
            Phase::Action | Phase::Compensation => {
                (command.key.clone(), Some(Fingerprint::of(&command.command, &command.payload)))
            }
            // The row is the action's, and keeps its fingerprint.
            Phase::Settlement => (command.key.of_action(), None),
        };
        let recorded = Recorded::Prepared { request: request.clone(), called_until };
        self.memory.remember(key.to_string(), Record { fingerprint, recorded });
        self.verdicts[place] = Some(Verdict::Calls(Lease { key, request, called_until, next, rest }));
    }
}
