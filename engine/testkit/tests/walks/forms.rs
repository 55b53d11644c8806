//! What form 6 changed, told once more and on the text, so that the program that reads and writes is not its own witness.

use redress_core::Timestamp;
use serde_json::Value;

/// The fields that are times.
const TIMES: [&str; 6] = ["started_at", "ended_at", "deadline_at", "until", "since", "answer_by"];

/// A stored state of any form, as form 6 writes it. One of form 6 stays as it is.
pub(crate) fn in_form_6(mut state: Value) -> Value {
    for step in state["steps"].as_array_mut().expect("a list") {
        let step = step.as_object_mut().expect("a step");
        if step.get("generation") == Some(&Value::from(1)) {
            step.remove("generation");
        }
    }
    number_times(&mut state);
    state
}

fn number_times(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if TIMES.contains(&name.as_str()) => {
                        let time: Timestamp = text.parse().expect("a time");
                        *value = Value::from(time.timestamp_micros());
                    }
                    // The user's own: whatever stands in it is no time of ours.
                    _ if name == "payload" || name == "unfolded" => {}
                    value => number_times(value),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(number_times),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
