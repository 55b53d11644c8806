//! What the streams must look like.
//!
//! Commands and replies are work queues on disk: storage follows what is in flight. `DiscardNew` refuses what does
//! not fit instead of deleting undelivered work silently, which is what the server does by default.

use async_nats::jetstream::context::Context;
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use thiserror::Error;

use crate::settings::Settings;
use crate::topology::Topology;
use std::time::Duration;

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
}

fn config(name: String, subjects: Vec<String>, retention: RetentionPolicy, settings: &Settings) -> Config {
    Config {
        name,
        subjects,
        retention,
        storage: StorageType::File,
        discard: DiscardPolicy::New,
        max_bytes: settings.stream_bytes_max,
        max_age: settings.stream_age_max,
        max_messages: -1,
        max_messages_per_subject: -1,
        max_consumers: -1,
        duplicate_window: DUPLICATE_WINDOW.min(settings.stream_age_max),
        num_replicas: 1,
        ..Config::default()
    }
}

/// Creates what is missing and brings what differs into line.
///
/// # Errors
/// [`StreamError`] if the server refuses, for example because a stream of another kind has the name.
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
        let stream = config.name.clone();
        context
            .create_or_update_stream(config)
            .await
            .map_err(|source| StreamError::Refused { stream, source })?;
    }
    Ok(())
}
