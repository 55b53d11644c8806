//! A definition as a picture: mermaid, the forward path and the way back.
//!
//! Names of nodes are made here and labels are quoted: a step may be named `end`, which mermaid would otherwise take
//! for its own word.

use crate::definition::{Delivery, SagaDefinition, Step, StepKind};
use crate::ids::Name;
use crate::retry::in_words;
use crate::waiting::{AwaitedEvent, OnTimeout};

impl SagaDefinition {
    /// A mermaid flowchart: solid arrows go forward, dotted ones undo, the hexagon is the point of no return.
    pub fn to_mermaid(&self) -> String {
        let mut lines =
            vec!["flowchart LR".to_owned(), format!("    start([\"{} v{}\"])", self.name, self.version)];
        let mut before = vec!["start".to_owned()];
        for stage in self.steps.chunk_by(|step, next| step.stage == next.stage) {
            let nodes: Vec<String> = stage.iter().map(|step| node("do", &step.name)).collect();
            for (step, node) in stage.iter().zip(&nodes) {
                lines.push(format!("    {node}{}", shape(step)));
                lines.extend(before.iter().map(|before| format!("    {before} --> {node}")));
            }
            before = nodes;
        }
        lines.extend(before.iter().map(|before| format!("    {before} --> completed([\"completed\"])")));
        self.draw_the_way_back(&mut lines);
        lines.push(String::new());
        lines.join("\n")
    }

    /// The compensations from last to first, reached from the step that decides the saga.
    fn draw_the_way_back(&self, lines: &mut Vec<String>) {
        let may_fail = |step: &Step| match step.kind {
            StepKind::Compensatable { .. }
            | StepKind::Pivot
            | StepKind::Event(AwaitedEvent { on_timeout: OnTimeout::TurnBack, .. }) => true,
            StepKind::Event(AwaitedEvent { on_timeout: OnTimeout::GoOn, .. })
            | StepKind::Retriable
            | StepKind::Notification
            | StepKind::Wait(_) => false,
        };
        let Some(decides) = self.steps.iter().rposition(may_fail) else { return };
        let undone: Vec<&Step> =
            self.steps.iter().rev().filter(|step| step.compensation().is_some()).collect();
        for step in &undone {
            if let Some(compensation) = step.compensation() {
                let (action, undo) = (node("do", &step.name), node("undo", &step.name));
                lines.push(format!("    {undo}[/\"{}.{}\"/]", step.service, compensation.command));
                lines.push(format!("    {action} -.- {undo}"));
            }
        }
        lines.push("    compensated([\"compensated\"])".to_owned());
        let why = if self.steps[decides].kind.is_sent() { "rejected" } else { "timed out" };
        let decides = &self.steps[decides].name;
        let first = undone.iter().find(|step| step.name != *decides);
        let first = first.map_or_else(|| "compensated".to_owned(), |step| node("undo", &step.name));
        lines.push(format!("    {} -. \"{why}\" .-> {first}", node("do", decides)));
        for (place, step) in undone.iter().enumerate() {
            let next = undone.get(place + 1);
            let next = next.map_or_else(|| "compensated".to_owned(), |step| node("undo", &step.name));
            lines.push(format!("    {} -.-> {next}", node("undo", &step.name)));
        }
    }
}

/// A word that is no word of mermaid's; names have no underscore, so no two are the same.
fn node(what: &str, name: &Name) -> String {
    format!("{what}_{}", name.replace('-', "_"))
}

fn shape(step: &Step) -> String {
    let mut label = match &step.kind {
        StepKind::Wait(_) => format!("{}<br/>a wait", step.name),
        StepKind::Event(event) => {
            format!("{}<br/>an event, awaited for {}", step.name, in_words(event.timeout_ms))
        }
        StepKind::Compensatable { .. } | StepKind::Pivot | StepKind::Retriable | StepKind::Notification => {
            format!("{}<br/>{}.{}", step.name, step.service, step.command)
        }
    };
    if step.delivery == Delivery::AtLeastOnce {
        label.push_str("<br/>at least once");
    }
    if step.is_conditional() {
        label.push_str("<br/>if its condition holds");
    }
    match step.kind {
        StepKind::Compensatable { .. } => format!("[\"{label}\"]"),
        StepKind::Pivot => format!("{{{{\"{label}<br/>no return from here\"}}}}"),
        StepKind::Retriable => format!("[[\"{label}<br/>until it succeeds\"]]"),
        StepKind::Wait(_) | StepKind::Event(_) => format!("(\"{label}\")"),
        StepKind::Notification => format!("[\\\"{label}<br/>told, not asked\"\\]"),
    }
}
