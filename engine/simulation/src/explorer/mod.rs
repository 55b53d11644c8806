//! Explores every mix of disruptions, and checks the saga at rest.
//!
//! Each command meets one fate (`fate`): it is carried out, its handler fails, it is lost, its reply is lost, it is delayed
//! until the saga rests, it comes twice, the coordinator crashes between its commit and the publishing, or the broker
//! does not say whether it has stored it, and has or has not. A command that is answered later is answered by its service
//! at any moment, before a redelivery and after it, while the saga goes on or goes back, or by a person; asked to give it
//! up, the service does or says that it cannot. A call to a third party may never arrive, or take effect without an answer,
//! and asked what became of it the third party tells or does not. An event from outside comes at any moment, before its step
//! and after its time, or never. The number of disruptions in one run is bounded so that
//! the search ends; within the bound it is complete.

mod fate;
mod run;
mod search;

use std::collections::BTreeSet;
use std::num::NonZero;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use redress_core::SagaDefinition;
use redress_core::state::Transition;
use redress_testkit::choices::Choices;
use redress_testkit::participants::DisabledRule;

use run::Run;
use search::Search;

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

impl Found {
    fn add(&mut self, mut other: Self) {
        self.executions += other.executions;
        self.violations += other.violations;
        self.transitions.append(&mut other.transitions);
        let is_shorter = |story: &Vec<String>| self.shortest.as_ref().is_none_or(|it| story.len() < it.len());
        if other.shortest.as_ref().is_some_and(is_shorter) {
            self.shortest = other.shortest;
        }
    }
}

/// Runs the saga through every mix of at most `disruptions_max` disruptions, on all cores: what happens first divides the
/// runs among the threads.
pub fn explore(definition: &SagaDefinition, without: DisabledRule, disruptions_max: u32) -> Found {
    let execute = |choices: &mut Choices| execute(definition, without, disruptions_max, choices);
    let mut first = Choices::default();
    let found = execute(&mut first);
    let Some(options) = first.first_options() else { return found };
    let parts: Vec<OnceLock<Found>> = (0..options).map(|_| OnceLock::new()).collect();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get).min(options) {
            scope.spawn(|| {
                loop {
                    let nth = next.fetch_add(1, Ordering::Relaxed);
                    let Some(part) = parts.get(nth) else { return };
                    part.get_or_init(|| explore_part(Choices::beginning_with(nth, options), execute));
                }
            });
        }
    });
    // In the order of the choices: the same search shows the same story.
    let mut found = Found::default();
    parts.into_iter().filter_map(OnceLock::into_inner).for_each(|part| found.add(part));
    found
}

fn explore_part(mut choices: Choices, execute: impl Fn(&mut Choices) -> Found) -> Found {
    let mut found = Found::default();
    loop {
        found.add(execute(&mut choices));
        if !choices.next() {
            return found;
        }
    }
}

/// One run.
fn execute(
    definition: &SagaDefinition,
    without: DisabledRule,
    disruptions_max: u32,
    choices: &mut Choices,
) -> Found {
    let mut search = Search::new(Run::begin(definition, without), disruptions_max);
    let verdict = search.go_on_to_rest(choices).and_then(|()| search.run.check());
    let Run { transitions, mut story, .. } = search.run;
    let broken = verdict.err().map(|wrong| {
        story.push(wrong);
        story
    });
    Found { executions: 1, violations: u64::from(broken.is_some()), shortest: broken, transitions }
}

#[cfg(test)]
mod tests;
