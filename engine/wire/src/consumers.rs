//! The configuration of the consumers, and their owners.
//!
//! A service is one database: a fence in another one is none. So the consumer of a service carries the id of the inbox
//! for which it takes commands, and instances with another inbox are refused. A consumer without an id, as an older
//! version or a service without a database makes it, is taken over; one that a wipe of the broker took away belongs to the
//! first instance that makes it anew.

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::consumer::pull::{Config, MessagesError};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, StreamError as PullError};
use async_nats::jetstream::context::GetStreamError;
use async_nats::jetstream::stream::{ConsumerCreateStrictError, ConsumerError as CreateError, Stream};
use thiserror::Error;

use crate::streams::StreamError;
use crate::unreadable::ConsumerName;
use crate::wire::Wire;

/// The metadata of a consumer that names the inbox for which it takes commands.
const INBOX: &str = "redress-inbox";

/// A consumer could not be made or is not ours.
#[derive(Debug, Error)]
pub enum ConsumerError {
    /// Another database takes the commands of this service.
    #[error(
        "the commands of service `{service}` are taken by another installation: for the inbox {found}, and this one is \
         {own}; instances of a service share one database: give this one the same, or choose another prefix (`--prefix`, \
         REDRESS_PREFIX), or delete the consumer `{service}` of the stream `{stream}` if that database is gone for good"
    )]
    Stranger {
        /// The service.
        service: String,
        /// The stream of its commands.
        stream: String,
        /// The id of the inbox that has the consumer.
        found: String,
        /// The id of this inbox.
        own: String,
    },
    /// The stream is not as it must be.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The server does not say how the stream is.
    #[error("the server did not answer whether the stream exists")]
    Silent(#[from] GetStreamError),
    /// The server refused, or did not answer.
    #[error("the consumer could not be made")]
    Refused(#[source] async_nats::Error),
}

impl ConsumerError {
    /// The failure and its causes, in one line.
    pub fn with_causes(&self) -> String {
        redress_core::with_causes(self)
    }
}

macro_rules! refused {
    ($($error:ty),+) => {
        $(impl From<$error> for ConsumerError {
            fn from(error: $error) -> Self {
                Self::Refused(error.into())
            }
        })+
    };
}
refused!(PullError, MessagesError, ConsumerCreateStrictError, CreateError);

/// The consumer, made if it is missing, brought into line, and refused if it is another inbox's.
pub(crate) async fn ensure(
    stream: &Stream,
    name: &ConsumerName,
    wire: &Wire,
    inbox: Option<&str>,
) -> Result<PullConsumer, ConsumerError> {
    let wanted = config(name, wire, inbox);
    // Of two that make it in the same moment, one is told that it is there already.
    match stream.create_consumer_strict(wanted).await {
        Ok(consumer) => return Ok(consumer),
        Err(error) if is_there_already(&error) => {}
        Err(error) => return Err(error.into()),
    }
    let present: PullConsumer = stream.get_consumer(&name.durable).await.map_err(ConsumerError::Refused)?;
    is_ours(&present, name, inbox)?;
    // One that takes for no inbox leaves the consumer to whom it belongs.
    let owner = present.cached_info().config.metadata.get(INBOX).map(String::as_str);
    let wanted = config(name, wire, inbox.or(owner));
    Ok(stream.create_consumer(wanted).await?)
}

fn config(name: &ConsumerName, wire: &Wire, inbox: Option<&str>) -> Config {
    let config = wire.config();
    Config {
        durable_name: Some(name.durable.clone()),
        filter_subject: name.filter.clone(),
        ack_policy: AckPolicy::Explicit,
        deliver_policy: DeliverPolicy::All,
        ack_wait: config.ack_wait,
        // The receiver counts deliveries: a message that the server gives up would lie in a work queue for ever.
        max_deliver: -1,
        max_ack_pending: config.ack_pending_max,
        metadata: inbox.map(|id| (INBOX.to_owned(), id.to_owned())).into_iter().collect(),
        ..Config::default()
    }
}

fn is_there_already(error: &ConsumerCreateStrictError) -> bool {
    use async_nats::jetstream::stream::ConsumerCreateStrictErrorKind as Kind;
    match error.kind() {
        Kind::AlreadyExists => true,
        Kind::JetStream(error) => {
            let there = [ErrorCode::CONSUMER_ALREADY_EXISTS, ErrorCode::CONSUMER_NAME_EXIST];
            there.contains(&error.error_code())
        }
        _ => false,
    }
}

fn is_ours(present: &PullConsumer, name: &ConsumerName, inbox: Option<&str>) -> Result<(), ConsumerError> {
    match (present.cached_info().config.metadata.get(INBOX), inbox) {
        (Some(found), Some(own)) if found != own => Err(ConsumerError::Stranger {
            service: name.durable.clone(),
            stream: name.stream.clone(),
            found: found.clone(),
            own: own.to_owned(),
        }),
        (_, _) => Ok(()),
    }
}
