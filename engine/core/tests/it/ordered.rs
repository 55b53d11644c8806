//! The places of steps in the orders of their keys: when a step is sent, and when the next of its key may go on.

#![expect(clippy::unwrap_used, reason = "a test may panic; the helpers below are not in a test function")]

use crate::support::{
    CancelOrder, ChargePayment, ConfirmOrder, CreateOrder, PaymentCharged, PlaceOrder, RefundPayment,
    ShipOrder,
};
use redress_core::decide::{
    Context, Decision, Event, OperatorCommand, Resolution, Verb, decide, start, start_unsent,
};
use redress_core::fault::FaultBook;
use redress_core::state::{OrderPlace, STATE_FORMAT, SagaState};
use redress_core::{
    IdempotencyKey, JsonText, Name, Outcome, Phase, Rejection, ReplyMessage, RetryPolicy, SagaDefinition,
    SagaId, Timestamp, saga,
};
use std::time::Duration;

/// A saga whose payment and confirmation are ordered, by customer and by order.
fn ordered() -> SagaDefinition {
    saga::<PlaceOrder>("ordered", 1)
        .step("create", |o| CreateOrder { order: o.order, customer: o.customer.clone() })
        .compensate(|o| CancelOrder { order: o.order })
        .step("charge", |o| ChargePayment { payment: o.order, amount: o.total })
        .on_reply(|o, charged: PaymentCharged| o.receipt = Some(charged.receipt))
        .when(|o| o.total > 0)
        .compensate(|o| RefundPayment { payment: o.order })
        .retry(RetryPolicy::ACTION.attempts(1))
        .timeout(Duration::from_secs(1))
        .ordered_by(|o| o.customer.clone())
        .pivot("ship", |o| ShipOrder { shipment: o.order, address: o.address.clone() })
        .retriable("confirm", |o| ConfirmOrder { order: o.order })
        .ordered_by(|o| o.order)
        .deadline(Duration::from_secs(60))
        .build()
}

/// A saga whose first step is ordered.
fn ordered_at_once() -> SagaDefinition {
    saga::<PlaceOrder>("at-once", 1)
        .step("charge", |o| ChargePayment { payment: o.order, amount: o.total })
        .no_compensation()
        .ordered_by(|o| o.customer.clone())
        .build()
}

/// A saga and what became of it, line by line.
struct Life {
    definition: SagaDefinition,
    state: SagaState,
    now: i64,
    lines: Vec<String>,
}

fn data(definition: &SagaDefinition, total: i64) -> JsonText {
    let input = serde_json::json!({ "customer": "ann", "address": "here", "lines": [], "total": total });
    definition.read_input(&input).unwrap()
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

impl Life {
    fn of(definition: SagaDefinition) -> Self {
        Self::begun(definition, 7, start)
    }

    fn begun(
        definition: SagaDefinition,
        total: i64,
        first: fn(&mut Context<'_>, JsonText, Vec<redress_core::fault::Fault>) -> Decision,
    ) -> Self {
        let data = data(&definition, total);
        let mut faults = FaultBook::default();
        let decision = first(&mut context(&definition, 0, &mut faults), data, Vec::new());
        let mut life = Self { state: decision.state.clone(), definition, now: 0, lines: Vec::new() };
        life.keep("start", decision);
        life
    }

    fn event(mut self, word: &str, event: Event) -> Self {
        let mut faults = FaultBook::default();
        let ctx = &mut context(&self.definition, self.now, &mut faults);
        let decision = decide(ctx, self.state.clone(), event);
        self.keep(word, decision);
        self
    }

    fn keep(&mut self, word: &str, decision: Decision) {
        self.state = decision.state;
        let sent: Vec<String> = decision
            .commands
            .iter()
            .map(|command| format!("{} {}", command.key.phase, command.key.step))
            .collect();
        let places: Vec<String> = self
            .state
            .steps
            .iter()
            .filter_map(|step| {
                let word = match step.place.as_ref()? {
                    OrderPlace::Taken { .. } => "taken",
                    OrderPlace::Waiting { .. } => "waiting",
                    OrderPlace::First { .. } => "first",
                    OrderPlace::LetGo => "let go",
                };
                Some(format!("{} {word}", step.name))
            })
            .collect();
        let sent = if sent.is_empty() { "-".to_owned() } else { sent.join(", ") };
        self.lines.push(format!("{word}: {sent} | {} | {}", places.join(", "), self.state.status_word()));
    }

    fn first(self, step: &str) -> Self {
        self.event("first", Event::PlaceIsFirst { step: name(step) })
    }

    fn answer(self, step: &str, phase: Phase, outcome: Outcome) -> Self {
        let word = outcome.as_str().to_owned();
        let (_, defined) = self.definition.step(step).unwrap();
        let reply = ReplyMessage {
            key: IdempotencyKey { saga_id: SAGA_ID, step: name(step), phase, generation: 1 },
            attempt: 1,
            saga: self.definition.name.clone(),
            version: 1,
            service: defined.service.clone(),
            outcome,
        };
        self.event(&word, Event::Reply(reply))
    }

    fn done(self, step: &str, phase: Phase) -> Self {
        let reply = serde_json::json!({ "receipt": "r" });
        let reply =
            if step == "charge" && phase != Phase::Compensation { reply } else { serde_json::Value::Null };
        self.answer(step, phase, Outcome::Done { reply: JsonText::of(&reply).unwrap() })
    }

    fn operator(self, verb: Verb) -> Self {
        let word = verb.as_str();
        let command = OperatorCommand { verb, actor: "ann".to_owned(), reason: "why not".to_owned() };
        self.event(word, Event::Operator(command))
    }

    fn later(mut self, seconds: i64) -> Self {
        self.now += seconds;
        self.event("later", Event::TimerFired)
    }

    /// As the journal would read it after its last decision.
    fn reread(mut self) -> Self {
        let data = self.state.data.clone();
        let bytes = serde_json::to_vec(&self.state).unwrap();
        let mut state: SagaState = serde_json::from_slice(&bytes).unwrap();
        state.data = data;
        assert_eq!(state, self.state, "the stored form keeps the places");
        self.state = state;
        self
    }

    fn lines(&self) -> String {
        self.lines.join("\n")
    }
}

const SAGA_ID: SagaId = SagaId(uuid::Uuid::from_u128(7));

fn context<'a>(definition: &'a SagaDefinition, now: i64, faults: &'a mut FaultBook) -> Context<'a> {
    let now = Timestamp::UNIX_EPOCH + Duration::from_secs(now.unsigned_abs());
    Context { definition, saga_id: SAGA_ID, now, jitter: 0.0, faults, traceparent: None }
}

#[test]
fn step_is_sent_once_it_is_the_first_of_its_key() {
    let life = Life::of(ordered_at_once()).later(1).reread();
    assert_eq!(life.state.due_at(), None, "nothing is due while it waits");
    assert!(life.state.is_awaiting(), "it is as it should be");
    assert_eq!(life.state.steps[0].status_word(), "queued");
    let life = life.first("charge").first("charge").done("charge", Phase::Action);
    insta::assert_snapshot!(life.lines(), @r"
    start: - | charge waiting | running
    later: - | charge waiting | running
    first: action charge | charge first | running
    first: - | charge first | running
    done: - | charge let go | completed
    ");
    let unsent = Life::begun(ordered_at_once(), 7, start_unsent);
    assert!(unsent.state.due_at().is_some(), "a saga that was not begun is due");
    insta::assert_snapshot!(unsent.later(1).first("charge").lines(), @r"
    start: - | charge taken | running
    later: - | charge waiting | running
    first: action charge | charge first | running
    ");
    const { assert!(STATE_FORMAT >= 5, "an older program would lose the places") };
}

#[test]
fn place_that_is_first_before_its_step_comes_costs_no_wait() {
    let life = Life::of(ordered()).first("charge").first("confirm");
    let life = life.done("create", Phase::Action).done("charge", Phase::Action).done("ship", Phase::Action);
    insta::assert_snapshot!(life.done("confirm", Phase::Action).lines(), @r"
    start: action create | charge taken, confirm taken | running
    first: - | charge first, confirm taken | running
    first: - | charge first, confirm first | running
    done: action charge | charge first, confirm first | running
    done: action ship | charge let go, confirm first | running
    done: action confirm | charge let go, confirm first | running
    done: - | charge let go, confirm let go | completed
    ");
}

#[test]
fn saga_that_waits_is_cancelled_closed_skipped_and_late_at_once() {
    let waiting = || Life::of(ordered()).done("create", Phase::Action);
    insta::assert_snapshot!(waiting().operator(Verb::Cancel).lines(), @r"
    start: action create | charge taken, confirm taken | running
    done: - | charge waiting, confirm taken | running
    cancel: compensation create | charge let go, confirm let go | compensating
    ");
    insta::assert_snapshot!(waiting().later(61).lines(), @r"
    start: action create | charge taken, confirm taken | running
    done: - | charge waiting, confirm taken | running
    later: compensation create | charge let go, confirm let go | compensating
    ");
    let paused = waiting().operator(Verb::Pause).first("charge");
    insta::assert_snapshot!(paused.operator(Verb::Resume).lines(), @r"
    start: action create | charge taken, confirm taken | running
    done: - | charge waiting, confirm taken | running
    pause: - | charge waiting, confirm taken | paused
    first: - | charge first, confirm taken | paused
    resume: action charge | charge first, confirm taken | running
    ");
    insta::assert_snapshot!(waiting().operator(Verb::Pause).operator(Verb::Close).lines(), @r"
    start: action create | charge taken, confirm taken | running
    done: - | charge waiting, confirm taken | running
    pause: - | charge waiting, confirm taken | paused
    close: - | charge let go, confirm let go | closed
    ");
    let skipped = Life::begun(ordered(), 0, start).done("create", Phase::Action);
    insta::assert_snapshot!(skipped.lines(), @r"
    start: action create | charge taken, confirm taken | running
    done: action ship | charge let go, confirm taken | running
    ");
}

#[test]
fn place_is_kept_until_the_step_is_decided_for_good() {
    let charging = || Life::of(ordered()).first("charge").done("create", Phase::Action);
    let rejected = Outcome::Rejected(Rejection::new("no", "no"));
    insta::assert_snapshot!(charging().answer("charge", Phase::Action, rejected).lines(), @r"
    start: action create | charge taken, confirm taken | running
    first: - | charge first, confirm taken | running
    done: action charge | charge first, confirm taken | running
    rejected: compensation create | charge let go, confirm let go | compensating
    ");
    let settled = charging().later(1).answer("charge", Phase::Settlement, Outcome::Fenced);
    insta::assert_snapshot!(settled.lines(), @r"
    start: action create | charge taken, confirm taken | running
    first: - | charge first, confirm taken | running
    done: action charge | charge first, confirm taken | running
    later: settlement charge | charge first, confirm taken | running
    fenced: compensation create | charge let go, confirm let go | compensating
    ");
    let undone = charging().operator(Verb::Cancel).done("charge", Phase::Settlement);
    insta::assert_snapshot!(undone.done("charge", Phase::Compensation).lines(), @r"
    start: action create | charge taken, confirm taken | running
    first: - | charge first, confirm taken | running
    done: action charge | charge first, confirm taken | running
    cancel: settlement charge | charge first, confirm let go | compensating
    done: compensation charge | charge first, confirm let go | compensating
    done: compensation create | charge let go, confirm let go | compensating
    ");
    let told = charging()
        .answer("charge", Phase::Action, Outcome::Expired)
        .operator(Verb::Resolve { step: name("charge"), resolution: Resolution::NeverHappened });
    insta::assert_snapshot!(told.answer("charge", Phase::Settlement, Outcome::Fenced).lines(), @r"
    start: action create | charge taken, confirm taken | running
    first: - | charge first, confirm taken | running
    done: action charge | charge first, confirm taken | running
    expired: - | charge first, confirm taken | parked
    resolve: settlement charge, compensation create | charge first, confirm let go | compensating
    fenced: - | charge let go, confirm let go | compensating
    ");
    let closed = charging().answer("charge", Phase::Action, Outcome::Expired).operator(Verb::Close);
    insta::assert_snapshot!(closed.answer("charge", Phase::Settlement, Outcome::Fenced).lines(), @r"
    start: action create | charge taken, confirm taken | running
    first: - | charge first, confirm taken | running
    done: action charge | charge first, confirm taken | running
    expired: - | charge first, confirm taken | parked
    close: settlement charge | charge first, confirm let go | closed
    fenced: - | charge let go, confirm let go | closed
    ");
}

/// A pivot that was resolved the wrong way may turn out to have happened, and then the steps behind it are done.
#[test]
fn place_behind_a_sent_pivot_is_kept_until_the_saga_has_ended() {
    let shipping =
        Life::of(ordered()).first("charge").done("create", Phase::Action).done("charge", Phase::Action);
    let rejected = Outcome::Rejected(Rejection::new("no", "no"));
    let back = shipping.answer("ship", Phase::Action, rejected);
    let back = back.done("charge", Phase::Compensation).done("create", Phase::Compensation);
    insta::assert_snapshot!(back.lines(), @r"
    start: action create | charge taken, confirm taken | running
    first: - | charge first, confirm taken | running
    done: action charge | charge first, confirm taken | running
    done: action ship | charge let go, confirm taken | running
    rejected: compensation charge | charge let go, confirm taken | compensating
    done: compensation create | charge let go, confirm taken | compensating
    done: - | charge let go, confirm let go | compensated
    ");
}

#[test]
fn start_whose_key_cannot_be_made_is_refused() {
    let long = |customer: String| {
        let input = serde_json::json!({ "customer": customer, "address": "here", "lines": [], "total": 1 });
        ordered().read_input(&input).map(drop).map_err(|invalid| invalid.to_string())
    };
    assert_eq!(long("a".repeat(512)), Ok(()));
    insta::assert_snapshot!(long("a".repeat(513)).unwrap_err(), @"the input does not fit: at `/`, the `ordered_by` of step `charge` could not read its data or reply (the key has 513 bytes, and may have 512; take a digest of it)");
    let plain = crate::support::place_order();
    assert!(plain.graph()["steps"][0].get("ordered").is_none(), "other definitions keep their digests");
    assert_eq!(ordered().graph()["steps"][1]["ordered"], true);
    assert_eq!(ordered().steps[1].order_scope(), "payment.charge");
}
