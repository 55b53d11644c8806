//! The pauses of units of work that met another one and run again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::unit_error::{Disposition, UnitError};

/// How often a batch that met another one is run again before its members are run alone.
const COLLISIONS_MAX: u32 = 5;
/// The longest pause before the first of these runs; it doubles. As long as a short transaction takes.
const COLLISION_PAUSE: Duration = Duration::from_millis(10);

/// The pause after which a unit of work runs again that met another one, unless it has done so often.
pub(crate) fn collision_pause(error: &UnitError, collisions: &mut u32) -> Option<Duration> {
    if error.disposition() != Disposition::Collision || *collisions >= COLLISIONS_MAX {
        return None;
    }
    *collisions += 1;
    tracing::debug!(error = error.chain(), "unit of work met another one; again");
    Some(pause_after(*collisions))
}

/// A pause of chance length before a batch that met another one runs again, lest both meet again.
fn pause_after(collisions: u32) -> Duration {
    let chance = f64::from(RandomState::new().hash_one(collisions) as u32) / f64::from(u32::MAX);
    COLLISION_PAUSE.mul_f64(chance) * 2_u32.pow(collisions)
}
