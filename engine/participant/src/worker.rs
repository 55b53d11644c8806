//! One participant at work: its inbox, its place on the wire. Plain data goes from part to part (`member`); each part is a
//! file of its own:
//!
//! | file | part |
//! |---|---|
//! | `pipeline` | classifies deliveries, has the batch executed, carries out what follows |
//! | `execute`, `batch` | executes a batch in one transaction; knows the inbox and no broker |
//! | `recovery` | decides what follows a batch that failed |
//! | `answer` | publishes replies and acknowledges after the commit |
//! | `quarantine` | commands that have come again and again |
//! | `dead_letters`, `passing_on` | commands that this instance cannot use |

use std::sync::Arc;

use redress_core::Name;
use redress_wire::Wire;
use tokio::sync::Notify;

use crate::inbox::Inbox;
use crate::unknown::Unknowns;

pub(crate) struct Worker<S> {
    pub(crate) service: Name,
    pub(crate) inbox: Arc<Inbox<S>>,
    pub(crate) wire: Wire,
    pub(crate) unknowns: Unknowns,
    /// Tells the intake to stop until the database is back.
    pub(crate) database_down: Notify,
}
