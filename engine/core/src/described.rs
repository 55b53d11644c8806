//! A definition as people read it: its graph, with the policies said in words.
//!
//! The words are no part of the graph, and so of no digest: they may be put better without a new version of any
//! definition.

use serde_json::{Value, json};

use crate::definition::{SagaDefinition, Step, StepKind};
use crate::retry::in_words;
use crate::waiting::{AwaitedEvent, OnTimeout};

impl SagaDefinition {
    /// The [graph](Self::graph) with the digest, and beside each `retry` a `policy` that says in words how long the command is
    /// tried and what follows then; and with the guarantee of each step's `delivery`. This is what HTTP and `redress definitions` show.
    pub fn described(&self) -> Value {
        let mut graph = self.graph();
        graph["digest"] = json!(self.digest);
        for (place, step) in self.steps.iter().enumerate() {
            let node = &mut graph["steps"][place];
            node["policy"] = json!(action_policy(step));
            if let Some(delivery) = step.guarantee() {
                node["delivery"] = json!(delivery);
            }
            if let Some(policy) = compensation_policy(step) {
                node["compensation"]["policy"] = json!(policy);
            }
        }
        graph
    }
}

fn action_policy(step: &Step) -> String {
    match step.kind {
        StepKind::Notification => "sent once".to_owned(),
        StepKind::Retriable => "tried until it succeeds".to_owned(),
        StepKind::Wait(_) => "waits for as long as its data say".to_owned(),
        StepKind::Event(AwaitedEvent { timeout_ms, on_timeout, .. }) => {
            let then = match on_timeout {
                OnTimeout::TurnBack => "the saga turns back",
                OnTimeout::GoOn => "the saga goes on without it",
            };
            format!("awaited for at most {}, then {then}", in_words(timeout_ms))
        }
        StepKind::Compensatable { .. } | StepKind::Pivot if step.retry.is_bounded() => {
            let then = if step.is_remembered() { "settled" } else { "left in doubt" };
            format!("tried {}, then {then}", step.retry)
        }
        StepKind::Compensatable { .. } | StepKind::Pivot => format!("tried {}", step.retry),
    }
}

fn compensation_policy(step: &Step) -> Option<String> {
    let retry = step.compensation()?.retry;
    let then = if retry.is_bounded() { ", then parked; in silence for ever" } else { "" };
    Some(format!("tried {retry}{then}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::contract::{Command, Compensates};
    use crate::definition::Delivery;
    use crate::retry::RetryPolicy;
    use crate::saga;

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Do {}
    impl Command for Do {
        const SERVICE: &'static str = "world";
        const NAME: &'static str = "do";
        type Reply = ();
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Undo {}
    impl Command for Undo {
        const SERVICE: &'static str = "world";
        const NAME: &'static str = "undo";
        type Reply = ();
    }
    impl Compensates<Do> for Undo {}

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Sale {}

    #[test]
    fn definition_is_described_with_its_policies_in_words() {
        let minute = RetryPolicy::for_at_most(Duration::from_secs(60));
        let definition = saga::<Sale>("sell", 1)
            .step("by-default", |_| Do {})
            .compensate(|_| Undo {})
            .step("both", |_| Do {})
            .compensate(|_| Undo {})
            .retry(minute.attempts(5))
            .compensation_retry(RetryPolicy::FOR_EVER)
            .step("once", |_| Do {})
            .compensate(|_| Undo {})
            .retry(RetryPolicy::ACTION.attempts(1))
            .compensation_retry(minute)
            .step("for-ever", |_| Do {})
            .no_compensation()
            .retry(RetryPolicy::FOR_EVER)
            .step("forgotten", |_| Do {})
            .no_compensation()
            .delivery(Delivery::AtLeastOnce)
            .notify("tell", |_| Do {})
            .pivot("decide", |_| Do {})
            .retriable("finish", |_| Do {})
            .retry(minute.attempts(5))
            .delivery(Delivery::AtLeastOnce)
            .build();
        let described = definition.described();
        let line = |step: &Value| {
            let words = |value: &Value| value["policy"].as_str().unwrap_or("-").to_owned();
            let name = step["name"].as_str().unwrap_or_default();
            let delivery = step["delivery"].as_str().unwrap_or("-");
            format!("{name}: {delivery}, {} | {}", words(step), words(&step["compensation"]))
        };
        let lines: Vec<String> = described["steps"].as_array().into_iter().flatten().map(line).collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        by-default: exactly-once, tried for at most 2 min, then settled | tried at most 20 times, then parked; in silence for ever
        both: exactly-once, tried at most 5 times and for at most 1 min, then settled | tried for ever
        once: exactly-once, tried once, then settled | tried for at most 1 min, then parked; in silence for ever
        for-ever: exactly-once, tried for ever | -
        forgotten: at-least-once, tried for at most 2 min, then left in doubt | -
        tell: at-most-once, sent once | -
        decide: exactly-once, tried for at most 2 min, then settled | -
        finish: at-least-once, tried until it succeeds | -
        ");
        assert_eq!(described["digest"], json!(definition.digest));
        assert_eq!(definition.graph()["steps"][0]["policy"], Value::Null, "words are no part of the graph");
    }
}
