//! The stage that all actors share: one world, which one of them at a time looks at and changes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::life::Life;
use super::world::World;

/// The likelihood, in 256, that a coordinator dies at a moment.
const DEATH: u8 = 4;
/// The longest pause between two things that a coordinator does, in milliseconds.
const PAUSE_MS_MAX: u64 = 20;

/// A world that all actors share.
#[derive(Clone)]
pub(super) struct Stage(Arc<Mutex<World>>);

impl Stage {
    pub(super) fn new(world: World) -> Self {
        Self(Arc::new(Mutex::new(world)))
    }

    /// Looks at the world or changes it; its time is the time now.
    pub(super) fn with<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        // A panic is a violation, and the world is the evidence.
        let mut world = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        world.refresh();
        change(&mut world)
    }

    /// Some time passes in the life of a coordinator, in which others do what they do, or it dies.
    pub(super) async fn moment(&self, life: &Life) {
        life.go_on().await;
        let (dies, pause_ms) =
            self.with(|world| (world.strikes(DEATH, "coordinator died"), world.rng.u64(..PAUSE_MS_MAX)));
        if dies {
            life.end();
        }
        life.go_on().await;
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        life.go_on().await;
    }
}
