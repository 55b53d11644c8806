//! Every mix of mishaps, and what must hold at rest.
//!
//! Each command meets one fate: it is carried out, its handler fails, it is lost, its reply is lost, it is delayed until
//! the saga rests, it comes twice, or the coordinator crashes between its commit and the publishing. The number of
//! mishaps in one run is bounded so that the search ends; within the bound it is complete.

use redress_core::{CommandMessage, SagaDefinition};

use crate::check;
use crate::exhaust::Choices;
use crate::participants::Without;
use crate::world::World;

/// Moves after which a run that has not ended never will.
const MOVES_MAX: usize = 400;

/// What becomes of a command. The first two are no mishaps.
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
}

const MISHAPS: [Fate; 6] =
    [Fate::Failed, Fate::RequestLost, Fate::ReplyLost, Fate::Delayed, Fate::Twice, Fate::Crash];

/// What the search found.
#[derive(Debug, Default)]
pub struct Found {
    /// Runs in all.
    pub executions: u64,
    /// Runs that broke what must hold.
    pub violations: u64,
    /// The shortest of them: what happened, and last what is wrong.
    pub shortest: Option<Vec<String>>,
}

/// Runs the saga through every mix of at most `mishaps_max` mishaps.
pub fn explore(definition: &SagaDefinition, without: Without, mishaps_max: u32) -> Found {
    let mut choices = Choices::default();
    let mut found = Found::default();
    loop {
        let mut run =
            Run { world: World::begin(definition, without), delayed: Vec::new(), mishaps: mishaps_max };
        let verdict = run.go_on_to_rest(&mut choices).and_then(|()| run.check());
        found.executions += 1;
        if let Err(wrong) = verdict {
            found.violations += 1;
            let mut story = std::mem::take(&mut run.world.story);
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

struct Run<'d> {
    world: World<'d>,
    delayed: Vec<CommandMessage>,
    mishaps: u32,
}

impl Run<'_> {
    fn go_on_to_rest(&mut self, choices: &mut Choices) -> Result<(), String> {
        for _ in 0..MOVES_MAX {
            if self.rests() {
                self.deliver_the_delayed();
                return Ok(());
            }
            if self.world.wire.is_empty() {
                self.world.wait();
            } else {
                let command = self.world.wire.remove(0);
                let fate = self.fate(&command, choices);
                self.meet(&command, fate);
            }
        }
        Err("it never ends".to_owned())
    }

    fn rests(&self) -> bool {
        self.world.state.is_ended() || self.world.state.parked().is_some()
    }

    fn fate(&mut self, command: &CommandMessage, choices: &mut Choices) -> Fate {
        let may_reject = self.world.would_run(command)
            && self
                .world
                .definition()
                .step(&command.key.step)
                .is_some_and(|(_, s)| s.kind.as_str() != "retriable");
        let mut fates = vec![Fate::CarriedOut];
        if may_reject {
            fates.push(Fate::Rejected);
        }
        if self.mishaps > 0 {
            fates.extend(MISHAPS);
        }
        let fate = fates[choices.pick(fates.len())];
        if MISHAPS.contains(&fate) {
            self.mishaps -= 1;
        }
        self.world
            .story
            .push(format!("{} {} {}: {fate:?}", command.key.step, command.key.phase, command.attempt));
        fate
    }

    fn meet(&mut self, command: &CommandMessage, fate: Fate) {
        match fate {
            Fate::CarriedOut => {
                let reply = self.world.deliver(command, false);
                self.world.hear(reply);
            }
            Fate::Rejected => {
                let reply = self.world.deliver(command, true);
                self.world.hear(reply);
            }
            Fate::Failed => {
                let reply = self.world.deliver_in_vain(command);
                self.world.hear(reply);
            }
            Fate::RequestLost => {}
            Fate::ReplyLost => drop(self.world.deliver(command, false)),
            Fate::Delayed => self.delayed.push(command.clone()),
            Fate::Twice => {
                for _ in 0..2 {
                    let reply = self.world.deliver(command, false);
                    self.world.hear(reply);
                }
            }
            // The command was never published; what the coordinator had not acknowledged comes again.
            Fate::Crash => self.world.hear_again(),
        }
    }

    /// What was delayed arrives at last, and is answered.
    fn deliver_the_delayed(&mut self) {
        let rest = std::mem::take(&mut self.world.wire);
        for command in self.delayed.drain(..).chain(rest).collect::<Vec<_>>() {
            let reply = self.world.deliver(&command, false);
            self.world.story.push(format!(
                "{} {} {}: arrives late, answered {}",
                command.key.step,
                command.key.phase,
                command.attempt,
                reply.outcome.as_str()
            ));
            self.world.hear(reply);
        }
    }

    fn check(&self) -> Result<(), String> {
        let (definition, world) = (self.world.definition(), &self.world);
        if let Some(wrong) = world.wrong() {
            return Err(wrong.to_owned());
        }
        check::effects(definition, &world.state, |step| world.effect(step))?;
        check::history(definition, &world.history)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::specimen::{branching, five_steps};

    #[test]
    fn every_mix_of_four_mishaps_ends_with_all_or_amends() {
        let found = explore(&five_steps(2, 8), Without::Nothing, 4);
        assert_eq!(found.shortest, None);
        println!("{} executions", found.executions);
        assert!(found.executions > 100_000, "{} executions", found.executions);
    }

    #[test]
    fn steps_side_by_side_end_with_all_or_amends_too() {
        let found = explore(&branching(1, 8), Without::Nothing, 3);
        assert_eq!(found.shortest, None);
        println!("{} executions", found.executions);
        assert!(found.executions > 10_000, "{} executions", found.executions);
    }

    fn broken(without: Without) -> String {
        let found = explore(&five_steps(2, 8), without, 3);
        println!("{without:?}: {} of {} executions", found.violations, found.executions);
        found.shortest.expect("without the rule something goes wrong").join("\n")
    }

    #[test]
    fn silence_at_the_pivot_is_no_refusal() {
        insta::assert_snapshot!(broken(Without::SettlingThePivot), @r"
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
    fn what_never_happened_must_leave_a_fence() {
        insta::assert_snapshot!(broken(Without::Fences), @r"
        create action 1: Failed
        create action 2: Delayed
        create settlement 1: CarriedOut
        create action 2: arrives late, answered done
        compensated, and the effect of create stands 1 times
        ");
    }

    #[test]
    fn the_same_key_must_get_the_same_answer() {
        insta::assert_snapshot!(broken(Without::Memory), @r"
        create action 1: ReplyLost
        create action 2: Rejected
        compensated, and the effect of create stands 1 times
        ");
    }
}
