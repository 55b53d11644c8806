//! A service as its monitor sees it, whatever its handlers are.

use futures_util::future::BoxFuture;
use redress_core::{Name, Phase};
use redress_wire::Wire;

use crate::stats::Stats;

/// A service as its monitor sees it.
pub(crate) trait Watched: Send + Sync {
    fn service(&self) -> &Name;
    fn stats(&self) -> &Stats;
    fn wire(&self) -> &Wire;
    /// The commands that run and wait beside the batches, by handler.
    fn loads(&self) -> Vec<Load>;
    /// Asks the database, if the service has one; the error in one line.
    fn ask_database(&self) -> BoxFuture<'_, Result<(), String>>;
}

/// The commands of one handler.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Load {
    /// `any` if the handler is for all that have none.
    pub(crate) command: String,
    pub(crate) phase: Phase,
    pub(crate) running: usize,
    pub(crate) waiting: usize,
    /// How many may run beside each other.
    pub(crate) concurrency: usize,
}
