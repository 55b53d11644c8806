//! What the streams must look like.
//!
//! Commands and replies are work queues on disk: storage follows what is in flight. `DiscardNew` refuses what does
//! not fit instead of deleting undelivered work silently, which is what the server does by default. It refuses by
//! subject, too: what piles up for a service that is away must leave room for the others.
//!
//! A stream that exists is authoritative in what we do not care about (replicas, placement, description), follows
//! our [`Settings`] in its limits, and is refused if it would lose work: that is never mended silently.

use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{Context, GetStreamErrorKind};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use thiserror::Error;

use crate::settings::Settings;
use crate::topology::Topology;

/// How long the server remembers message ids: its default. An optimisation, nothing depends on it.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// A stream could not be made or is not as it must be.
#[derive(Debug, Error)]
pub enum StreamError {
    /// The server refused.
    #[error("the stream `{stream}` could not be created or updated; check the server's JetStream limits")]
    Refused {
        /// The stream.
        stream: String,
        /// What the server said.
        source: async_nats::jetstream::context::CreateStreamError,
    },
    /// The server does not say whether the stream exists.
    #[error(
        "the server did not answer whether the stream `{stream}` exists; check that JetStream is healthy"
    )]
    Silent {
        /// The stream.
        stream: String,
        /// What went wrong.
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
        /// What it has.
        found: String,
        /// What it should have.
        wanted: String,
    },
}

fn config(name: String, subjects: Vec<String>, retention: RetentionPolicy, settings: &Settings) -> Config {
    let is_work_queue = retention == RetentionPolicy::WorkQueue;
    Config {
        name,
        subjects,
        retention,
        storage: StorageType::File,
        discard: DiscardPolicy::New,
        max_bytes: settings.stream_bytes_max,
        max_age: settings.stream_age_max,
        max_messages: -1,
        max_messages_per_subject: if is_work_queue { settings.subject_messages_max } else { -1 },
        discard_new_per_subject: is_work_queue,
        max_consumers: -1,
        duplicate_window: DUPLICATE_WINDOW.min(settings.stream_age_max),
        num_replicas: 1,
        // A new anchor takes the place of the old one.
        allow_rollup: is_work_queue,
        ..Config::default()
    }
}

/// Creates what is missing and brings what differs into line.
///
/// # Errors
/// [`StreamError`] if the server refuses or is silent, or if a stream that has the name would lose work.
pub async fn ensure(context: &Context, topology: &Topology, settings: &Settings) -> Result<(), StreamError> {
    let mut dead_letters = topology.advisories();
    dead_letters.push(topology.dead_letters_of("*"));
    let wanted = [
        config(
            topology.commands_stream(),
            vec![format!("{}.command.>", topology.prefix())],
            RetentionPolicy::WorkQueue,
            settings,
        ),
        config(
            topology.replies_stream(),
            vec![format!("{}.reply.>", topology.prefix())],
            RetentionPolicy::WorkQueue,
            settings,
        ),
        config(topology.dead_letters_stream(), dead_letters, RetentionPolicy::Limits, settings),
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
            let in_line = Config {
                subjects: wanted.subjects,
                max_bytes: wanted.max_bytes,
                max_age: wanted.max_age,
                max_messages_per_subject: wanted.max_messages_per_subject,
                discard_new_per_subject: wanted.discard_new_per_subject,
                duplicate_window: wanted.duplicate_window,
                allow_rollup: present.allow_rollup || (wanted.allow_rollup && !present.deny_purge),
                ..present.clone()
            };
            if in_line == *present {
                return Ok(());
            }
            context.update_stream(in_line).await.map(drop)
        }
        Err(error) if is_absent(&error.kind()) => context.create_stream(wanted).await.map(drop),
        Err(source) => return Err(StreamError::Silent { stream, source }),
    };
    result.map_err(|source| StreamError::Refused { stream, source })
}

/// Whether the server said that there is no such stream.
pub(crate) fn is_absent(kind: &GetStreamErrorKind) -> bool {
    matches!(kind, GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

/// Refuses what would lose work: by age or size, on a restart, or because nobody is listening at the moment.
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
