//! Executes a batch: in a task of its own, and again if it met another one.

use std::sync::Arc;
use std::time::Duration;

use redress_core::CommandMessage;

use crate::batch;
#[cfg(feature = "testing")]
use crate::call_store::end_call;
#[cfg(feature = "testing")]
use crate::calling::ask;
use crate::calling::carry_out;
use crate::collision::collision_pause;
use crate::config::count;
use crate::inbox::Inbox;
use crate::isolation::Isolation;
use crate::member::{Arrival, Verdict};
use crate::unit_error::UnitError;

/// Runs a batch in a task of its own, because nothing may cancel a `begin` or a `commit`; a verdict for each command.
/// If it is of one command that calls a third party, the call follows, and the transaction that concludes it.
pub(crate) async fn execute<S: Send + Sync + 'static>(
    inbox: &Arc<Inbox<S>>,
    commands: Arc<[CommandMessage]>,
    lock_wait: Duration,
    isolation: &Isolation,
    mut arrival: Arrival,
) -> Result<Vec<Verdict>, UnitError> {
    let mut collisions = 0;
    let verdicts = loop {
        let (of_unit, commands, isolation) = (inbox.clone(), commands.clone(), isolation.clone());
        let unit =
            tokio::spawn(
                async move { batch::run(&of_unit, &commands, lock_wait, &isolation, arrival).await },
            );
        match unit.await.unwrap_or_else(|panicked| Err(UnitError::Panicked(panicked))) {
            Err(error) => match collision_pause(&error, &mut collisions) {
                Some(pause) => {
                    count(&inbox.stats.batch_retries);
                    arrival = Arrival::Again;
                    tokio::time::sleep(pause).await;
                }
                None => return Err(error),
            },
            Ok(verdicts) => break verdicts,
        }
    };
    match &verdicts[..] {
        [Verdict::Calls(lease)] => Ok(vec![carry_out(inbox, &commands[0], lease, lock_wait).await?]),
        _ => Ok(verdicts),
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

    /// Calls the third party for this command, and loses the answer.
    fn die_after_call(
        &self,
        command: CommandMessage,
        lock_wait: Duration,
    ) -> futures_util::future::BoxFuture<'_, Result<AfterCall, UnitError>>;
}

/// Whether a command died after its call.
#[cfg(feature = "testing")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterCall {
    Died,
    /// There was no call.
    NoCall,
}

#[cfg(feature = "testing")]
impl<S: Send + Sync + 'static> Executes for Arc<Inbox<S>> {
    fn execute(
        &self,
        commands: Arc<[CommandMessage]>,
        lock_wait: Duration,
    ) -> futures_util::future::BoxFuture<'_, Result<Vec<Verdict>, UnitError>> {
        Box::pin(execute(self, commands, lock_wait, &Isolation::Everything, Arrival::Again))
    }

    fn die_after_call(
        &self,
        command: CommandMessage,
        lock_wait: Duration,
    ) -> futures_util::future::BoxFuture<'_, Result<AfterCall, UnitError>> {
        Box::pin(async move {
            let commands = [command];
            let verdicts =
                batch::run(self, &commands, lock_wait, &Isolation::Everything, Arrival::Again).await?;
            let [Verdict::Calls(lease)] = &verdicts[..] else { return Ok(AfterCall::NoCall) };
            drop(ask(self, &commands[0], lease).await);
            let (key, until) = (lease.key.to_string(), lease.called_until);
            self.on_connection(|connection| Box::pin(async move { end_call(connection, &key, until).await }))
                .await?;
            Ok(AfterCall::Died)
        })
    }
}
