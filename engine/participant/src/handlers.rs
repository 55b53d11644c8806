//! The handlers of a service by the name of their command.

use std::collections::HashMap;

use redress_core::{CommandMessage, Name, Phase};

use crate::dispatch::Dispatch;

/// The handlers of a service by the name of their command; `None` is the one for all that have none.
pub(crate) struct Handlers<S> {
    pub(crate) by_command: HashMap<Name, Box<dyn Dispatch<S>>>,
    pub(crate) actions_without_name: Option<Box<dyn Dispatch<S>>>,
    pub(crate) undos_without_name: Option<Box<dyn Dispatch<S>>>,
}

impl<S> Handlers<S> {
    pub(crate) fn of(&self, command: &CommandMessage) -> Option<&dyn Dispatch<S>> {
        let named = self.by_command.get(&command.command).map(Box::as_ref);
        let fallback = match command.key.phase {
            Phase::Action | Phase::Settlement => self.actions_without_name.as_deref(),
            Phase::Compensation => self.undos_without_name.as_deref(),
        };
        named.or(fallback).filter(|handler| match command.key.phase {
            Phase::Settlement => true,
            phase @ (Phase::Action | Phase::Compensation) => handler.phase() == phase,
        })
    }
}
