//! Bugs that are planted to see whether the simulator finds them.
//!
//! Each is a wrapper around the core, the journal or the bus, or a rule that the participants forget; production code has
//! no switch for it. Bugs in the order of what the coordinator does (publish before the commit, answer a waiter before it)
//! are edits of its sources (`.ci/mutants.list`).

mod orders;
mod unremembered;

use std::borrow::Cow;

use redress_coordinator::Decide;
use redress_core::decide::{Context, Decision, Effect, Event, EventVerdict, OperatorCommand, Verb, decide};
use redress_core::state::SagaState;
use redress_core::{JsonText, Outcome, Phase, Rejection};
use redress_testkit::participants::DisabledRule;

use super::mutated::{
    freeze_unsettled, freshen, frozen, impatient, rejuvenate, sharing, undo_forward, waiting_anew, with,
    without_pivot,
};

macro_rules! mutations {
    ($($(#[$doc:meta])* $variant:ident = $word:literal),+ $(,)?) => {
        /// A planted bug.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutation {
            $($(#[$doc])* $variant,)+
        }

        impl Mutation {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The function that decides with this bug in it, or the honest one.
            pub(super) fn decide(mutation: Option<Self>) -> Decide {
                match mutation {
                    None => decide,
                    $(Some(Self::$variant) => {
                        |ctx, state, event| decide_with(Self::$variant, ctx, state, event)
                    })+
                }
            }

            /// Its name on the command line.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }
    };
}

mutations! {
    /// An action that never happened leaves no fence.
    SkipTheFence = "skip-the-fence",
    /// A participant forgets that it said no.
    ForgetARejection = "forget-a-rejection",
    /// Compensations run in the order of the actions.
    UndoForward = "undo-forward",
    /// A `failed` of an older attempt counts for the one that is open.
    CountAStaleFailure = "count-a-stale-failure",
    /// A compensation lacks the attempts that its action has used up.
    ShareTheBudget = "share-the-budget",
    /// The plan is frozen while a step is still being settled.
    FreezeUnsettled = "freeze-unsettled",
    /// A command that is sent again says something else.
    ResendAnew = "resend-anew",
    /// Cancel wins though the pivot was sent.
    CancelAfterThePivot = "cancel-after-the-pivot",
    /// An answer to the command before an operator re-opened the step counts for the one that is pending.
    AcceptAStaleGeneration = "accept-a-stale-generation",
    /// A participant that has forgotten rules as if nothing had ever been: "nothing to undo".
    ForgetWithoutAWord = "forget-without-a-word",
    /// A participant's "I no longer know" is taken for "it never happened".
    TakeForgottenForNever = "take-forgotten-for-never",
    /// A command of which a participant can make nothing is taken for one to which it says no.
    TakeRefusedForNo = "take-refused-for-no",
    /// A reply is acknowledged when it is taken, before anything is decided.
    AcknowledgeBeforeCommit = "acknowledge-before-commit",
    /// A reply that comes with others is acknowledged and not decided on.
    LoseAReply = "lose-a-reply",
    /// A decision is written on a saga that has moved since it was read.
    DropTheRevisionGuard = "drop-the-revision-guard",
    /// The timers do not find a saga that has moved.
    ForgetDueAt = "forget-due-at",
    /// A key that was used before begins another saga.
    ClaimWithoutReading = "claim-without-reading",
    /// A saga is removed before it has ended.
    PruneAnOpenSaga = "prune-an-open-saga",
    /// An answer that comes later is told, and the transaction that it speaks of rolls back.
    AnswerOutsideTheTransaction = "answer-outside-the-transaction",
    /// A question is answered twice, and both answers count.
    CountTwoAnswers = "count-two-answers",
    /// An action is given up, and its question stays open.
    FenceAnOpenQuestion = "fence-an-open-question",
    /// A question that is still open is pruned like any other record.
    PruneAnOpenQuestion = "prune-an-open-question",
    /// A third party is called before anything is recorded.
    CallWithoutPreparing = "call-without-preparing",
    /// A settlement takes an action for which a third party was called for one that never happened.
    FenceAPreparedAction = "fence-a-prepared-action",
    /// A call that may be under way is not waited for.
    OvertakeACall = "overtake-a-call",
    /// An action that was undone in doubt is called for again.
    CallAgainAfterTheUndo = "call-again-after-the-undo",
    /// "The answer comes later" is taken for a failure.
    RetryTheAccepted = "retry-the-accepted",
    /// An answer that comes later is not waited for: the step is settled at once.
    SettleTheAccepted = "settle-the-accepted",
    /// A step that no participant remembers is settled.
    SettleTheUnremembered = "settle-the-unremembered",
    /// A step that no participant remembers, and that is not answered, is said never to have happened.
    TakeUnansweredForNever = "take-unanswered-for-never",
    /// A saga that waits in the order of a key goes on although another one stands before it.
    SendTheSecond = "send-the-second",
    /// A place in the order of a key is let go while its step is open.
    LetGoWhileOpen = "let-go-while-open",
    /// A timer that fires twice ends a wait twice.
    FireATimerTwice = "fire-a-timer-twice",
    /// An event that comes before its step is answered, and not kept.
    LoseAnEarlyEvent = "lose-an-early-event",
}

impl Mutation {
    /// Returns true if it shows only in sagas with steps that no participant remembers.
    pub(super) const fn is_about_the_unremembered(self) -> bool {
        matches!(self, Self::SettleTheUnremembered | Self::TakeUnansweredForNever)
    }

    /// Returns true if it shows only where steps are ordered by a key.
    pub(super) const fn is_of_orders(self) -> bool {
        matches!(self, Self::SendTheSecond | Self::LetGoWhileOpen)
    }

    /// The rule that the participants forget.
    pub(super) const fn without(mutation: Option<Self>) -> DisabledRule {
        match mutation {
            Some(Self::SkipTheFence) => DisabledRule::Fences,
            Some(Self::ForgetARejection) => DisabledRule::Rejections,
            Some(Self::ForgetWithoutAWord) => DisabledRule::Expiry,
            Some(Self::CountTwoAnswers) => DisabledRule::FirstAnswer,
            Some(Self::FenceAnOpenQuestion) => DisabledRule::GivingUp,
            Some(Self::PruneAnOpenQuestion) => DisabledRule::OpenRecords,
            Some(Self::CallWithoutPreparing) => DisabledRule::Preparing,
            Some(Self::FenceAPreparedAction) => DisabledRule::Inquiring,
            Some(Self::OvertakeACall) => DisabledRule::Waiting,
            Some(Self::CallAgainAfterTheUndo) => DisabledRule::Renouncing,
            Some(
                Self::UndoForward
                | Self::CountAStaleFailure
                | Self::ShareTheBudget
                | Self::FreezeUnsettled
                | Self::ResendAnew
                | Self::CancelAfterThePivot
                | Self::AcceptAStaleGeneration
                | Self::TakeForgottenForNever
                | Self::TakeRefusedForNo
                | Self::AcknowledgeBeforeCommit
                | Self::LoseAReply
                | Self::DropTheRevisionGuard
                | Self::ForgetDueAt
                | Self::ClaimWithoutReading
                | Self::PruneAnOpenSaga
                | Self::AnswerOutsideTheTransaction
                | Self::RetryTheAccepted
                | Self::SettleTheAccepted
                | Self::SettleTheUnremembered
                | Self::TakeUnansweredForNever
                | Self::SendTheSecond
                | Self::LetGoWhileOpen
                | Self::FireATimerTwice
                | Self::LoseAnEarlyEvent,
            )
            | None => DisabledRule::Nothing,
        }
    }
}

/// Decides as the core does, but for a planted bug that is one of deciding.
fn decide_with(mutation: Mutation, ctx: &mut Context<'_>, state: SagaState, event: Event) -> Decision {
    let honest = ctx.definition;
    match mutation {
        Mutation::SkipTheFence
        | Mutation::ForgetARejection
        | Mutation::ForgetWithoutAWord
        | Mutation::AcknowledgeBeforeCommit
        | Mutation::LoseAReply
        | Mutation::DropTheRevisionGuard
        | Mutation::ForgetDueAt
        | Mutation::ClaimWithoutReading
        | Mutation::PruneAnOpenSaga
        | Mutation::AnswerOutsideTheTransaction
        | Mutation::CountTwoAnswers
        | Mutation::FenceAnOpenQuestion
        | Mutation::PruneAnOpenQuestion
        | Mutation::CallWithoutPreparing
        | Mutation::FenceAPreparedAction
        | Mutation::OvertakeACall
        | Mutation::CallAgainAfterTheUndo => decide(ctx, state, event),
        Mutation::UndoForward => {
            let was_frozen = frozen(&state);
            let decision = decide(ctx, state, event);
            if was_frozen { decision } else { undo_forward(honest, decision) }
        }
        Mutation::CountAStaleFailure => {
            let event = freshen(&state, event);
            decide(ctx, state, event)
        }
        Mutation::ShareTheBudget => {
            let definition = sharing(honest, &state);
            decide(&mut with(ctx, &definition), state, event)
        }
        Mutation::FreezeUnsettled => {
            let decision = decide(ctx, state, event);
            freeze_unsettled(ctx, decision)
        }
        Mutation::ResendAnew => resend_anew(decide(ctx, state, event)),
        Mutation::CancelAfterThePivot => cancel_after_pivot(ctx, state, event),
        Mutation::AcceptAStaleGeneration => {
            let event = rejuvenate(&state, event);
            decide(ctx, state, event)
        }
        Mutation::TakeForgottenForNever | Mutation::TakeRefusedForNo | Mutation::RetryTheAccepted => {
            let event = misheard(mutation, event);
            decide(ctx, state, event)
        }
        Mutation::SettleTheUnremembered => unremembered::settled(ctx, state, event),
        Mutation::TakeUnansweredForNever => unremembered::taken_for_never(ctx, state, event),
        Mutation::SettleTheAccepted => {
            let definition = impatient(honest);
            decide(&mut with(ctx, &definition), state, event)
        }
        Mutation::SendTheSecond => orders::send_the_second(ctx, state, event),
        Mutation::LetGoWhileOpen => orders::let_go_while_open(decide(ctx, state, event)),
        Mutation::FireATimerTwice => fire_twice(ctx, state, event),
        Mutation::LoseAnEarlyEvent => lose_early_event(decide(ctx, state, event)),
    }
}

fn cancel_after_pivot(ctx: &mut Context<'_>, state: SagaState, event: Event) -> Decision {
    let honest = ctx.definition;
    let is_cancel = matches!(&event, Event::Operator(OperatorCommand { verb: Verb::Cancel, .. }));
    let definition = if is_cancel { Cow::Owned(without_pivot(honest)) } else { Cow::Borrowed(honest) };
    decide(&mut with(ctx, &definition), state, event)
}

fn fire_twice(ctx: &mut Context<'_>, state: SagaState, event: Event) -> Decision {
    let state = if event == Event::TimerFired { waiting_anew(ctx, state) } else { state };
    decide(ctx, state, event)
}

fn lose_early_event(mut decision: Decision) -> Decision {
    if decision.effect == Effect::Given(EventVerdict::Kept) {
        decision.state.steps.iter_mut().for_each(|step| step.event = None);
    }
    decision
}

fn resend_anew(mut decision: Decision) -> Decision {
    for command in &mut decision.commands {
        if command.attempt > 1 && command.key.phase == Phase::Action {
            command.payload = JsonText::of(&command.attempt).expect("a number becomes JSON");
        }
    }
    decision
}

fn misheard(mutation: Mutation, event: Event) -> Event {
    let Event::Reply(mut reply) = event else { return event };
    if reply.outcome == Outcome::Accepted && mutation == Mutation::RetryTheAccepted {
        reply.outcome = Outcome::Failed { message: "no answer yet".to_owned() };
    }
    if reply.key.phase != Phase::Compensation {
        reply.outcome = match reply.outcome {
            Outcome::Expired if mutation == Mutation::TakeForgottenForNever => Outcome::Fenced,
            Outcome::Refused { reason } if mutation == Mutation::TakeRefusedForNo => {
                Outcome::Rejected(Rejection::new("no", reason))
            }
            outcome => outcome,
        };
    }
    Event::Reply(reply)
}
