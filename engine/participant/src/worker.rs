//! One participant at work: its inbox, its place on the wire. Plain data goes from part to part (`member`); each part is a
//! file of its own:
//!
//! | file | part |
//! |---|---|
//! | `pipeline` | classifies deliveries, has the batch executed, carries out what follows |
//! | `execute`, `batch` | executes a batch in one transaction; knows the inbox and no broker |
//! | `claims`, `store`, `answers` | what a batch learns from the inbox, and what it writes there |
//! | `database_time` | the time by which commands expire |
//! | `lane` | decides which commands run on the batch's lane, and which beside |
//! | `isolation` | where a batch runs, and what it tells about its lane |
//! | `jobs`, `beside` | commands that run beside the batches, and those that wait to |
//! | `calling`, `pacer` | calls to third parties, and the transaction that concludes them |
//! | `tempo`, `meter` | how long handlers take: short, long, not proven |
//! | `recovery` | decides what follows a batch that failed |
//! | `answer` | publishes replies and acknowledges after the commit |
//! | `quarantine` | commands that have come again and again |
//! | `post` | its place on the wire, which needs no database |
//! | `dead_letters`, `passing_on` | commands that this instance cannot use |
//! | `repeated` | commands that are handled at least once, beside the inbox |
//! | `kept_letters` | dead letters that the broker has refused, until it takes them |

use std::sync::{Arc, Mutex};

use redress_core::Name;
use redress_wire::Wire;
use tokio::sync::{Notify, Semaphore};
use tokio_util::task::TaskTracker;

use crate::beside::Beside;
use crate::inbox::Inbox;
use crate::member::Member;
use crate::places::Places;
use crate::post::Post;
use crate::repeated::Repeated;

pub(crate) struct Worker<S> {
    pub(crate) service: Name,
    pub(crate) inbox: Arc<Inbox<S>>,
    pub(crate) wire: Wire,
    pub(crate) post: Arc<Post>,
    /// Commands that the inbox does not remember.
    pub(crate) repeated: Arc<Repeated<S>>,
    /// Tells the intake to stop until the database is back.
    pub(crate) database_down: Notify,
    /// What the connections are for.
    pub(crate) places: Places,
    pub(crate) beside: Mutex<Beside<Member>>,
    /// Commands that waited for a place beside the batches, and go back to a lane.
    pub(crate) returned: Mutex<Vec<Member>>,
    pub(crate) has_returned: Notify,
    /// Of the commands with an attempt marker, one runs at a time.
    pub(crate) single_file: Arc<Semaphore>,
    /// All that the shutdown waits for.
    pub(crate) tasks: TaskTracker,
}

impl<S> Worker<S> {
    /// One that has nothing to do yet.
    pub(crate) fn new(inbox: Arc<Inbox<S>>, post: Arc<Post>, repeated: Arc<Repeated<S>>) -> Self {
        let connections = inbox.pool.options().get_max_connections();
        let places = Places::of(connections, inbox.config.lanes);
        let bounds = inbox.handlers.all.iter().map(|handler| handler.bounds(inbox.config.batch_max));
        let beside = Mutex::new(Beside::new(places.beside, bounds));
        Self {
            service: inbox.service.clone(),
            wire: post.wire.clone(),
            post,
            repeated,
            database_down: Notify::new(),
            places,
            beside,
            returned: Mutex::default(),
            has_returned: Notify::new(),
            single_file: Arc::new(Semaphore::new(1)),
            tasks: TaskTracker::new(),
            inbox,
        }
    }
}
