//! The `redress` commands.
//!
//! `redress` is the user's own binary: [`app`] takes the definitions (and the services, for a demo) and gives all of the
//! commands. Standard output is data, standard error is messages; errors say what happened, why, and what to do.
//!
//! ```no_run
//! # fn place_order() -> redress_core::SagaDefinition { unimplemented!() }
//! fn main() -> std::process::ExitCode {
//!     redress_cli::app([place_order()]).main()
//! }
//! ```

mod anew;
mod app;
mod args;
mod bench;
mod chaos;
mod client;
mod command_line;
mod commands;
mod failure;
mod installation;
mod lab;
mod legible;
mod logging;
mod probes;
mod program;
mod render;
mod render_events;
mod render_letters;
mod render_queued;
mod services;
mod wiring;

pub use app::main;
pub use program::{App, DemoAnswer, DemoStart, app};
pub use wiring::{MissingHandler, UnfitHandler, WiringError};
