//! The health of a coordinator: its readiness, and the sagas that are open.
//!
//! Probes send their queries on connections of their own, one query of a kind at a time ([`SharedLook`]): clients that
//! wait cannot keep a probe waiting, and a probe cannot keep clients waiting.

use std::collections::BTreeMap;

use crate::config::Admission;
use crate::engine::Engine;
use crate::journal::PgJournal;
use crate::ports::{Bus, BusHealth, Clock, JournalError, JournalReads, JournalUpkeep, OpenSagas, UnderWay};
use crate::requests::{LiveVersion, Mode, Readiness};

impl<J: JournalReads + JournalUpkeep, B: Bus, C: Clock> Engine<J, B, C> {
    /// The work that a draining coordinator still has: the sagas of versions that are known here that were started
    /// before this coordinator was.
    ///
    /// The sagas that other coordinators start meanwhile are theirs, and a saga that rests is for an operator and any
    /// coordinator: neither keeps this one.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub async fn under_way(&self) -> Result<UnderWay, JournalError> {
        let known = self.parts.decider.rules.registry.known();
        self.parts.decider.journal.under_way(&known, self.parts.opened_at).await
    }

    /// Versions with sagas that have not ended, those that are not known here among them.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub async fn live(&self) -> Result<Vec<LiveVersion>, JournalError> {
        let open = self.parts.probes.open.ask(known(self.parts.decider.journal.open_sagas())).await;
        Ok(self.live_of(open.ok_or_else(JournalError::given_up)?))
    }

    fn live_of(&self, open: Vec<OpenSagas>) -> Vec<LiveVersion> {
        let all = self.parts.decider.rules.registry.all();
        let live = open.into_iter().map(|OpenSagas { saga, version, count }| LiveVersion {
            known_here: all.iter().any(|d| *d.name == *saga && d.version == version),
            saga,
            version,
            open: count,
        });
        live.collect()
    }

    /// The number of sagas by definition, version and status.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub async fn census(&self) -> Result<Vec<(String, u32, String, i64)>, JournalError> {
        let census = self.parts.probes.census.ask(known(self.parts.decider.journal.census())).await;
        census.ok_or_else(JournalError::given_up)
    }

    /// Reports if the journal can be written, and if the broker is there.
    pub async fn readiness(&self) -> Readiness {
        let journal = &self.parts.decider.journal;
        let look = async {
            match journal.ready().await {
                Ok(()) => ("ok".to_owned(), journal.open_sagas().await.unwrap_or_default()),
                Err(error) => {
                    tracing::debug!(error = error.with_causes(), "not ready");
                    (error.to_string(), Vec::new())
                }
            }
        };
        let (database, open) = self.parts.probes.readiness.ask(look).await;
        let broker = match self.parts.publisher.bus.health() {
            BusHealth::Connected => "ok".to_owned(),
            BusHealth::Disconnected => "not connected; commands go out when it is back".to_owned(),
            BusHealth::Strange => "its streams belong to another installation; see the log".to_owned(),
        };
        let waiting_versions = self.live_of(open).into_iter().filter(|live| !live.known_here).collect();
        let mode = match (*self.parts.started.borrow(), self.parts.config.admission) {
            (false, _) => Mode::Paused,
            (true, Admission::Draining) => Mode::Draining,
            (true, Admission::Open) => Mode::Serving,
        };
        let ready = database == "ok" && broker == "ok";
        Readiness { ready, database, broker, mode, waiting_versions }
    }
}

impl<B: Bus, C: Clock> Engine<PgJournal, B, C> {
    /// The settings of the database on which durability depends.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub async fn durability(&self) -> Result<BTreeMap<String, String>, JournalError> {
        self.parts.decider.journal.durability().await
    }
}

/// An answer that can be shared.
async fn known<T>(answer: impl Future<Output = Result<T, JournalError>>) -> Option<T> {
    let known = answer.await;
    known.inspect_err(|error| tracing::debug!(error = error.with_causes(), "sagas not counted")).ok()
}
