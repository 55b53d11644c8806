//! Outages of the servers beneath an installation under load. Each test has servers of its own and mostly waits for them,
//! so that they run side by side.

mod broker;
mod primary;
