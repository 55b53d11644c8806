//! A service that says `null` to everything, behind a real inbox: what the library itself costs.

use crate::service::Service;

/// A service named `name` that answers every command with `null`, for measuring.
pub fn echo(name: &'static str) -> Service {
    Service::new(name, || None, |participant| participant.echo_the_rest(), ())
}
