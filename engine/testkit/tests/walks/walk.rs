//! Random walks through `decide`: every event that there is, in any order, sensible or not.
//!
//! Participants answer as they like and contradict themselves, operators do whatever is not refused, messages come late
//! and twice. So a walk comes to states that no honest run does; each is one that the engine itself has made.

use redress_core::decide::{
    Context, Decision, Event, GivenEvent, NotSent, OperatorCommand, Resolution, Unsent, Verb, decide, start,
};
use redress_core::fault::FaultBook;
use redress_core::inbox::GivenAnswer;
use redress_core::state::SagaState;
use redress_core::{
    CommandMessage, JsonText, Name, Outcome, Phase, Rejection, ReplyMessage, SagaDefinition, SagaId,
    Timestamp,
};
use uuid::Uuid;

/// Events of one walk.
const EVENTS: u32 = 80;
/// Events after the end of a saga.
const AFTER_THE_END: u32 = 5;

/// SplitMix64: the walks are the same with every version of every crate.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % u64::try_from(sides).unwrap()).unwrap()
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        if items.is_empty() { None } else { items.get(self.roll(items.len())) }
    }
}

/// Walks, and shows each decision.
pub(crate) fn walk(definition: &SagaDefinition, seed: u64, mut show: impl FnMut(&Decision)) {
    let mut dice = Dice(seed);
    let mut now = Timestamp::UNIX_EPOCH;
    let mut sent: Vec<CommandMessage> = Vec::new();
    let data = definition.read_input(&serde_json::json!({})).unwrap();
    let decision = in_context(definition, now, |context| start(context, data, Vec::new()));
    show(&decision);
    sent.extend(decision.commands);
    let mut state = decision.state;
    let mut after_the_end = 0;
    for _ in 0..EVENTS {
        after_the_end += u32::from(state.is_ended());
        if after_the_end > AFTER_THE_END {
            return;
        }
        let event = match given(&mut dice, definition) {
            Some(event) => Event::Given(event),
            None => event(&mut dice, &state, &sent, &mut now),
        };
        let decision = in_context(definition, now, |context| decide(context, state, event));
        show(&decision);
        sent.extend(decision.commands);
        state = decision.state;
    }
}

fn in_context(
    definition: &SagaDefinition,
    now: Timestamp,
    decide: impl FnOnce(&mut Context<'_>) -> Decision,
) -> Decision {
    let mut faults = FaultBook::default();
    let saga_id = SagaId(Uuid::from_u128(1));
    decide(&mut Context { definition, saga_id, now, jitter: 0.0, faults: &mut faults, traceparent: None })
}

/// An event from outside, if the saga awaits one: mostly the first of its name, now and then another one or none of its type.
fn given(dice: &mut Dice, definition: &SagaDefinition) -> Option<GivenEvent> {
    let awaited = definition.steps.iter().filter(|step| step.awaited_event().is_some());
    let awaited: Vec<&Name> = awaited.map(|step| &step.name).collect();
    if awaited.is_empty() || dice.roll(12) > 0 {
        return None;
    }
    let name = (*dice.pick(&awaited)?).clone();
    let key = if dice.roll(4) > 0 { "first" } else { "second" }.to_owned();
    let payload =
        if dice.roll(8) > 0 { JsonText::of(&serde_json::json!({})).unwrap() } else { JsonText::null() };
    Some(GivenEvent { name, key, payload })
}

fn event(dice: &mut Dice, state: &SagaState, sent: &[CommandMessage], now: &mut Timestamp) -> Event {
    // Mostly one of the last, so that the walk goes on; now and then one of long ago.
    let recent = if dice.roll(8) > 0 { &sent[sent.len().saturating_sub(3)..] } else { sent };
    match (dice.roll(16), dice.pick(recent)) {
        (0..10, Some(command)) => Event::Reply(reply(dice, command)),
        (10, Some(command)) => Event::NotSent(NotSent {
            key: command.key.clone(),
            attempt: command.attempt,
            why: match dice.roll(3) {
                0 => Unsent::Unknown { reason: "no broker".to_owned() },
                1 => Unsent::Refused { reason: "full".to_owned() },
                _ => Unsent::Unsendable { reason: "too large".to_owned() },
            },
        }),
        (11, _) if dice.roll(4) == 0 => Event::MayBeLost { asked_before: *now },
        (12..14, _) => Event::Operator(OperatorCommand {
            verb: verb(dice, state),
            actor: "ann".to_owned(),
            reason: "why not".to_owned(),
        }),
        _ => {
            *now = (*now).max(state.due_at().unwrap_or(*now));
            Event::TimerFired
        }
    }
}

fn reply(dice: &mut Dice, command: &CommandMessage) -> ReplyMessage {
    let outcome = match dice.roll(24) {
        0..11 => Outcome::Done { reply: JsonText::null() },
        11 => Outcome::Done { reply: JsonText::of("no such reply").unwrap() },
        12..14 => Outcome::Rejected(Rejection::new("no", "no")),
        14..17 => Outcome::Failed { message: "injected".to_owned() },
        17 => Outcome::Fenced,
        18 => Outcome::Expired,
        19..21 => Outcome::Accepted,
        21..23 => Outcome::InDoubt { reason: "the bank does not tell".to_owned() },
        _ => Outcome::Refused { reason: "no such command".to_owned() },
    };
    let mut key = command.key.clone();
    // A settlement may be answered by the action's own reply, which comes late.
    if key.phase == Phase::Settlement && dice.roll(4) == 0 {
        key.phase = Phase::Action;
    }
    ReplyMessage {
        key,
        attempt: command.attempt,
        saga: command.saga.clone(),
        version: command.version,
        service: command.service.clone(),
        outcome,
    }
}

fn verb(dice: &mut Dice, state: &SagaState) -> Verb {
    let names: Vec<Name> = state.steps.iter().map(|step| step.name.clone()).collect();
    // An operator resolves mostly what needs it.
    let troubled: Vec<Name> =
        state.parked().into_iter().chain(state.parked_also()).filter_map(|r| r.step.clone()).collect();
    let among = if troubled.is_empty() || dice.roll(4) == 0 { &names } else { &troubled };
    let step = dice.pick(among).unwrap().clone();
    match dice.roll(26) {
        24 => Verb::Answer { step, answer: GivenAnswer::Done { reply: JsonText::null() } },
        25 => Verb::Answer { step, answer: GivenAnswer::Rejected(Rejection::new("no", "no")) },
        0..2 => Verb::Cancel,
        2..5 => Verb::Pause,
        5..9 => Verb::Resume,
        9..12 => Verb::Retry { step: None },
        12..14 => Verb::Retry { step: Some(step) },
        14 if dice.roll(4) == 0 => Verb::Close,
        14..19 => Verb::Resolve { step, resolution: Resolution::Happened { reply: JsonText::null() } },
        19..22 => Verb::Resolve { step, resolution: Resolution::NeverHappened },
        _ => Verb::Resolve { step, resolution: Resolution::Compensated },
    }
}
