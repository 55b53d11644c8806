//! Explores every mix of disruptions, and checks the saga at rest.
//!
//! Each command meets one fate: it is carried out, its handler fails, it is lost, its reply is lost, it is delayed
//! until the saga rests, it comes twice, the coordinator crashes between its commit and the publishing, or the broker
//! does not say whether it has stored it, and has or has not. The number of disruptions in one run is bounded so that
//! the search ends; within the bound it is complete.

mod run;

use std::collections::BTreeSet;

use redress_core::state::Transition;
use redress_core::{CommandMessage, Rejection, SagaDefinition};
use redress_testkit::choices::Choices;
use redress_testkit::participants::{Business, DisabledRule, failure};

use run::Run;

/// Moves after which a run that has not ended never will.
const MOVES_MAX: usize = 400;

/// The fate of a command. The first two are no disruptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    CarriedOut,
    Rejected,
    Failed,
    RequestLost,
    ReplyLost,
    Delayed,
    Twice,
    Crash,
    NotStored,
    StoredInSilence,
}

const DISRUPTIONS: [Fate; 8] = [
    Fate::Failed,
    Fate::RequestLost,
    Fate::ReplyLost,
    Fate::Delayed,
    Fate::Twice,
    Fate::Crash,
    Fate::NotStored,
    Fate::StoredInSilence,
];

/// The result of the search.
#[derive(Debug, Default)]
pub struct Found {
    /// Runs in all.
    pub executions: u64,
    /// Runs that broke what must hold.
    pub violations: u64,
    /// The shortest of them: what happened, and last what is wrong.
    pub shortest: Option<Vec<String>>,
    /// The moves that steps made.
    pub transitions: BTreeSet<Transition>,
}

/// Runs the saga through every mix of at most `disruptions_max` disruptions.
pub fn explore(definition: &SagaDefinition, without: DisabledRule, disruptions_max: u32) -> Found {
    let mut choices = Choices::default();
    let mut found = Found::default();
    loop {
        let mut search = Search {
            run: Run::begin(definition, without),
            delayed: Vec::new(),
            disruptions: disruptions_max,
        };
        let verdict = search.go_on_to_rest(&mut choices).and_then(|()| search.run.check());
        found.executions += 1;
        found.transitions.append(&mut search.run.transitions);
        if let Err(wrong) = verdict {
            found.violations += 1;
            let mut story = std::mem::take(&mut search.run.story);
            story.push(wrong);
            if found.shortest.as_ref().is_none_or(|shortest| story.len() < shortest.len()) {
                found.shortest = Some(story);
            }
        }
        if !choices.next() {
            return found;
        }
    }
}

/// The scheduler of one run: it chooses the fate of each command.
struct Search<'d> {
    run: Run<'d>,
    delayed: Vec<CommandMessage>,
    /// Disruptions that are left.
    disruptions: u32,
}

impl Search<'_> {
    fn go_on_to_rest(&mut self, choices: &mut Choices) -> Result<(), String> {
        for _ in 0..MOVES_MAX {
            if self.run.rests() {
                self.deliver_the_delayed();
                return Ok(());
            }
            if self.run.wire.is_empty() {
                self.run.wait();
            } else {
                let command = self.run.wire.remove(0);
                let fate = self.fate(&command, choices);
                self.meet(&command, fate);
            }
        }
        Err("it never ends".to_owned())
    }

    fn fate(&mut self, command: &CommandMessage, choices: &mut Choices) -> Fate {
        let world = &self.run.world;
        let may_reject = world.would_run(command)
            && world
                .definition()
                .step(&command.key.step)
                .is_some_and(|(_, s)| s.kind.as_str() != "retriable");
        let mut fates = vec![Fate::CarriedOut];
        if may_reject {
            fates.push(Fate::Rejected);
        }
        if self.disruptions > 0 {
            fates.extend(DISRUPTIONS);
        }
        let fate = fates[choices.pick(fates.len())];
        if DISRUPTIONS.contains(&fate) {
            self.disruptions -= 1;
        }
        self.run.tell(command, &format!("{fate:?}"));
        fate
    }

    fn meet(&mut self, command: &CommandMessage, fate: Fate) {
        match fate {
            Fate::CarriedOut => self.answer(command, &Business::Done),
            Fate::Rejected => self.answer(command, &Business::Rejected(Rejection::new("no", "no"))),
            Fate::Failed => self.run.hear(failure(command)),
            Fate::RequestLost => {}
            Fate::ReplyLost => drop(self.run.world.deliver(command, &Business::Done)),
            Fate::Delayed => self.delayed.push(command.clone()),
            Fate::Twice => {
                for _ in 0..2 {
                    self.answer(command, &Business::Done);
                }
            }
            // The command was never published; what the coordinator had not acknowledged comes again.
            Fate::Crash => self.run.hear_again(),
            Fate::NotStored => self.run.not_stored(command),
            Fate::StoredInSilence => {
                self.run.not_stored(command);
                self.delayed.push(command.clone());
            }
        }
    }

    fn answer(&mut self, command: &CommandMessage, business: &Business) {
        let reply = self.run.world.deliver(command, business);
        self.run.hear(reply);
    }

    /// The delayed commands arrive at last, and are answered.
    fn deliver_the_delayed(&mut self) {
        let rest = std::mem::take(&mut self.run.wire);
        for command in self.delayed.drain(..).chain(rest) {
            let reply = self.run.world.deliver(&command, &Business::Done);
            self.run.tell(&command, &format!("arrives late, answered {}", reply.outcome.as_str()));
            self.run.hear(reply);
        }
    }
}

#[cfg(test)]
mod tests {
    use redress_testkit::fixtures::{branching, five_steps};

    use super::*;

    /// Each run ends with all effects, or with every effect compensated.
    #[test]
    fn sequential_saga_survives_every_mix_of_four_disruptions() {
        let found = explore(&five_steps(2, 8), DisabledRule::Nothing, 4);
        assert_eq!(found.shortest, None);
        println!("{} executions", found.executions);
        assert!(found.executions > 100_000, "{} executions", found.executions);
    }

    /// Each run ends with all effects, or with every effect compensated.
    #[test]
    fn branching_saga_survives_every_mix_of_three_disruptions() {
        let found = explore(&branching(1, 8), DisabledRule::Nothing, 3);
        assert_eq!(found.shortest, None);
        println!("{} executions", found.executions);
        assert!(found.executions > 10_000, "{} executions", found.executions);
    }

    /// The moves that are left need more than disruptions. A step parks for a participant that has forgotten the command or
    /// refuses it, or has failed as often as it may; it leaves that place for an operator or a late answer. A step that
    /// stands or never happened turns out not to only if its participant says two things and an operator chooses one. An
    /// action is fenced only if it cannot be sent at all, or by a participant that was not asked to. A step is in doubt only
    /// if its participant calls somebody who does not tell. The random walks in `redress-testkit` (`tests/walks`) make all
    /// of these.
    #[test]
    fn explorer_makes_every_move_of_a_step_that_disruptions_lead_to() {
        let mut made = explore(&five_steps(2, 8), DisabledRule::Nothing, 2).transitions;
        made.extend(explore(&branching(1, 8), DisabledRule::Nothing, 2).transitions);
        let left = Transition::legal().filter(|legal| !made.contains(legal));
        let left: Vec<String> = left.map(|legal| legal.to_string()).collect();
        insta::assert_snapshot!(left.join("\n"), @r"
        action -> fenced
        action -> parked action
        settlement -> in doubt
        settlement -> parked settlement
        compensation -> parked compensation
        succeeded -> fenced
        succeeded -> parked action
        rejected -> succeeded
        fenced -> succeeded
        in doubt -> compensation
        parked action -> action
        parked action -> settlement
        parked action -> succeeded
        parked action -> rejected
        parked action -> fenced
        parked action -> parked action
        parked settlement -> settlement
        parked settlement -> succeeded
        parked settlement -> rejected
        parked settlement -> fenced
        parked compensation -> compensation
        parked compensation -> compensated
        ");
        assert!(made.iter().all(|transition| transition.is_legal()));
    }

    fn broken(without: DisabledRule) -> String {
        let found = explore(&five_steps(2, 8), without, 3);
        println!("{without:?}: {} of {} executions", found.violations, found.executions);
        found.shortest.expect("without the rule something goes wrong").join("\n")
    }

    #[test]
    fn explorer_shows_that_a_silent_pivot_must_be_settled() {
        insta::assert_snapshot!(broken(DisabledRule::SettlingThePivot), @r"
        create action 1: CarriedOut
        charge action 1: CarriedOut
        reserve action 1: CarriedOut
        ship action 1: Failed
        ship action 2: ReplyLost
        ship: silence taken for a refusal
        reserve compensation 1: CarriedOut
        charge compensation 1: CarriedOut
        create compensation 1: CarriedOut
        compensated, and the effect of ship stands 1 times
        ");
    }

    #[test]
    fn explorer_shows_that_fences_are_needed() {
        insta::assert_snapshot!(broken(DisabledRule::Fences), @r"
        create action 1: Failed
        create action 2: Delayed
        create settlement 1: CarriedOut
        create action 2: arrives late, answered done
        compensated, and the effect of create stands 1 times
        ");
    }

    #[test]
    fn explorer_shows_that_remembered_answers_are_needed() {
        insta::assert_snapshot!(broken(DisabledRule::Memory), @r"
        create action 1: ReplyLost
        create action 2: Rejected
        compensated, and the effect of create stands 1 times
        ");
    }
}
