//! The configuration of the streams, and the refusal of streams that differ in a way that loses work.
//!
//! Commands and replies are work queues on disk: storage follows the messages in flight. `DiscardNew` refuses messages
//! that do not fit instead of deleting undelivered work silently, which is the server's default. It refuses by subject,
//! too: the backlog of a service that is away must leave room for the others.
//!
//! A stream that exists is authoritative in the settings that we do not care about (replicas, placement, description),
//! follows our [`WireConfig`] in its limits, and is refused if it would lose work: that is never mended silently.

use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{Context, GetStreamErrorKind};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use thiserror::Error;

use crate::config::WireConfig;
use crate::topology::Topology;

/// How long the server remembers message ids: its default. An optimisation, nothing depends on it.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// The largest message of a work queue, in bytes: the largest payload (256 KiB) and the largest headers that a stream takes
/// (64 KiB) with room to spare, and far less than a pull.
const MESSAGE_BYTES_MAX: i32 = 1 << 20;

/// A stream could not be made or is not as it must be.
#[derive(Debug, Error)]
pub enum StreamError {
    /// The server refused.
    #[error("the stream `{stream}` could not be created or updated; check the server's JetStream limits")]
    Refused {
        /// The stream.
        stream: String,
        /// The server's answer.
        source: async_nats::jetstream::context::CreateStreamError,
    },
    /// The server does not say if the stream exists.
    #[error(
        "the server did not answer whether the stream `{stream}` exists; check that JetStream is healthy"
    )]
    Silent {
        /// The stream.
        stream: String,
        /// The failure.
        source: async_nats::jetstream::context::GetStreamError,
    },
    /// A stream has the name and would lose work.
    #[error(
        "the stream `{stream}` exists with {found} where {wanted} is needed, so it would lose work; \
         delete it or choose another prefix"
    )]
    Unfit {
        /// The stream.
        stream: String,
        /// The setting as found.
        found: String,
        /// The setting as it should be.
        wanted: String,
    },
    /// Another installation uses the streams of this prefix.
    #[error(
        "the stream `{stream}` belongs to another installation: it holds commands and replies of the journal {found}, and \
         this one is {own}; choose another prefix (`--prefix`, REDRESS_PREFIX), or delete the stream if that journal is \
         gone for good"
    )]
    Stranger {
        /// The stream.
        stream: String,
        /// The id of the journal that it belongs to.
        found: String,
        /// The id of this installation's journal.
        own: String,
    },
}

/// The metadata of a stream that names the journal to which it belongs.
const JOURNAL: &str = "redress-journal";
/// How long a stream that was taken over is left alone before it is looked at again: another installation may have taken
/// it in the same moment, and the last one to do so has it.
const TAKE_OVER_PAUSE: Duration = Duration::from_millis(200);

fn stream_config(
    name: String,
    subjects: Vec<String>,
    retention: RetentionPolicy,
    config: &WireConfig,
    journal: Option<&str>,
) -> Config {
    let is_work_queue = retention == RetentionPolicy::WorkQueue;
    Config {
        name,
        subjects,
        retention,
        storage: StorageType::File,
        discard: DiscardPolicy::New,
        max_bytes: config.stream_bytes_max,
        max_age: config.stream_age_max,
        max_messages: -1,
        max_messages_per_subject: if is_work_queue { config.subject_messages_max } else { -1 },
        discard_new_per_subject: is_work_queue,
        max_consumers: -1,
        duplicate_window: DUPLICATE_WINDOW.min(config.stream_age_max),
        num_replicas: 1,
        // One message could empty the stream.
        allow_rollup: false,
        max_message_size: if is_work_queue { MESSAGE_BYTES_MAX } else { -1 },
        metadata: journal.map(|id| (JOURNAL.to_owned(), id.to_owned())).into_iter().collect(),
        ..Config::default()
    }
}

/// Creates the streams that are missing and brings those that differ into line. They are those of `journal`, if it is
/// known.
///
/// # Errors
/// [`StreamError`] if the server refuses or is silent, or if a stream that has the name would lose work or belongs to
/// another journal.
pub async fn ensure(
    context: &Context,
    topology: &Topology,
    config: &WireConfig,
    journal: Option<&str>,
) -> Result<(), StreamError> {
    let mut dead_letters = topology.advisories();
    dead_letters.push(topology.dead_letters_of("*"));
    let wanted = [
        stream_config(
            topology.commands_stream(),
            vec![format!("{}.command.>", topology.prefix())],
            RetentionPolicy::WorkQueue,
            config,
            journal,
        ),
        stream_config(
            topology.replies_stream(),
            vec![format!("{}.reply.>", topology.prefix())],
            RetentionPolicy::WorkQueue,
            config,
            journal,
        ),
        stream_config(topology.dead_letters_stream(), dead_letters, RetentionPolicy::Limits, config, journal),
    ];
    for config in wanted {
        ensure_one(context, config).await?;
    }
    Ok(())
}

async fn ensure_one(context: &Context, wanted: Config) -> Result<(), StreamError> {
    let stream = wanted.name.clone();
    let result = match context.get_stream(&stream).await {
        Ok(present) => {
            let present = &present.cached_info().config;
            fit(present, &wanted)?;
            is_ours(present, &wanted)?;
            let mut metadata = present.metadata.clone();
            metadata.extend(wanted.metadata.clone());
            let in_line = Config {
                subjects: wanted.subjects.clone(),
                max_bytes: wanted.max_bytes,
                max_age: wanted.max_age,
                max_messages_per_subject: wanted.max_messages_per_subject,
                discard_new_per_subject: wanted.discard_new_per_subject,
                duplicate_window: wanted.duplicate_window,
                allow_rollup: wanted.allow_rollup,
                max_message_size: match present.max_message_size {
                    size @ 1.. => size,
                    _ => wanted.max_message_size,
                },
                metadata,
                ..present.clone()
            };
            if in_line == *present {
                return Ok(());
            }
            let takes_over = in_line.metadata.get(JOURNAL) != present.metadata.get(JOURNAL);
            match context.update_stream(in_line).await {
                Ok(_) if takes_over => return stays_ours(context, &wanted).await,
                result => result.map(drop),
            }
        }
        Err(error) if is_absent(&error.kind()) => context.create_stream(wanted).await.map(drop),
        Err(source) => return Err(StreamError::Silent { stream, source }),
    };
    result.map_err(|source| StreamError::Refused { stream, source })
}

/// Refuses a stream of another journal's, if both owners are known.
fn is_ours(present: &Config, wanted: &Config) -> Result<(), StreamError> {
    match (present.metadata.get(JOURNAL), wanted.metadata.get(JOURNAL)) {
        (Some(found), Some(own)) if found != own => Err(StreamError::Stranger {
            stream: present.name.clone(),
            found: found.clone(),
            own: own.clone(),
        }),
        (_, _) => Ok(()),
    }
}

/// Looks again at a stream that had no owner and was taken over.
async fn stays_ours(context: &Context, wanted: &Config) -> Result<(), StreamError> {
    tokio::time::sleep(TAKE_OVER_PAUSE).await;
    match context.get_stream(&wanted.name).await {
        Ok(present) => is_ours(&present.cached_info().config, wanted),
        Err(source) => Err(StreamError::Silent { stream: wanted.name.clone(), source }),
    }
}

/// The times at which the streams of commands and replies were made: if they differ from those before, their messages
/// are lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incarnation(Vec<i128>);

/// The times at which the streams were made.
pub(crate) async fn incarnation(context: &Context, topology: &Topology) -> Result<Incarnation, StreamError> {
    let mut born = Vec::new();
    for stream in [topology.commands_stream(), topology.replies_stream()] {
        match context.get_stream(&stream).await {
            Ok(present) => born.push(present.cached_info().created.unix_timestamp_nanos()),
            Err(source) => return Err(StreamError::Silent { stream, source }),
        }
    }
    Ok(Incarnation(born))
}

/// Returns true if the server said that there is no such stream.
pub(crate) fn is_absent(kind: &GetStreamErrorKind) -> bool {
    matches!(kind, GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

/// Refuses a stream that would lose work: by age or size, on a restart, or because no consumer listens at the moment.
fn fit(present: &Config, wanted: &Config) -> Result<(), StreamError> {
    let pairs = [
        (format!("retention {:?}", present.retention), format!("retention {:?}", wanted.retention)),
        (format!("discard policy {:?}", present.discard), format!("discard policy {:?}", wanted.discard)),
        (format!("storage {:?}", present.storage), format!("storage {:?}", wanted.storage)),
    ];
    match pairs.into_iter().find(|(found, wanted)| found != wanted) {
        Some((found, wanted)) => Err(StreamError::Unfit { stream: present.name.clone(), found, wanted }),
        None => Ok(()),
    }
}
