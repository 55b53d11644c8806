//! The one pair of servers that the tests of a process share.
//!
//! One pair per test process, because a start costs less than a second, and sharing across processes would
//! need a supervisor that outlives them all. It lives in a static, which is never dropped: the guard stops it
//! when the process ends. Nothing of it hangs on the runtime of the test that happened to start it.

use std::error::Error;
use std::fmt::Write as _;
use std::sync::Arc;

use tokio::sync::OnceCell;

use crate::config::{Data, Durability, StackConfig};
use crate::error::DevstackError;
use crate::stack::Stack;

static SHARED: OnceCell<Arc<Stack>> = OnceCell::const_new();

/// The servers that all tests of this process share; started by the first call.
///
/// Every test makes a database and a prefix of its own in them. A test that stops, restarts or wipes a server
/// starts its own [`Stack`]. Durability is relaxed.
///
/// # Panics
/// When the servers cannot be started: the test cannot go on, and the message names the remedy.
pub async fn shared() -> Arc<Stack> {
    let options =
        StackConfig { durability: Durability::Relaxed, data: Data::Ephemeral, postgres: true, nats: true };
    match SHARED
        .get_or_try_init(async || Stack::start(options, &|line| eprintln!("{line}")).await.map(Arc::new))
        .await
    {
        Ok(stack) => stack.clone(),
        Err(error) => panic!("{}", report(&error)),
    }
}

fn report(error: &DevstackError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        write!(text, "\n  because: {cause}").expect("writing to a string");
        source = cause.source();
    }
    text
}
