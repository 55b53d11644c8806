//! Sagas as version 0.1 has stored them: each can be read and led to an end, and damaged rows are refused with a
//! reason.
//!
//! The corpus was written by the simulator of that version: a saga in each state that it came to, with its history. It
//! is never edited; a version that stores something new adds a file of its own.

#[path = "walks/forms.rs"]
mod forms;

use fastrand::Rng;
use redress_core::decide::{Event, OperatorCommand, Verb};
use redress_core::history::{HistoryEntry, HistoryEvent};
use redress_core::state::{SagaState, Status};
use redress_core::{CommandMessage, JsonText, Phase, SagaDefinition};
use redress_testkit::participants::{Business, DisabledRule, Participants};
use redress_testkit::world::World;
use redress_testkit::{check, fixtures};
use serde::Deserialize;
use serde_json::{Value, json};

const CORPUS: &str = include_str!("corpus/states-0.1.jsonl");

/// The name of the saga of five steps in version 0.1, and its name now.
const NAME_THEN: &str = "specimen";
const NAME_NOW: &str = "fixture";

/// Moves after which a saga that has not ended never will.
const MOVES_MAX: usize = 2_000;
/// Retries by the operator, before he closes what stays parked.
const RETRIES_MAX: u32 = 3;
/// Damaged rows that are read: a second's worth.
const DAMAGED: u32 = 20_000;

/// A row of `sagas` with its history.
#[derive(Deserialize)]
struct Stored {
    saga: String,
    state: Value,
    data: JsonText,
    history: Vec<Value>,
}

fn corpus() -> Vec<Stored> {
    CORPUS.lines().map(|line| serde_json::from_str(line).expect("a line of the corpus")).collect()
}

fn definitions() -> [SagaDefinition; 3] {
    [fixtures::five_steps(2, 3), fixtures::branching(2, 3), fixtures::nested(2, 3)]
}

impl Stored {
    /// As the journal reads it.
    fn read(&self) -> Result<(SagaState, Vec<HistoryEntry>), String> {
        let mut state: SagaState = read(&self.state.to_string().into_bytes())?;
        state.data = self.data.clone();
        let rows = self.history.iter().map(|row| read(row.to_string().as_bytes()));
        Ok((state, rows.collect::<Result<_, _>>()?))
    }
}

fn read<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

/// Leads a saga to its end: participants without a memory answer, and an operator acts where it waits for one. Gives its
/// whole history.
fn lead(
    definition: &SagaDefinition,
    state: SagaState,
    history: Vec<HistoryEntry>,
) -> Result<Vec<HistoryEntry>, String> {
    let participants = Participants::new(DisabledRule::Nothing);
    let mut world = World::resume(definition, participants, state, history);
    let mut wire: Vec<CommandMessage> = Vec::new();
    let mut retries = 0;
    for _ in 0..MOVES_MAX {
        let order = |verb| {
            Event::Operator(OperatorCommand {
                verb,
                actor: "ann".to_owned(),
                reason: "an upgrade".to_owned(),
            })
        };
        let event = match (wire.pop(), world.state.status()) {
            (Some(command), _) => Some(Event::Reply(world.deliver(&command, &Business::Done))),
            (None, Status::Paused) => Some(order(Verb::Resume)),
            (None, Status::Parked) if retries < RETRIES_MAX => {
                retries += 1;
                Some(order(Verb::Retry { step: None }))
            }
            (None, Status::Parked) => Some(order(Verb::Close)),
            (None, _) => None,
        };
        let outgoing = match event {
            Some(event) => Some(world.decide(event)),
            None => world.wait(),
        };
        let Some(outgoing) = outgoing else { return Ok(world.history) };
        wire.extend(outgoing.commands);
    }
    Err(format!("it never ends: {}", world.state.status_word()))
}

#[test]
fn sagas_stored_by_version_0_1_are_led_to_an_end() {
    let definitions = definitions();
    let mut ends = std::collections::BTreeMap::new();
    for (place, stored) in corpus().iter().enumerate() {
        let name = if stored.saga == NAME_THEN { NAME_NOW } else { &stored.saga };
        let named = |definition: &&SagaDefinition| definition.name == *name;
        let definition = definitions.iter().find(named).expect("a fixture");
        let (state, history) = stored.read().unwrap_or_else(|error| panic!("line {}: {error}", place + 1));
        let written = serde_json::to_value(&state).unwrap();
        assert_eq!(written, forms::in_form_6(stored.state.clone()), "line {}: nothing is lost", place + 1);
        let history =
            lead(definition, state, history).unwrap_or_else(|wrong| panic!("line {}: {wrong}", place + 1));
        // Version 0.1 gave a compensation up for silence, too.
        let as_it_was = |wrong: &String| wrong.starts_with("a compensation was given up after ");
        if let Some(wrong) = check::history(definition, &history).err().filter(|wrong| !as_it_was(wrong)) {
            panic!("line {}: {wrong}", place + 1);
        }
        let end = history.iter().rev().find(|row| {
            matches!(row.event, HistoryEvent::Completed | HistoryEvent::Compensated | HistoryEvent::Closed)
        });
        *ends.entry(end.map(|row| row.event)).or_insert(0) += 1;
    }
    assert_eq!(ends.get(&None), None, "all of them end: {ends:?}");
    assert!(ends.len() == 3 && ends.values().sum::<u32>() >= 40, "in each of the three ways: {ends:?}");
}

/// Does something to a text that a disk, a person or another program might do.
fn damaged(rng: &mut Rng, text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..rng.usize(1..4) {
        let at = rng.usize(..bytes.len().max(1));
        match rng.u8(..5) {
            0 => bytes.truncate(at),
            1 => bytes.splice(at..at, std::iter::repeat_n(rng.u8(..), rng.usize(1..9))).for_each(drop),
            2 if at < bytes.len() => bytes[at] = rng.u8(..),
            3 => drop(bytes.drain(at..(at + rng.usize(1..40)).min(bytes.len()))),
            _ => {
                let copied = bytes[at..(at + rng.usize(1..40)).min(bytes.len())].to_vec();
                bytes.splice(at..at, copied).for_each(drop);
            }
        }
    }
    bytes
}

/// Puts another value in the place of some value below.
fn altered(rng: &mut Rng, value: &mut Value) {
    let deeper = rng.u8(..8) > 0;
    match value {
        Value::Object(fields) if deeper && !fields.is_empty() => {
            let nth = rng.usize(..fields.len());
            let field = fields.values_mut().nth(nth).expect("it is one of them");
            altered(rng, field);
        }
        Value::Array(items) if deeper && !items.is_empty() => {
            let nth = rng.usize(..items.len());
            altered(rng, &mut items[nth]);
        }
        _ => {
            *value = [
                json!(null),
                json!(-1),
                json!(1e300),
                json!(u64::MAX),
                json!("\u{202e}no such word"),
                json!([[]]),
                json!({ "open": null }),
                json!({ "parked": { "code": "unheard-of" } }),
                json!("9999999-99-99T99:99:99Z"),
            ][rng.usize(..9)]
            .clone();
        }
    }
}

#[test]
fn damaged_rows_are_read_or_refused_with_a_reason() {
    let rows = corpus();
    let mut rng = Rng::with_seed(7);
    let (mut read_states, mut refused) = (0, 0);
    for number in 0..DAMAGED {
        let stored = &rows[rng.usize(..rows.len())];
        let row = &stored.history[rng.usize(..stored.history.len())];
        let (mut state, mut entry) = (stored.state.clone(), row.clone());
        let (state, entry) = if number % 2 == 0 {
            altered(&mut rng, &mut state);
            altered(&mut rng, &mut entry);
            (state.to_string().into_bytes(), entry.to_string().into_bytes())
        } else {
            (damaged(&mut rng, &state.to_string()), damaged(&mut rng, &entry.to_string()))
        };
        match read::<SagaState>(&state) {
            Ok(state) => {
                // A state that is read is asked for its time and its status, and written again as it was read.
                let _ = (state.due_at(), state.status_word(), state.cause());
                let again: SagaState = read(&serde_json::to_vec(&state).unwrap()).unwrap();
                assert_eq!(again, state);
                read_states += 1;
            }
            Err(problem) => {
                assert!(!problem.is_empty());
                refused += 1;
            }
        }
        if let Err(problem) = read::<HistoryEntry>(&entry) {
            assert!(!problem.is_empty());
        }
        let word = String::from_utf8_lossy(&entry);
        let _ = (word.parse::<HistoryEvent>(), word.parse::<Phase>(), JsonText::parse(&entry));
    }
    assert!(read_states > 100 && refused > 10_000, "{read_states} read, {refused} refused");
}
