//! Actions and their compensations, held against each other.
//!
//! An action that cannot be undone is a decision, and it is written down: every action either has a compensation in the
//! same `impl` that names it, or is marked `no_compensation`. The types of a pair are checked by the generated code.

use std::collections::HashMap;

use syn::Ident;

use super::called::Called;
use super::handler::Handler;
use crate::keys::Problems;

/// Each action with a compensation that names it.
pub(crate) fn of(handlers: &[Handler]) -> impl Iterator<Item = (&Handler, &Handler)> {
    handlers.iter().flat_map(move |compensation| {
        compensation.of.iter().filter_map(move |name| Some((action(handlers, name)?, compensation)))
    })
}

fn action<'h>(handlers: &'h [Handler], name: &Ident) -> Option<&'h Handler> {
    handlers.iter().find(|handler| handler.kind.is_action() && handler.method == *name)
}

/// Notes every handler that has no partner, or the wrong one.
///
/// Those of commands whose handlers call third parties are named by their types, and a saga holds them against each other.
pub(crate) fn check(handlers: &[Handler], called: &[Called], problems: &mut Problems) {
    doubled_commands(handlers, problems);
    for handler in handlers {
        if handler.kind.is_action() {
            check_action(handlers, handler, problems);
        } else {
            check_compensation(handlers, called, handler, problems);
        }
    }
}

fn doubled_commands(handlers: &[Handler], problems: &mut Problems) {
    let mut methods = HashMap::new();
    for handler in handlers {
        if let Some(first) = methods.insert(handler.command_text(), &handler.method) {
            let command = handler.command_text();
            problems.add(
                handler.method.span(),
                format!(
                    "`{first}` handles `{command}` already: a command has one handler; leave one of them out"
                ),
            );
        }
    }
}

fn check_action(handlers: &[Handler], handler: &Handler, problems: &mut Problems) {
    let name = &handler.method;
    if handler.no_compensation.is_none() && !of(handlers).any(|(action, _)| action.method == *name) {
        let mark = handler.kind.mark();
        problems.add(
            handler.mark,
            format!(
                "`{name}` has no compensation: write `#[compensation(of = {name})]` above the method that undoes it, or \
                 `#[{mark}(no_compensation)]` here if nothing does"
            ),
        );
    }
}

fn check_compensation(handlers: &[Handler], called: &[Called], handler: &Handler, problems: &mut Problems) {
    if handler.of.is_empty() {
        let mark = handler.kind.mark();
        problems.add(
            handler.mark,
            format!("`{}` must name the action that it undoes: write `#[{mark}(of = ..)]`", handler.method),
        );
    }
    for (place, name) in handler.of.iter().enumerate() {
        if handler.of[..place].contains(name) {
            problems.add(name.span(), format!("`{name}` stands twice: leave one of them out"));
            continue;
        }
        match action(handlers, name) {
            None if called.iter().any(|called| called.is_action_named(name)) => {}
            None => {
                problems.add(name.span(), format!("`{name}` is no action of this `impl`{}", known(handlers)))
            }
            Some(action) => {
                if let Some(mark) = &action.no_compensation {
                    let message =
                        format!("`{name}` is marked `{mark}`: take the mark away, or this compensation");
                    problems.add(name.span(), message);
                }
            }
        }
    }
}

/// The actions that could have been meant.
fn known(handlers: &[Handler]) -> String {
    let actions: Vec<String> = handlers
        .iter()
        .filter(|handler| handler.kind.is_action())
        .map(|handler| format!("`{}`", handler.method))
        .collect();
    match &actions[..] {
        [] => ", which has none".to_owned(),
        [one] => format!("; there is {one}"),
        more => format!("; there are {}", more.join(", ")),
    }
}
