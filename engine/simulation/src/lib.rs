//! Proves the engine itself, and adapters of yours: the production coordinator on ports that a test has in its hands.
//!
//! For users, who bring a journal or a bus of their own:
//!
//! - [`conformance`]: the promises of every journal and every bus, as tests. `examples/custom_journal.rs` passes them.
//! - [`memory`]: a journal and a bus in memory, on which a coordinator runs in a test.
//!
//! For ourselves:
//!
//! - [`simulator`]: plays whole installations of production coordinators, with everything going wrong at once, from a seed.
//! - [`explorer`]: runs one saga through every mix of a few disruptions.
//!
//! Sagas, their participants and the rules of a run are those of [`redress_testkit`], which proves definitions and knows no
//! coordinator. `cargo run -p redress-simulation --release -- simulate` plays seeds from the command line.

pub mod conformance;
pub mod explorer;
pub mod memory;
pub mod simulator;
