//! Drives the pure core through every mishap, without a clock, a network or a database.
//!
//! - [`exhaust`]: enumerates all choices that a test makes.
//! - [`explorer`]: runs one saga through every mix of a few mishaps.
//! - [`simulator`]: plays whole installations, with everything going wrong at once, from a seed.
//! - [`check`]: what must hold of a saga's life, whatever happened to it.
//! - [`participants`], [`memory`], [`world`]: the stage on which they play.

pub mod check;
pub mod exhaust;
pub mod explorer;
pub mod memory;
pub mod participants;
pub mod simulator;
pub mod specimen;
pub mod world;
