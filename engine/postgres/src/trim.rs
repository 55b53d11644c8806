//! Closes the connections that a rush has left behind.
//!
//! A pool of sqlx hands its idle connections out in turn, the one that rested longest first, and closes those that rested
//! for the whole idle timeout. So one cheap statement a second keeps thirty connections from ever resting thirty seconds:
//! they are all in use, and none is needed. Here the need is measured: connections that were idle at every look of one
//! idle timeout were needed by nobody.

use std::time::Duration;

use sqlx::PgPool;
use tokio::time::{MissedTickBehavior, interval};

/// The looks within one idle timeout: a rush that fits between two of them may have its connections closed, and opens
/// others the next time.
const LOOKS: u32 = 30;

/// The fewest idle connections that were seen since the last decision.
#[derive(Clone, Copy, Debug, Default)]
struct Fewest {
    idle: usize,
    looks: u32,
}

impl Fewest {
    /// Takes this look in; with the last one of a window, gives the number of connections that nobody needed in it.
    fn see(&mut self, idle: usize) -> usize {
        self.idle = if self.looks == 0 { idle } else { self.idle.min(idle) };
        self.looks += 1;
        if self.looks < LOOKS {
            return 0;
        }
        std::mem::take(self).idle
    }
}

/// Closes the connections of a pool that it did not need for its idle timeout, but for as many as it is to keep
/// (`min_connections`); goes on until it is dropped. A pool without an idle timeout keeps all.
pub async fn trim(pool: &PgPool) {
    let options = pool.options();
    let Some(idle_max) = options.get_idle_timeout() else { return std::future::pending().await };
    // An interval of nothing panics.
    let mut looks = interval((idle_max / LOOKS).max(Duration::from_millis(1)));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut fewest = Fewest::default();
    loop {
        looks.tick().await;
        let beyond = (pool.size() as usize).saturating_sub(options.get_min_connections() as usize);
        for _ in 0..fewest.see(pool.num_idle()).min(beyond) {
            let Some(connection) = pool.try_acquire() else { break };
            // That it cannot say goodbye does not keep it open.
            let _ = connection.close().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_idle_at_every_look_were_needed_by_nobody() {
        let closes = |looks: &[usize]| {
            let mut fewest = Fewest::default();
            looks.iter().map(|idle| fewest.see(*idle)).collect::<Vec<_>>()
        };
        let window = |idle: usize| vec![idle; LOOKS as usize];
        assert_eq!(closes(&window(7)).last(), Some(&7));
        let mut with_rush = window(7);
        with_rush[12] = 2;
        assert_eq!(closes(&with_rush), [vec![0; LOOKS as usize - 1], vec![2]].concat());
        with_rush.extend(window(5));
        assert_eq!(closes(&with_rush).last(), Some(&5), "each window is judged by itself");
    }
}
