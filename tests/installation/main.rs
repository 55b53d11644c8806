//! Whole installations: coordinators and services as processes of their own on real servers, each file with its stories.
//!
//! One binary, so that the stories share servers and run side by side: most of them wait for a server, a timer or a process
//! that comes back. A story has a world of its own and sees no other; whatever kills or wipes a server has servers of its own.

mod api;
mod at_least_once;
mod chaos;
mod command_line;
mod crash_points;
mod databases;
mod dead_letters;
mod expenses;
mod lab;
mod monitoring;
mod operators;
mod outages;
mod pooler;
mod readme;
mod retention;
mod scenarios;
mod secrets;
mod shapes;
mod strangers;
#[path = "../support/mod.rs"]
mod support;
mod unwind;
mod upgrade;
mod waits;
