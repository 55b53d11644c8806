//! Standing faults of the installation.

use redress_core::SagaDefinition;
use redress_core::fault::{Fault, UnmatchedFault};

use crate::engine::Engine;
use crate::journal::{ListedFault, PgJournal};
use crate::ports::{Bus, Clock, JournalError};
use crate::requests::FaultError;

impl<J, B, C> Engine<J, B, C> {
    /// Returns true if failures may be injected.
    pub fn allows_faults(&self) -> bool {
        self.parts.config.allow_faults
    }
}

impl<B: Bus, C: Clock> Engine<PgJournal, B, C> {
    /// The standing faults.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub async fn faults(&self) -> Result<Vec<ListedFault>, JournalError> {
        self.parts.decider.journal.faults().await
    }

    /// Reads a standing fault as it was given, and looks first if the step or command that it names is there.
    ///
    /// # Errors
    /// [`FaultError::NotAllowed`] unless faults are allowed; [`FaultError::UnmatchedFault`] if no definition here has
    /// the step or command that it names; [`FaultError::Unreadable`] if something else is wrong with it.
    pub fn read_fault(&self, given: serde_json::Value) -> Result<Fault, FaultError> {
        if !self.parts.config.allow_faults {
            return Err(FaultError::NotAllowed);
        }
        Ok(redress_core::fault::read(given, &self.known())?)
    }

    /// Adds a standing fault and gives its number.
    ///
    /// # Errors
    /// [`FaultError::NotAllowed`] unless faults are allowed; [`FaultError::UnmatchedFault`] if no definition here has
    /// the step or command that it names, or the journal has no such saga.
    pub async fn add_fault(&self, fault: &Fault) -> Result<i64, FaultError> {
        if !self.parts.config.allow_faults {
            return Err(FaultError::NotAllowed);
        }
        fault.check_reach(&self.known())?;
        if let Some(saga_id) = fault.saga_id
            && self.parts.decider.journal.saga(saga_id).await?.is_none()
        {
            return Err(UnmatchedFault::NoSuchSagaId(saga_id).into());
        }
        Ok(self.parts.decider.journal.add_fault(fault).await?)
    }

    /// The definitions that a fault may name.
    fn known(&self) -> Vec<&SagaDefinition> {
        self.parts.decider.rules.registry.all().iter().map(|definition| &**definition).collect()
    }

    /// Takes a standing fault away; returns false if there is none of this number.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub async fn remove_fault(&self, id: i64) -> Result<bool, JournalError> {
        self.parts.decider.journal.remove_fault(id).await
    }

    /// Takes all standing faults away and says how many there were.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub async fn clear_faults(&self) -> Result<u64, JournalError> {
        self.parts.decider.journal.clear_faults().await
    }
}
