//! Operator commands: one decision under the row lock, audited in its transaction.
//!
//! An operator command wins or it loses, and the saga's row says which. If the answer to the commit was lost, the audit
//! log says if the command is in it.

use redress_core::decide::{Event, Refusal};
use redress_core::{Name, SagaId};

use crate::engine::{Engine, Parts};
use crate::for_caller::{Asked, Decided, Undecided, decide_for_caller, set_aside};
use crate::ports::{Audit, Bus, Clock, JournalError, JournalReads};
use crate::requests::{OperatorError, OperatorRequest};
use crate::view::SagaView;

enum Refused {
    Decision(Refusal),
    Undecided(Undecided),
}

impl<J: JournalReads, B: Bus, C: Clock> Engine<J, B, C> {
    /// Carries out an operator command on a saga, if it is not too late: cancel, retry, resolve, close, pause, resume.
    ///
    /// # Errors
    /// [`OperatorError`] gives the reason for a refusal, with the saga as it is.
    pub async fn operate(&self, id: SagaId, request: OperatorRequest) -> Result<SagaView, OperatorError> {
        let before = self.saga(id).await?.ok_or(OperatorError::NotFound(id))?;
        let known = Name::new(&before.saga)
            .ok()
            .and_then(|n| self.parts.decider.rules.registry.get(&n, before.version));
        if known.is_none() {
            return Err(OperatorError::VersionNotHere(before.saga, before.version));
        }
        let verb = request.command.verb.as_str();
        let refused = self.give(id, request).await?;
        let after = self.saga(id).await?.ok_or(OperatorError::NotFound(id))?;
        match refused {
            None => Ok(after),
            Some(Refused::Decision(refusal)) => {
                Err(OperatorError::Refused { verb, refusal, saga: Box::new(after) })
            }
            Some(Refused::Undecided(Undecided::Newer(format))) => {
                let known = self.parts.config.state_format;
                Err(JournalError::Newer { id, format, known }.into())
            }
            Some(Refused::Undecided(Undecided::Gone)) => Err(OperatorError::NotFound(id)),
            Some(Refused::Undecided(Undecided::Stale)) => Err(OperatorError::StaleRevision(Box::new(after))),
            Some(Refused::Undecided(Undecided::SetAside)) => Err(set_aside(id).into()),
        }
    }

    /// Gives it, in a task of its own; nothing if it was carried out.
    async fn give(&self, id: SagaId, request: OperatorRequest) -> Result<Option<Refused>, JournalError> {
        let Parts { decider, publisher, tasks, .. } = &*self.parts;
        let (command_id, OperatorRequest { command, if_match }) = (decider.clock.new_id(), request);
        let audit = Audit {
            command_id,
            actor: command.actor.clone(),
            verb: command.verb.as_str(),
            saga_id: id,
            reason: command.reason.clone(),
        };
        let asked = Asked { event: Event::Operator(command), if_match, audit: Some(audit) };
        let unit = decide_for_caller(decider.clone(), publisher.clone(), tasks.clone(), id, asked);
        let unit = tasks.spawn(unit);
        let decided = unit.await.unwrap_or(Err(JournalError::Panicked))?;
        let (refused, maybe_before) = match decided {
            Ok(Decided { refusal, maybe_before, .. }) => (refusal.map(Refused::Decision), maybe_before),
            Err((undecided, maybe_before)) => (Some(Refused::Undecided(undecided)), maybe_before),
        };
        let ours =
            maybe_before && refused.is_some() && decider.journal.has_operator_command(command_id).await?;
        Ok(refused.filter(|_| !ours))
    }
}
