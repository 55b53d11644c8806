//! Drives the pure core through every mishap, without a clock, a network or a database.
//!
//! - [`exhaust`]: enumerates all choices that a test makes.
//! - [`world`]: one saga, its participants behind the real inbox rules, and a network that loses, delays and doubles.
//! - [`explorer`]: runs the world through every mix of mishaps and checks what must hold at rest.

pub mod check;
pub mod exhaust;
pub mod explorer;
pub mod participants;
pub mod specimen;

pub mod world;
