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

/// Runs the saga through every mix of at most `disruptions_max` disruptions.
pub fn explore(definition: &SagaDefinition, without: DisabledRule, disruptions_max: u32) -> Found {
    let mut choices = Choices::default();
    let mut found = Found::default();
    loop {
        let mut search = Search::new(Run::begin(definition, without), disruptions_max);
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

#[cfg(test)]
mod tests;
