//! Executes a batch: in a task of its own, and again if it met another one.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use redress_core::CommandMessage;

use crate::batch;
use crate::config::count;
use crate::inbox::Inbox;
use crate::isolation::Isolation;
use crate::member::Verdict;
use crate::unit_error::{Disposition, UnitError};

/// How often a batch that met another one is run again before its members are run alone.
const COLLISIONS_MAX: u32 = 5;
/// The longest pause before the first of these runs; it doubles. As long as a short transaction takes.
const COLLISION_PAUSE: Duration = Duration::from_millis(10);

/// Runs a batch in a task of its own, because nothing may cancel a `begin` or a `commit`; a verdict for each command.
pub(crate) async fn execute<S: Send + Sync + 'static>(
    inbox: &Arc<Inbox<S>>,
    commands: Arc<[CommandMessage]>,
    lock_wait: Duration,
    isolation: &Isolation,
) -> Result<Vec<Verdict>, UnitError> {
    let mut collisions = 0;
    loop {
        let (of_unit, commands, isolation) = (inbox.clone(), commands.clone(), isolation.clone());
        let unit = tokio::spawn(async move { batch::run(&of_unit, &commands, lock_wait, &isolation).await });
        match unit.await.unwrap_or_else(|panicked| Err(UnitError::Panicked(panicked))) {
            Err(error) if error.disposition() == Disposition::Collision && collisions < COLLISIONS_MAX => {
                collisions += 1;
                count(&inbox.stats.batch_retries);
                tracing::debug!(error = error.chain(), "batch met another one; again");
                tokio::time::sleep(pause_after(collisions)).await;
            }
            result => return result,
        }
    }
}

/// The execution of batches, the type of the handlers forgotten.
#[cfg(feature = "testing")]
pub(crate) trait Executes: Send + Sync {
    /// Runs a batch; a verdict for each command.
    fn execute(
        &self,
        commands: Arc<[CommandMessage]>,
        lock_wait: Duration,
    ) -> futures_util::future::BoxFuture<'_, Result<Vec<Verdict>, UnitError>>;
}

#[cfg(feature = "testing")]
impl<S: Send + Sync + 'static> Executes for Arc<Inbox<S>> {
    fn execute(
        &self,
        commands: Arc<[CommandMessage]>,
        lock_wait: Duration,
    ) -> futures_util::future::BoxFuture<'_, Result<Vec<Verdict>, UnitError>> {
        Box::pin(execute(self, commands, lock_wait, &Isolation::Everything))
    }
}

/// A pause of chance length before a batch that met another one runs again, lest both meet again.
fn pause_after(collisions: u32) -> Duration {
    let chance = f64::from(RandomState::new().hash_one(collisions) as u32) / f64::from(u32::MAX);
    COLLISION_PAUSE.mul_f64(chance) * 2_u32.pow(collisions)
}
