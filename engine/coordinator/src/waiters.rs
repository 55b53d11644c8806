//! Wakes the callers that wait for the end of a saga.
//!
//! A hint within this process: another coordinator may end the saga, of which `end_watch` hears.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use redress_core::SagaId;
use tokio::sync::{Notify, mpsc, oneshot};

/// A saga has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The saga.
    pub id: SagaId,
    /// `completed`, `compensated`, or `parked`, which ends the waiting too.
    pub status: &'static str,
}

#[derive(Debug, Default)]
pub(crate) struct Waiters {
    one: Mutex<HashMap<SagaId, Vec<oneshot::Sender<()>>>>,
    /// Notified when a caller begins to wait, and when there will never be one again: `end_watch` sleeps until then.
    arrival: Arc<Notify>,
    all: Mutex<Vec<mpsc::UnboundedSender<Ended>>>,
}

/// Forgets, when it is dropped, the callers that have stopped waiting for this saga.
pub(crate) struct Forget<'a> {
    pub(crate) waiters: &'a Waiters,
    pub(crate) id: SagaId,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.waiters.forget(self.id);
    }
}

impl Drop for Waiters {
    fn drop(&mut self) {
        self.arrival.notify_one();
    }
}

impl Waiters {
    /// Notified when a caller may have begun to wait; it does not keep the waiters alive.
    pub(crate) fn arrival(&self) -> Arc<Notify> {
        self.arrival.clone()
    }

    pub(crate) fn wait_for(&self, id: SagaId) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.one.lock().expect("no thread panics while it holds the waiters");
        let senders = waiting.entry(id).or_default();
        senders.retain(|sender| !sender.is_closed());
        senders.push(sender);
        self.arrival.notify_one();
        receiver
    }

    /// The sagas for which callers wait.
    pub(crate) fn awaited(&self) -> Vec<SagaId> {
        self.one.lock().expect("no thread panics while it holds the waiters").keys().copied().collect()
    }

    /// The number of sagas for which a caller waits.
    pub(crate) fn waited_for(&self) -> usize {
        self.one.lock().expect("no thread panics while it holds the waiters").len()
    }

    fn forget(&self, id: SagaId) {
        let mut waiting = self.one.lock().expect("no thread panics while it holds the waiters");
        if let Some(senders) = waiting.get_mut(&id) {
            senders.retain(|sender| !sender.is_closed());
            if senders.is_empty() {
                waiting.remove(&id);
            }
        }
    }

    pub(crate) fn watch(&self) -> mpsc::UnboundedReceiver<Ended> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.all.lock().expect("no thread panics while it holds the watchers").push(sender);
        receiver
    }

    /// Wakes the callers that wait for one of these, however it came about.
    pub(crate) fn wake(&self, ended: impl IntoIterator<Item = SagaId>) {
        let mut waiting = self.one.lock().expect("no thread panics while it holds the waiters");
        for saga in ended {
            for sender in waiting.remove(&saga).unwrap_or_default() {
                // A caller that has gone away needs no answer.
                let _ = sender.send(());
            }
        }
    }

    /// Tells of the sagas that this coordinator has ended or parked.
    pub(crate) fn notify(&self, ended: &[Ended]) {
        if ended.is_empty() {
            return;
        }
        self.wake(ended.iter().map(|saga| saga.id));
        let mut all = self.all.lock().expect("no thread panics while it holds the watchers");
        all.retain(|sender| ended.iter().all(|saga| sender.send(*saga).is_ok()));
    }
}
