//! An exhaustive model: two coordinators, a network that loses, doubles and reorders whatever it likes, and an inbox.
//!
//! A message, once sent, may be delivered at any time, any number of times, or never. A coordinator reads, decides and
//! commits, and publishes in three moves, and may die between them; the other one may move the same saga meanwhile. The
//! decisions and the inbox rules are the real ones; time is abstracted: anything that waits may run out of patience at
//! any moment. Every reachable state is visited.

#![expect(clippy::unwrap_used, reason = "in a test, a broken expectation is the finding")]

mod said;
mod sell;
mod stored;

use std::collections::{BTreeMap, BTreeSet};

use redress_core::decide::{
    Context, Effect, Event, GivenEvent, NotSent, OperatorCommand, Unsent, Verb, decide, start,
};
use redress_core::fault::FaultBook;
use redress_core::inbox::{Fingerprint, Record, Recorded, Retention, Ruling, rule};
use redress_core::state::{Progress, StepState};
use redress_core::{CommandMessage, IdempotencyKey, JsonText, Name, Phase, ReplyMessage, SagaDefinition};
use stateright::{Checker, HasDiscoveries, Model, Property};

use said::Said;
use sell::{APPROVAL, Sale, sell, sell_on_approval};
use stored::{much_later, now, saga_id, state, timeless};

/// A command on the network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Asked {
    step: &'static str,
    phase: Phase,
    attempt: u32,
}

/// The work that a coordinator has in hand.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum CoordinatorActor {
    Idle,
    /// An event, and the saga as it was read.
    Read(Happened, String),
    /// Committed, and not published.
    Committed(Vec<Asked>),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Happened {
    Heard(Asked, Said),
    OutOfPatience,
    Cancelled,
    NotStored(Asked),
    /// The event that the saga awaits comes from outside, under this key.
    Given(&'static str),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    /// The saga's row, as the journal keeps it.
    saga: String,
    /// Its status as one word.
    status: &'static str,
    coordinators: [CoordinatorActor; 2],
    commands: BTreeSet<Asked>,
    replies: BTreeSet<(Asked, Said)>,
    /// The inbox's records: of charge's action, of charge's compensation, of ship's action.
    inbox: BTreeMap<(&'static str, Phase), Said>,
    /// How often each effect stands.
    effects: BTreeMap<&'static str, i8>,
    /// The keys of the events that were taken, or kept for their step.
    accepted: BTreeSet<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Move {
    Read(usize, Happened),
    Commit(usize),
    Publish(usize),
    /// The broker does not answer: it has stored the commands or it has not.
    PublishInVain(usize, bool),
    Die(usize),
    Deliver(Asked, Said),
}

/// The property that a late command would break.
const NEVER_AFTER: &str = "compensated means none, for ever";

/// The saga, and what follows from a decision.
struct Decided {
    saga: String,
    status: &'static str,
    commands: Vec<Asked>,
    /// True if an event from outside was taken or kept.
    accepts: bool,
}

struct Installation {
    definition: SagaDefinition,
    /// True if an action that never happened leaves a fence.
    fences: bool,
}

impl Installation {
    fn key(asked: &Asked) -> IdempotencyKey {
        let step = Name::new(asked.step).unwrap();
        IdempotencyKey { saga_id: saga_id(), step, phase: asked.phase, generation: 1 }
    }

    fn decide(&self, saga: &str, happened: &Happened) -> Decided {
        let state = state(saga);
        let event = match happened {
            Happened::OutOfPatience => Event::TimerFired,
            Happened::NotStored(asked) => Event::NotSent(NotSent {
                key: Self::key(asked),
                attempt: asked.attempt,
                why: Unsent::Unknown { reason: String::new() },
            }),
            Happened::Cancelled => Event::Operator(OperatorCommand {
                verb: Verb::Cancel,
                actor: "ann".to_owned(),
                reason: "why not".to_owned(),
            }),
            Happened::Given(key) => Event::Given(GivenEvent {
                name: Name::new(APPROVAL).unwrap(),
                key: (*key).to_owned(),
                payload: JsonText::of(&Sale {}).unwrap(),
            }),
            Happened::Heard(asked, said) => Event::Reply(ReplyMessage {
                key: Self::key(asked),
                attempt: asked.attempt,
                saga: self.definition.name.clone(),
                version: 1,
                service: Name::new("shop").unwrap(),
                outcome: said.outcome(),
            }),
        };
        let mut faults = FaultBook::default();
        let mut ctx = Context {
            definition: &self.definition,
            saga_id: saga_id(),
            now: if *happened == Happened::OutOfPatience { much_later() } else { now() },
            jitter: 0.0,
            faults: &mut faults,
            traceparent: None,
        };
        let decision = decide(&mut ctx, state, event);
        let accepts = matches!(&decision.effect, Effect::Given(verdict) if verdict.is_new());
        let status = decision.state.status_word();
        Decided { status, saga: timeless(decision.state), commands: asked(&decision.commands), accepts }
    }

    /// A participant handles a command; `wanted` is what its business would say.
    fn handle(&self, world: &mut World, command: &Asked, wanted: Said) -> Option<Said> {
        let message = CommandMessage {
            key: Self::key(command),
            attempt: command.attempt,
            saga: self.definition.name.clone(),
            version: 1,
            service: Name::new("shop").unwrap(),
            command: Name::new("x").unwrap(),
            action_sent_at: now(),
            fault: None,
            traceparent: None,
            payload: JsonText::null(),
        };
        let record = |phase: Phase| {
            let recorded = match world.inbox.get(&(command.step, phase))? {
                Said::Fenced => return Some(Record::fence()),
                said @ (Said::Done | Said::Rejected) => said.recorded(),
            };
            Some(Record { fingerprint: Some(Fingerprint::of(&message.command, &message.payload)), recorded })
        };
        let (own, action) = (record(command.phase), record(Phase::Action));
        match rule(&message, own.as_ref(), action.as_ref(), now(), &Retention::DEFAULT) {
            Ruling::Run => {
                let says = if command.phase == Phase::Compensation { Said::Done } else { wanted };
                world.inbox.insert((command.step, command.phase), says);
                let change = match (command.phase, says) {
                    (Phase::Action, Said::Done) => 1,
                    (Phase::Compensation, Said::Done) => -1,
                    (_, _) => 0,
                };
                *world.effects.entry(command.step).or_default() += change;
                Some(says)
            }
            Ruling::Answer { outcome, record } => {
                for (key, record) in record {
                    if record.recorded == Recorded::Fenced && !self.fences {
                        continue;
                    }
                    let said = Said::of_record(&record.recorded);
                    world.inbox.insert((command.step, key.phase), said);
                }
                Said::of_outcome(&outcome)
            }
            Ruling::Refuse { reason } => panic!("{reason}"),
            Ruling::UndoInDoubt { .. }
            | Ruling::Call { .. }
            | Ruling::Inquire { .. }
            | Ruling::GiveUp
            | Ruling::Wait { .. } => unreachable!("the model's participants answer at once and call nobody"),
        }
    }
}

fn asked(commands: &[CommandMessage]) -> Vec<Asked> {
    let step = |name: &Name| if *name == *"charge" { "charge" } else { "ship" };
    let asked = commands.iter().map(|command| Asked {
        step: step(&command.key.step),
        phase: command.key.phase,
        attempt: command.attempt,
    });
    asked.collect()
}

impl Model for Installation {
    type State = World;
    type Action = Move;

    fn init_states(&self) -> Vec<World> {
        let mut faults = FaultBook::default();
        let mut ctx = Context {
            definition: &self.definition,
            saga_id: saga_id(),
            now: now(),
            jitter: 0.0,
            faults: &mut faults,
            traceparent: None,
        };
        let data = self.definition.read_input(&serde_json::json!({})).unwrap();
        let first = start(&mut ctx, data, Vec::new());
        vec![World {
            coordinators: [CoordinatorActor::Committed(asked(&first.commands)), CoordinatorActor::Idle],
            status: first.state.status_word(),
            saga: timeless(first.state),
            commands: BTreeSet::new(),
            replies: BTreeSet::new(),
            inbox: BTreeMap::new(),
            effects: BTreeMap::new(),
            accepted: BTreeSet::new(),
        }]
    }

    fn actions(&self, world: &World, moves: &mut Vec<Move>) {
        for (number, coordinator) in world.coordinators.iter().enumerate() {
            match coordinator {
                CoordinatorActor::Idle => {
                    let heard =
                        world.replies.iter().map(|(asked, said)| Happened::Heard(asked.clone(), *said));
                    let awaits = self.definition.step(APPROVAL).is_some();
                    // It is enough that one of the two hears of events.
                    let hears = awaits && number == 1;
                    let given = ["first", "second"].map(Happened::Given).into_iter().filter(|_| hears);
                    let all = heard.chain([Happened::OutOfPatience, Happened::Cancelled]).chain(given);
                    moves.extend(all.map(|happened| Move::Read(number, happened)));
                }
                CoordinatorActor::Read(..) => moves.extend([Move::Commit(number), Move::Die(number)]),
                CoordinatorActor::Committed(_) => {
                    moves.extend([Move::Publish(number), Move::Die(number)]);
                    // It is enough that one of the two has no broker, in a saga that awaits no event.
                    if number == 0 && self.definition.step(APPROVAL).is_none() {
                        moves.extend([true, false].map(|stored| Move::PublishInVain(number, stored)));
                    }
                }
            }
        }
        for command in &world.commands {
            moves.push(Move::Deliver(command.clone(), Said::Done));
            moves.push(Move::Deliver(command.clone(), Said::Rejected));
        }
    }

    fn next_state(&self, before: &World, action: Move) -> Option<World> {
        let mut world = before.clone();
        match action {
            Move::Read(coordinator, happened) => {
                world.coordinators[coordinator] = CoordinatorActor::Read(happened, world.saga.clone())
            }
            Move::Die(coordinator) => world.coordinators[coordinator] = CoordinatorActor::Idle,
            Move::Commit(coordinator) => {
                let CoordinatorActor::Read(happened, read) = &before.coordinators[coordinator] else {
                    return None;
                };
                // The revision guards the write: a saga that has moved meanwhile is read again.
                world.coordinators[coordinator] = if *read == world.saga {
                    let Decided { saga, status, commands, accepts } = self.decide(read, happened);
                    (world.saga, world.status) = (saga, status);
                    if let (Happened::Given(key), true) = (happened, accepts) {
                        world.accepted.insert(key);
                    }
                    if commands.is_empty() {
                        CoordinatorActor::Idle
                    } else {
                        CoordinatorActor::Committed(commands)
                    }
                } else {
                    CoordinatorActor::Read(happened.clone(), world.saga.clone())
                };
            }
            Move::Publish(coordinator) => {
                let CoordinatorActor::Committed(commands) = &before.coordinators[coordinator] else {
                    return None;
                };
                world.commands.extend(commands.iter().cloned());
                world.coordinators[coordinator] = CoordinatorActor::Idle;
            }
            Move::PublishInVain(coordinator, is_stored) => {
                // A saga of this definition has one pending command at a time.
                let CoordinatorActor::Committed(commands) = &before.coordinators[coordinator] else {
                    return None;
                };
                let [command] = commands.as_slice() else { panic!("more than one command") };
                world.commands.extend(is_stored.then(|| command.clone()));
                world.coordinators[coordinator] =
                    CoordinatorActor::Read(Happened::NotStored(command.clone()), world.saga.clone());
            }
            Move::Deliver(command, wanted) => {
                let said = self.handle(&mut world, &command, wanted)?;
                world.replies.insert((command, said));
            }
        }
        (world != *before).then_some(world)
    }

    fn within_boundary(&self, world: &World) -> bool {
        // A command that is sent for ever is sent once here.
        let is_near = |step: &StepState| step.settlement_attempts <= 1 && step.compensation_attempts <= 1;
        state(&world.saga).steps.iter().all(is_near)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        fn stands(world: &World, step: &str) -> i8 {
            world.effects.get(step).copied().unwrap_or_default()
        }
        vec![
            Property::always("no effect twice, none undone that was not", |_, world: &World| {
                world.effects.values().all(|effect| (0..=1).contains(effect))
            }),
            Property::always("completed means all effects", |_, world: &World| {
                world.status != "completed" || (stands(world, "charge") == 1 && stands(world, "ship") == 1)
            }),
            Property::always(NEVER_AFTER, |_, world: &World| {
                world.status != "compensated" || (stands(world, "charge") == 0 && stands(world, "ship") == 0)
            }),
            Property::always("an honest participant is never found to lie", |_, world: &World| {
                !world.saga.contains("contradiction")
            }),
            Property::always("one event counts, and it is not lost", |_, world: &World| {
                let state = state(&world.saga);
                let mut steps = state.steps.iter().filter(|step| step.name == *APPROVAL);
                let is_taken = steps.all(|step| *step.progress() == Progress::Succeeded);
                world.accepted.len() <= 1
                    && (world.status != "completed" || world.accepted.is_empty() || is_taken)
            }),
            Property::sometimes("it can complete", |_, world: &World| world.status == "completed"),
            Property::sometimes("it can be compensated", |_, world: &World| {
                world.status == "compensated" && world.inbox.contains_key(&("charge", Phase::Compensation))
            }),
            Property::sometimes("an undo that nobody answers is not given up", |_, world: &World| {
                let open = state(&world.saga).steps[0].open().map(|asked| (asked.phase, asked.silent));
                world.status == "compensating" && open == Some((Phase::Compensation, 1))
            }),
        ]
    }
}

#[test]
fn model_reaches_only_sound_states() {
    let checker = Installation { definition: sell(), fences: true }.checker().threads(2).spawn_bfs().join();
    println!("{} states", checker.unique_state_count());
    checker.assert_properties();
    assert!(checker.unique_state_count() > 10_000, "{} states", checker.unique_state_count());
}

/// An event comes at any time, under one key or another, while time may run out at any moment.
#[test]
fn model_of_a_saga_that_awaits_an_event_reaches_only_sound_states() {
    let installation = Installation { definition: sell_on_approval(), fences: true };
    let checker = installation.checker().threads(2).spawn_bfs().join();
    println!("{} states", checker.unique_state_count());
    checker.assert_properties();
    assert!(checker.unique_state_count() > 10_000, "{} states", checker.unique_state_count());
}

#[test]
fn model_without_fences_finds_an_effect_after_compensation() {
    let checker = Installation { definition: sell(), fences: false }
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AnyOf(BTreeSet::from([NEVER_AFTER])))
        .spawn_bfs()
        .join();
    let path = checker.assert_any_discovery(NEVER_AFTER);
    println!("{} moves", path.into_actions().len());
}
