//! The explorer finds nothing, and without a rule of the protocol it finds what the rule is for.

use std::time::Duration;

use redress_core::definition::InDoubt;
use redress_core::state::ProgressKind;
use redress_testkit::fixtures::{branching, five_steps, on_approval, on_event, paying, unremembered};

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

/// A definition whose approval is asked for once more before it is given up.
fn approval() -> SagaDefinition {
    on_approval(1, 8, Duration::from_secs(300))
}

/// Each run ends with all effects, or with every effect compensated, whenever the answer comes and whoever gives it.
#[test]
fn awaiting_saga_survives_every_disruption() {
    let found = explore(&approval(), DisabledRule::Nothing, 1);
    println!("{} executions", found.executions);
    assert_eq!(found.shortest, None);
    assert!(found.executions > 5_000, "{} executions", found.executions);
}

/// Each run ends with all effects, or with every effect compensated, whatever becomes of the calls.
#[test]
fn calling_saga_survives_every_mix_of_three_disruptions() {
    for in_doubt in [InDoubt::Undo, InDoubt::Park] {
        let found = explore(&paying(2, 8, in_doubt), DisabledRule::Nothing, 3);
        println!("{in_doubt:?}: {} executions", found.executions);
        assert_eq!(found.shortest, None);
        assert!(found.executions > 10_000, "{} executions", found.executions);
    }
}

/// Each run ends with all effects, or with every effect compensated, whenever the events come, or never.
#[test]
fn waiting_saga_survives_every_mix_of_two_disruptions() {
    let found = explore(&waits(), DisabledRule::Nothing, 2);
    println!("{} executions", found.executions);
    assert_eq!(found.shortest, None);
    assert!(found.executions > 5_000, "{} executions", found.executions);
}

fn waits() -> SagaDefinition {
    on_event(1, 8, Duration::from_secs(60))
}

/// Each run ends with all effects, or with every effect compensated that has a compensation; nobody is asked what became of
/// a step that nobody remembers.
#[test]
fn saga_with_unremembered_steps_survives_every_mix_of_two_disruptions() {
    let found = explore(&unremembered(2, 8), DisabledRule::Nothing, 2);
    println!("{} executions", found.executions);
    assert_eq!(found.shortest, None);
    assert!(found.executions > 1_000, "{} executions", found.executions);
    let in_doubt = Transition { from: ProgressKind::Action, to: ProgressKind::InDoubt };
    assert!(found.transitions.contains(&in_doubt));
}

/// The moves that are left need more than disruptions. A step parks for a participant that has forgotten the command or
/// refuses it, or has failed as often as it may; it leaves that place for an operator or a late answer. A step that
/// stands or never happened turns out not to only if its participant says two things and an operator chooses one. An
/// action is fenced only if it cannot be sent at all, or by a participant that was not asked to. The random walks in
/// `redress-testkit` (`tests/walks`) make all of these.
#[test]
fn explorer_makes_every_move_of_a_step_that_disruptions_lead_to() {
    let mut made = explore(&five_steps(2, 8), DisabledRule::Nothing, 2).transitions;
    made.extend(explore(&branching(1, 8), DisabledRule::Nothing, 2).transitions);
    for in_doubt in [InDoubt::Undo, InDoubt::Park] {
        made.extend(explore(&paying(1, 8, in_doubt), DisabledRule::Nothing, 2).transitions);
    }
    made.extend(explore(&approval(), DisabledRule::Nothing, 1).transitions);
    made.extend(explore(&waits(), DisabledRule::Nothing, 1).transitions);
    made.extend(explore(&unremembered(2, 8), DisabledRule::Nothing, 2).transitions);
    let left = Transition::legal().filter(|legal| !made.contains(legal));
    let left: Vec<String> = left.map(|legal| legal.to_string()).collect();
    insta::assert_snapshot!(left.join("\n"), @r"
    action -> fenced
    action -> parked action
    compensation -> parked compensation
    succeeded -> fenced
    succeeded -> parked action
    rejected -> succeeded
    fenced -> succeeded
    parked action -> action
    parked action -> settlement
    parked action -> succeeded
    parked action -> rejected
    parked action -> fenced
    parked action -> parked action
    parked settlement -> rejected
    parked compensation -> compensation
    parked compensation -> compensated
    ");
    assert!(made.iter().all(|transition| transition.is_legal()));
}

fn broken(without: DisabledRule) -> String {
    broken_in(&five_steps(2, 8), without, 3)
}

fn broken_in(definition: &SagaDefinition, without: DisabledRule, disruptions_max: u32) -> String {
    let found = explore(definition, without, disruptions_max);
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

#[test]
fn explorer_shows_that_giving_up_must_close_the_question() {
    insta::assert_snapshot!(broken_in(&approval(), DisabledRule::GivingUp, 1), @r"
    create action 1: CarriedOut
    approve action 1: Accepted
    approve settlement 1: CarriedOut
    create compensation 1: CarriedOut
    approve action 1: the service answers once more, done
    compensated, and the effect of approve stands 1 times
    ");
}

#[test]
fn explorer_shows_that_the_first_answer_counts() {
    insta::assert_snapshot!(broken_in(&approval(), DisabledRule::FirstAnswer, 1), @r"
    create action 1: CarriedOut
    approve action 1: Accepted
    approve action 1: ServiceSaysNo
    create compensation 1: CarriedOut
    approve action 1: the service answers once more, done
    compensated, and the effect of approve stands 1 times
    ");
}

#[test]
fn explorer_shows_that_a_call_must_be_prepared() {
    let undo = paying(2, 8, InDoubt::Undo);
    insta::assert_snapshot!(broken_in(&undo, DisabledRule::Preparing, 2), @r"
    create action 1: CarriedOut
    pay action 1: CallNotAnswered
    pay action 2: Rejected
    create compensation 1: CarriedOut
    compensated, and the effect of pay stands 1 times
    ");
}

#[test]
fn explorer_shows_that_a_prepared_action_may_have_happened() {
    let undo = paying(2, 8, InDoubt::Undo);
    insta::assert_snapshot!(broken_in(&undo, DisabledRule::Inquiring, 2), @r"
    create action 1: CarriedOut
    pay action 1: CallNotAnswered
    pay action 2: RequestLost
    pay settlement 1: CarriedOut
    create compensation 1: CarriedOut
    compensated, and the effect of pay stands 1 times
    ");
}

#[test]
fn explorer_shows_that_a_call_under_way_must_be_waited_for() {
    let undo = paying(2, 8, InDoubt::Undo);
    insta::assert_snapshot!(broken_in(&undo, DisabledRule::Waiting, 2), @r"
    create action 1: CarriedOut
    pay action 1: CallNotAnswered
    pay action 2: CarriedOut
    ship action 1: Rejected
    pay compensation 1: CarriedOut
    create compensation 1: RequestLost
    create compensation 2: CarriedOut
    compensated, and the effect of pay stands 1 times
    ");
}

#[test]
fn explorer_shows_that_an_action_undone_in_doubt_is_never_called_again() {
    let undo = paying(1, 8, InDoubt::Undo);
    insta::assert_snapshot!(broken_in(&undo, DisabledRule::Renouncing, 3), @r"
    create action 1: CarriedOut
    pay action 1: StoredInSilence
    pay action 1: CallLost
    pay settlement 1: CarriedOut
    pay settlement 2: CarriedOut
    pay settlement 3: CarriedOut
    pay settlement 4: CarriedOut
    pay settlement 5: CarriedOut
    pay settlement 6: NotTold
    pay compensation 1: CarriedOut
    create compensation 1: CarriedOut
    pay action 1: arrives late, answered done
    compensated, and the effect of pay stands 1 times
    ");
}
