//! Shares a query among its callers: one of them at a time sends it to the database.
//!
//! However many probes come at once, they use one connection; those that came before a look began share its answer, so
//! that none of them waits for longer than the look that is under way and its own.

use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// The start of the last look, and its result.
type Last<T> = Arc<Mutex<Option<(Instant, T)>>>;

#[derive(Clone, Debug)]
pub(crate) struct SharedLook<T> {
    last: Last<T>,
}

impl<T> Default for SharedLook<T> {
    fn default() -> Self {
        Self { last: Arc::default() }
    }
}

impl<T: Clone> SharedLook<T> {
    /// Looks, unless a look began after this call; never shares one that began before.
    pub(crate) async fn ask(&self, look: impl Future<Output = T>) -> T {
        let asked_at = Instant::now();
        let mut last = self.last.lock().await;
        if let Some((begun_at, answer)) = &*last
            && *begun_at >= asked_at
        {
            return answer.clone();
        }
        let begun_at = Instant::now();
        let answer = look.await;
        *last = Some((begun_at, answer.clone()));
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waiting_callers_share_next_look_and_never_an_older_one() {
        let (turns, looks) = (SharedLook::default(), AtomicU32::new(0));
        let look = || async {
            let number = looks.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_secs(1)).await;
            number
        };
        let first = turns.ask(look());
        let later = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            tokio::join!(turns.ask(look()), turns.ask(look()), turns.ask(look()))
        };
        let (first, later) = tokio::join!(first, later);
        assert_eq!((first, later), (0, (1, 1, 1)));
        assert_eq!(turns.ask(look()).await, 2);
    }
}
