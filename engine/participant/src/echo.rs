//! A service that answers every command with `null` behind a real inbox, to measure the cost of the library itself.

use crate::service::Service;

/// A service named `name` that answers every command with `null`, for measuring.
pub fn echo(name: &'static str) -> Service {
    Service::new(name, || None, |participant| participant.echo_the_rest(), ())
}
