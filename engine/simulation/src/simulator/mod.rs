//! Whole installations, driven by a seed: two production coordinators on the adapters in memory, several sagas, a bad
//! network, crashes and jumping clocks.
//!
//! The coordinators are those of production ([`Engine`](redress_coordinator::Engine)): intake, starter, timers, sending,
//! housekeeping and the watch on the broker run in virtual time, which jumps to whatever is next. Between them and the
//! adapters stand a journal and a bus (`stormy_journal`, `stormy_bus`) through which the storm comes. The participants
//! rule by the production inbox rules.
//!
//! A run has two phases. In the *storm* everything goes wrong with some probability: messages are lost, doubled,
//! delayed and reordered, coordinators and participants die between any two moves, commits are not answered, the
//! broker's store is wiped, broker and participants are away for longer than any budget, participants forget, and refuse
//! what they could carry out, answer later, twice or after they have given up, third parties lose calls and answers and do not
//! tell, clocks jump, operators interfere, events come from outside before their steps, after them, twice or never. Then the
//! weather is *calm*, and everything must end. The rules are checked after every commit, publish and acknowledgement, and at
//! the end ([`check`](redress_testkit::check)); every violation names the seed that shows it again. The same
//! seed gives the same history, down to its hash.

mod answers;
mod clock;
mod events;
mod life;
mod mutants;
mod mutated;
mod network;
mod operators;
mod orders;
mod people;
mod rules;
mod stage;
mod stormy_bus;
mod stormy_journal;
mod verdict;
mod weather;
mod world;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;
use std::time::Duration;

use redress_core::SagaDefinition;
use redress_core::definition::InDoubt;
use redress_testkit::fixtures;
use redress_testkit::run_result::line;

use people::People;
use stage::Stage;
use world::{World, Wrong};

pub use mutants::Mutation;

/// Sagas in one run.
const SAGAS: usize = 3;
/// Moves of the storm.
const STORM_MOVES: u32 = 300;
/// Moves after which a run that has not ended in calm weather never will.
const CALM_MOVES_MAX: u32 = 6_000;
/// The definitions of the sagas.
static DEFINITIONS: LazyLock<[SagaDefinition; 6]> = LazyLock::new(|| {
    [
        fixtures::five_steps(2, 3),
        fixtures::branching(2, 3),
        fixtures::nested(2, 3),
        fixtures::on_approval(2, 3, ANSWER_WITHIN),
        fixtures::paying(2, 3, InDoubt::Undo),
        fixtures::paying(2, 3, InDoubt::Park),
    ]
});
/// Definitions with steps that are delivered at least once, which are played apart: so the seeds of the others stay what
/// they were.
static UNREMEMBERED: LazyLock<[SagaDefinition; 2]> =
    LazyLock::new(|| [fixtures::five_steps(2, 3), fixtures::unremembered(2, 3)]);
/// The definition of sagas that are ordered by a key.
static ORDERED: LazyLock<[SagaDefinition; 1]> = LazyLock::new(|| [fixtures::ordered(2, 3)]);
/// The definitions of the sagas of every fifth run: there some wait for times and events. The other runs stay what they were,
/// and with them the seeds in which rare bugs show.
static WAITING: LazyLock<[SagaDefinition; 3]> = LazyLock::new(|| {
    [
        fixtures::five_steps(2, 3),
        fixtures::on_event(2, 3, ANSWER_WITHIN / 2),
        fixtures::waiting(2, 3, ANSWER_WITHIN),
    ]
});

/// The definitions of the sagas of a run.
fn definitions(seed: u64) -> &'static [SagaDefinition] {
    if seed % 5 == 4 { &*WAITING } else { &*DEFINITIONS }
}

/// How long an answer that comes later is waited for: some come after it.
const ANSWER_WITHIN: Duration = Duration::from_secs(90);

/// The result of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// SHA-256, in hex, of all histories.
    pub hash: String,
    /// How often each kind of thing happened, to see that the storm was one.
    pub happened: BTreeMap<&'static str, u64>,
}

/// A run in which something did not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("seed {seed}: {wrong}")]
pub struct Violation {
    /// Shows it again.
    pub seed: u64,
    /// The rule that did not hold.
    pub wrong: String,
    /// The history of the saga in question, line by line.
    pub history: Vec<String>,
}

/// Plays the installation of this seed, with a planted bug if one is given.
///
/// # Errors
/// [`Violation`] if anything did not hold, or panicked.
pub fn simulate(seed: u64, mutation: Option<Mutation>) -> Result<Run, Violation> {
    match mutation {
        Some(mutation) if mutation.is_about_the_unremembered() => simulate_unremembered(seed, Some(mutation)),
        Some(mutation) if mutation.is_of_orders() => simulate_orders(seed, Some(mutation)),
        Some(_) | None => played(seed, mutation, definitions(seed)),
    }
}

/// Plays the installation of this seed with sagas that have steps which no participant remembers.
///
/// # Errors
/// As [`simulate`].
pub fn simulate_unremembered(seed: u64, mutation: Option<Mutation>) -> Result<Run, Violation> {
    played(seed, mutation, &*UNREMEMBERED)
}

/// Plays the installation of this seed with sagas whose steps are ordered by a key.
///
/// # Errors
/// As [`simulate`].
pub fn simulate_orders(seed: u64, mutation: Option<Mutation>) -> Result<Run, Violation> {
    played(seed, mutation, &*ORDERED)
}

fn played(
    seed: u64,
    mutation: Option<Mutation>,
    definitions: &'static [SagaDefinition],
) -> Result<Run, Violation> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime without a network");
    let _entered = runtime.enter();
    let stage = Stage::new(World::begin(seed, mutation, definitions));
    let people = People::new(&stage, definitions);
    let result = caught(|| runtime.block_on(play(&people)));
    // The coordinators hold the stage on which they stand.
    people.leave();
    let run = stage.with(|world| {
        result.map(|()| world.report()).map_err(|(saga, wrong)| {
            // A panic does not say to which saga it belongs.
            let sagas = saga.map_or_else(|| world.sagas.clone(), |id| vec![id]);
            let rows = sagas.iter().filter_map(|id| world.row(*id));
            Violation {
                seed,
                wrong,
                history: rows.flat_map(|row| row.history).map(|row| line(&row)).collect(),
            }
        })
    });
    drop(runtime);
    run
}

/// A panic is a violation too: it must not take its seed with it.
fn caught(play: impl FnOnce() -> Result<(), Wrong>) -> Result<(), Wrong> {
    // The world is only read afterwards, as evidence.
    catch_unwind(AssertUnwindSafe(play)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it did not say why");
        Err((None, format!("it panicked: {text}")))
    })
}

async fn play(people: &People) -> Result<(), Wrong> {
    let stage = &people.stage;
    for number in 1..=SAGAS {
        let request = stage.with(|world| world.request(number));
        tokio::spawn(people.clone().client(request));
    }
    for _ in 0..STORM_MOVES {
        one_move(people).await?;
    }
    stage.with(World::clear_up_the_weather);
    for _ in 0..CALM_MOVES_MAX {
        if stage.with(|world| world.rests(SAGAS)) {
            return stage.with(|world| world.check_all());
        }
        one_move(people).await?;
    }
    let open = stage.with(|world| world.sagas.iter().find(|id| !world.is_ended(**id)).copied());
    Err((open, "it never ends".to_owned()))
}

/// One move of the world, in which the coordinators go on by themselves.
async fn one_move(people: &People) -> Result<(), Wrong> {
    people.supervise().await;
    let wish = people.stage.with(World::go_on);
    if let Some((id, verb, revision)) = wish {
        people.operate(id, verb, revision);
    }
    if let Some(event) = people.stage.with(World::next_event) {
        people.send(event);
    }
    let pause = people.stage.with(World::pause);
    tokio::time::sleep(pause).await;
    people.stage.with(|world| world.wrong.take()).map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests;
