//! The results of a definition's closures on example data: the second thing that may not change under a version.
//!
//! The [digest](crate::digest) of a graph covers the shape of a definition. A closure that sends twice the amount has
//! the same shape, so the closures are tried: on example data that are generated from the schema of the saga's data, or
//! given by the author, each step in its turn, with example replies folded in on the way. A behaviour keeps the
//! commands, the compensations and whether conditions held, with the examples themselves: a definition is compared by
//! trying it on the examples that were stored when its version was deployed, so that neither a new example nor another
//! way of generating them makes an unchanged definition look changed.
//!
//! A closure is a pure function of the saga's data. One that is not (it makes an id, reads a clock) is tried several
//! times, and the values that differ are left out and named. A branch that no example reaches is not covered: one that
//! needs a certain text, say. A closure that panics on an example is kept as one that panics.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic;
use std::sync::Once;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::definition::{ClosureError, SagaDefinition, Step};
use crate::digest::{canonical, differences_at};
use crate::examples;
use crate::json::JsonText;

/// The form in which a behaviour is stored; another one is another program's and is not compared.
pub const SCHEME: i16 = 1;

/// How often each example is tried, to see what is made anew each time. The order of two entries of a hash map, which
/// is even odds, passes for certain once in 32,768.
const TRIES: usize = 16;

/// Size of a stored behaviour, in bytes, at most: examples beyond it are dropped.
const BYTES_MAX: usize = 256 << 10;

/// The placeholder for an element of a list that is made anew each time; of an object such a field is left out.
const MADE_ANEW: &str = "(made anew each time)";

/// Data on which the closures are tried, with the replies of its steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// The saga's data, with all defaults filled in.
    pub data: Value,
    /// The reply to the action of each step.
    pub replies: BTreeMap<String, Value>,
    /// The results of each step's closures on them.
    pub made: BTreeMap<String, Value>,
}

/// The results of a definition's closures on its examples.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Behaviour {
    /// One after the other.
    pub examples: Vec<Example>,
    /// Where something is made anew each time, as `<step>/<closure>/<field>`: not covered.
    #[serde(skip)]
    pub made_anew: Vec<String>,
    /// Why examples cannot be read as the saga's data, if some cannot.
    #[serde(skip)]
    pub unreadable: Vec<String>,
}

impl Behaviour {
    /// The behaviour of a definition on its author's examples, or else on generated ones.
    pub fn of(definition: &SagaDefinition) -> Self {
        let mut behaviour = Self::default();
        // Where a panic ends the process, no closure is tried on data that no saga may ever have.
        if cfg!(panic = "abort") {
            return behaviour;
        }
        for (number, data) in behaviour.data_of(definition) {
            let reply = |(place, step): (usize, &Step)| {
                (step.name.to_string(), examples::apart(&step.schemas.reply, number, place + 1))
            };
            let replies = definition.steps.iter().enumerate().map(reply).collect();
            let example = Example { data, replies, made: BTreeMap::new() };
            if !behaviour.examples.iter().any(|other| other.data == example.data) {
                behaviour.add(definition, example);
            }
        }
        let too_large = |behaviour: &Self| behaviour.to_text().len() > BYTES_MAX;
        while too_large(&behaviour) && behaviour.examples.pop().is_some() {}
        behaviour
    }

    /// Examples of the saga's data, with the number of the replies that go with them.
    fn data_of(&mut self, definition: &SagaDefinition) -> Vec<(usize, Value)> {
        let generated = match definition.examples.generated {
            true => examples::of(&definition.input_schema),
            false => Vec::new(),
        };
        let given = definition.examples.given.iter().filter_map(|data| data.read().ok());
        let mut data = Vec::new();
        for example in given.chain(generated) {
            match readable(definition, &example) {
                Ok(example) => data.push((data.len(), example)),
                Err(problem) => self.unreadable.push(problem),
            }
        }
        data
    }

    fn add(&mut self, definition: &SagaDefinition, mut example: Example) {
        let mut made = made_of(definition, &example);
        for _ in 1..TRIES {
            keep_the_same(&mut made, &made_of(definition, &example), "", &mut self.made_anew);
        }
        self.made_anew.sort();
        self.made_anew.dedup();
        if let Value::Object(made) = made {
            example.made = made.into_iter().collect();
        }
        self.examples.push(example);
    }

    /// SHA-256, in hex, of what is made of the examples; `None` if there is none.
    pub fn digest(&self) -> Option<String> {
        (!self.examples.is_empty()).then(|| hex::encode(Sha256::digest(self.to_text().as_bytes())))
    }

    /// As it is stored: the same behaviour is the same text.
    pub fn to_text(&self) -> String {
        canonical(&json!({ "examples": self.examples }))
    }

    /// As it was stored.
    ///
    /// # Errors
    /// If it is no behaviour.
    pub fn from_text(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Returns true if both were tried on the same data and replies.
    pub fn has_the_examples_of(&self, other: &Self) -> bool {
        let inputs = |behaviour: &Self| {
            behaviour.examples.iter().map(|e| (e.data.clone(), e.replies.clone())).collect::<Vec<_>>()
        };
        inputs(self) == inputs(other)
    }

    /// The results of a definition on these examples that differ from those kept here, one line for each step.
    ///
    /// Nothing if its author wants closures left out.
    pub fn differences(&self, definition: &SagaDefinition) -> Vec<String> {
        if cfg!(panic = "abort") || definition.examples.are_none() {
            return Vec::new();
        }
        let mut lines: BTreeMap<&str, String> = BTreeMap::new();
        for example in &self.examples {
            let mut now = Self::default();
            now.add(definition, Example { made: BTreeMap::new(), ..example.clone() });
            let now = now.examples.first().map(|example| &example.made);
            for step in &definition.steps {
                let name = step.name.as_str();
                let (before, now) = (example.made.get(name), now.and_then(|made| made.get(name)));
                let (Some(before), Some(now)) = (before, now) else { continue };
                let differences = differences_at("", before, now);
                if !differences.is_empty() && !lines.contains_key(name) {
                    let differences = differences.join(", ");
                    lines.insert(
                        name,
                        format!("step `{name}` makes something else of the same data: {differences}"),
                    );
                }
            }
        }
        lines.into_values().collect()
    }
}

/// The example as the saga's first data; what the definition makes anew (ids) is replaced by something that stays.
fn readable(definition: &SagaDefinition, example: &Value) -> Result<Value, String> {
    let read = || quietly(|| definition.read_input(example)).map_err(|invalid| invalid.to_string());
    let value = |data: JsonText| data.read::<Value>().map_err(|error| error.to_string());
    let (mut data, again) = (value(read()?)?, value(read()?)?);
    let mut made = 0;
    fix(&mut data, &again, &mut made);
    Ok(data)
}

fn fix(value: &mut Value, again: &Value, made: &mut u32) {
    match (value, again) {
        (Value::Object(fields), Value::Object(again)) => {
            for (name, value) in fields {
                if let Some(again) = again.get(name) {
                    fix(value, again, made);
                }
            }
        }
        (Value::Array(items), Value::Array(again)) => {
            items.iter_mut().zip(again).for_each(|(item, again)| fix(item, again, made));
        }
        (value, again) if value != again => {
            *made += 1;
            let fixed = fixed(value, *made);
            *value = fixed;
        }
        (_, _) => {}
    }
}

/// Something of the same kind that is the same in every process.
fn fixed(value: &Value, number: u32) -> Value {
    match value {
        Value::String(text) if uuid::Uuid::try_parse(text).is_ok() => {
            json!(format!("00000000-0000-7000-8000-{:012x}", 0xf000 + number))
        }
        Value::String(text) if chrono::DateTime::parse_from_rfc3339(text).is_ok() => {
            json!(format!("2026-02-{:02}T00:00:00Z", number % 28 + 1))
        }
        Value::String(_) => json!(format!("made{number}")),
        Value::Number(_) => json!(number),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => Value::Null,
    }
}

/// The results of the closures on an example, by step.
fn made_of(definition: &SagaDefinition, example: &Example) -> Value {
    let Ok(mut data) = JsonText::of(&example.data) else { return Value::Null };
    let (start, mut made) = (data.clone(), Map::new());
    quietly(|| {
        for step in &definition.steps {
            let mut of_step = Map::new();
            let applies = step.applies(&data);
            if step.is_conditional() {
                of_step
                    .insert("when".to_owned(), applies.as_ref().map_or_else(failure, |holds| json!(holds)));
            }
            match step.order_key(&start) {
                Ok(None) => {}
                Ok(Some(key)) => drop(of_step.insert("ordered_by".to_owned(), json!(key))),
                Err(error) => drop(of_step.insert("ordered_by".to_owned(), failure(&error))),
            }
            if let Some(made) = step.wait_made(&data) {
                of_step.insert("wait".to_owned(), made.unwrap_or_else(|error| failure(&error)));
            }
            if step.kind.is_sent() {
                let command = step.action_payload(&data);
                of_step.insert("command".to_owned(), command.as_ref().map_or_else(failure, payload));
            }
            let reply = example.replies.get(step.name.as_str()).map(JsonText::of);
            if let (Ok(true), Some(Ok(reply))) = (&applies, reply) {
                let closure = if step.kind.is_sent() { "on_reply" } else { "on_event" };
                match step.fold_reply(&data, &reply) {
                    Ok(folded) => data = folded,
                    Err(error) => drop(of_step.insert(closure.to_owned(), failure(&error))),
                }
            }
            match step.compensation_payload(&data) {
                Ok(None) => {}
                Ok(Some(command)) => drop(of_step.insert("compensation".to_owned(), payload(&command))),
                Err(error) => drop(of_step.insert("compensation".to_owned(), failure(&error))),
            }
            made.insert(step.name.to_string(), Value::Object(of_step));
        }
    });
    Value::Object(made)
}

fn payload(payload: &JsonText) -> Value {
    payload.read().unwrap_or_default()
}

/// How a closure failed, without words that other libraries choose.
fn failure(error: &ClosureError) -> Value {
    match error {
        ClosureError::Data { .. } => json!("(the data or the reply could not be read)"),
        ClosureError::Unfit { .. } => json!("(it could not be sent or stored)"),
        ClosureError::Panicked { .. } => json!("(the closure panicked)"),
    }
}

/// Takes out of `made` what another try made differently.
fn keep_the_same(made: &mut Value, again: &Value, path: &str, anew: &mut Vec<String>) {
    match (made, again) {
        (Value::Object(fields), Value::Object(again)) => {
            let names: Vec<String> = fields.keys().chain(again.keys()).cloned().collect();
            for name in names {
                let path = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
                match (fields.get_mut(&name), again.get(&name)) {
                    (Some(value), Some(again)) if both_nest(value, again) => {
                        keep_the_same(value, again, &path, anew);
                    }
                    (Some(value), Some(again)) if value == again => {}
                    (Some(_), _) => {
                        fields.remove(&name);
                        anew.push(path);
                    }
                    // Taken out before.
                    (None, _) => anew.push(path),
                }
            }
        }
        (Value::Array(items), Value::Array(again)) => {
            for (place, (item, again)) in items.iter_mut().zip(again).enumerate() {
                let path = format!("{path}/{place}");
                if both_nest(item, again) {
                    keep_the_same(item, again, &path, anew);
                } else if item != again {
                    *item = json!(MADE_ANEW);
                    anew.push(path);
                }
            }
        }
        (_, _) => {}
    }
}

/// Two objects, or two lists of one length.
fn both_nest(value: &Value, again: &Value) -> bool {
    match (value, again) {
        (Value::Object(_), Value::Object(_)) => true,
        (Value::Array(items), Value::Array(again)) => items.len() == again.len(),
        (_, _) => false,
    }
}

thread_local! {
    /// True while this thread is trying closures, whose panics are expected.
    static TRYING: Cell<bool> = const { Cell::new(false) };
}

/// Tries closures without a word about their panics on standard error: on an example that no saga ever has, they would
/// look like a crash.
fn quietly<T>(closures: impl FnOnce() -> T) -> T {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !TRYING.get() {
                loud(panic);
            }
        }));
    });
    struct Loud;
    impl Drop for Loud {
        fn drop(&mut self) {
            TRYING.set(false);
        }
    }
    TRYING.set(true);
    let _loud = Loud;
    closures()
}
