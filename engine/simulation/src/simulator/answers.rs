//! Services that answer later, and third parties that are called.
//!
//! A service answers at any time: before the command is asked for again and after it, when the saga has gone back or the
//! broker's store was wiped, twice, and after it was given up. Asked to give up, it may say that it cannot. A third party
//! may never hear of a call, or do what it is asked for without an answer; asked what became of a call it tells or does
//! not, until the weather is calm.

use redress_core::inbox::{GivenAnswer, Ruling};
use redress_core::{CommandMessage, IdempotencyKey, JsonText, Outcome, Phase, Rejection};
use redress_testkit::fixtures::{answers_later, calls};
use redress_testkit::participants::{Business, ThirdParty, reply};

use super::mutants::Mutation;
use super::world::{OpenCommand, World, at};

/// The latest time at which an answer comes, in milliseconds: beyond the time that a step waits for it, and beyond the memory
/// of the participants.
const LATER_MS_MAX: i64 = 240_000;

impl World {
    /// The business of a command that may be answered later, or calls a third party; `None` if it is not one of those.
    pub(super) fn later_business(&mut self, command: &CommandMessage) -> Option<Business> {
        let ruling = self.participants.ruling(command, at(self.now_ms));
        let runs = matches!(ruling, Ruling::Run | Ruling::UndoInDoubt { .. });
        if matches!(ruling, Ruling::GiveUp) {
            return Some(if self.rng.bool() { Business::Later } else { Business::Done });
        }
        if matches!(ruling, Ruling::Inquire { .. }) {
            self.be_told();
            return None;
        }
        if runs && answers_later(command) && self.rng.u8(..) < 224 {
            return Some(Business::Later);
        }
        (calls(command) && (runs || matches!(ruling, Ruling::Call { .. }))).then(|| self.called(command))
    }

    fn called(&mut self, command: &CommandMessage) -> Business {
        let is_action = command.key.phase == Phase::Action;
        let declines = is_action && self.refusing.contains(&(command.key.saga_id, command.key.step.clone()));
        if self.strikes(64, "call lost") {
            return Business::Called { done: false, answered: false };
        }
        let answered = !self.strikes(64, "call not answered");
        Business::Called { done: !declines, answered }
    }

    fn be_told(&mut self) {
        let is_silent = self.strikes(192, "not told");
        self.participants.set_third_party(if is_silent { ThirdParty::Silent } else { ThirdParty::Tells });
    }

    /// Keeps account of what became of a command: a question is opened, or answered, or given up.
    pub(super) fn note_questions(&mut self, command: &CommandMessage, outcome: &Outcome) {
        let action = command.key.of_action();
        match (command.key.phase, outcome) {
            (Phase::Settlement, Outcome::Accepted) => self.count("kept"),
            (Phase::Settlement, Outcome::InDoubt { .. }) => self.count("in doubt"),
            (Phase::Settlement, Outcome::Fenced) if self.open.remove(&action) => self.count("given up"),
            (Phase::Settlement, Outcome::Done { .. } | Outcome::Rejected(_)) if self.open.remove(&action) => {
                self.count("answered by a person");
            }
            (Phase::Action | Phase::Compensation, Outcome::Accepted) => self.open_question(command),
            (Phase::Action | Phase::Compensation | Phase::Settlement, _) => {}
        }
    }

    fn open_question(&mut self, command: &CommandMessage) {
        let is_known = self.questions.iter().any(|question| question.command.key == command.key);
        if is_known || self.open.contains(&command.key) {
            return;
        }
        self.count("answer to come");
        self.open.insert(command.key.clone());
        let due_ms = self.now_ms + self.rng.i64(0..LATER_MS_MAX);
        self.questions.push(OpenCommand { command: command.clone(), due_ms });
    }

    /// Services give the answers whose time has come.
    pub(super) fn answer_later(&mut self) {
        if self.participants_are_away() {
            return;
        }
        let now_ms = self.now_ms;
        let due: Vec<OpenCommand> =
            self.questions.extract_if(.., |question| question.due_ms <= now_ms).collect();
        for question in due {
            self.give_answer(&question.command);
            // It may be given once more, and then perhaps another one.
            if self.strikes(64, "answered twice") {
                let due_ms = now_ms + self.rng.i64(0..LATER_MS_MAX);
                self.questions.push(OpenCommand { due_ms, ..question });
            }
        }
    }

    fn give_answer(&mut self, command: &CommandMessage) {
        let key = &command.key;
        let says_no = key.phase == Phase::Action && self.rng.u8(..) < 64;
        let answer = match says_no {
            true => GivenAnswer::Rejected(Rejection::new("no", "no")),
            false => GivenAnswer::Done { reply: JsonText::null() },
        };
        if self.mutation == Some(Mutation::AnswerOutsideTheTransaction) && self.rng.bool() {
            return self.tell_uncommitted(command, answer);
        }
        match self.participants.answer(key, answer, at(self.now_ms)) {
            Some(outcome) => {
                self.open.remove(key);
                self.count("answered later");
                if !self.strikes(32, "answer lost") {
                    self.bus.with(|store, now| store.replies.publish(reply(command, outcome), now));
                }
            }
            None => self.check_closed(key),
        }
    }

    /// The planted bug: the answer is told, and the transaction that it speaks of rolls back.
    fn tell_uncommitted(&mut self, command: &CommandMessage, answer: GivenAnswer) {
        let outcome = match answer {
            GivenAnswer::Done { reply } => Outcome::Done { reply },
            GivenAnswer::Rejected(rejection) => Outcome::Rejected(rejection),
        };
        self.bus.with(|store, now| store.replies.publish(reply(command, outcome), now));
    }

    /// There is nothing to answer any more: only because it was answered, or given up.
    fn check_closed(&mut self, key: &IdempotencyKey) {
        self.count("answered in vain");
        if self.open.contains(key) {
            self.fail(Some(key.saga_id), format!("{key}: a question that was still open is forgotten"));
        }
    }
}
