//! The tunables of the wire, with the reason for each default.

use std::time::Duration;

/// Tuning of the wire. The defaults suit production; tests shorten the waits.
#[derive(Clone, Debug)]
pub struct WireConfig {
    /// How long a consumer waits for an acknowledgement before it delivers again: well above the slowest handler.
    pub ack_wait: Duration,
    /// The most a stream may hold, in bytes, which the server sets aside; beyond, publishing is refused and nothing
    /// is lost.
    pub stream_bytes_max: i64,
    /// The most messages of one subject (a command of a service, replies to a definition) in a stream; beyond,
    /// publishing is refused and nothing is lost. The backlog of a service that is away must leave room for the others.
    pub subject_messages_max: i64,
    /// How long a stream keeps a message that no consumer takes.
    pub stream_age_max: Duration,
    /// Messages that may be out unacknowledged per consumer: several batches.
    pub ack_pending_max: i64,
    /// Messages that one pull asks for: a few batches, since messages that wait in the client burn `ack_wait`.
    pub pull_messages_max: usize,
    /// Bytes that one pull asks for: as many as a batch takes, since they lie in this process's memory. At least as many
    /// as the largest message of the server has, or that one would never be sent.
    pub pull_bytes_max: usize,
    /// Bytes of messages in one batch: several hundred of an ordinary size, and few enough that their copies (read,
    /// answered, stored, sent) fit into a small process.
    pub batch_bytes_max: usize,
    /// How often the server says that it is there while there is nothing to deliver.
    pub heartbeat: Duration,
    /// How long the acknowledgement of a publish is waited for.
    pub publish_timeout: Duration,
    /// Publishes that may be out unacknowledged: fewer than the 10,000 at which a server refuses (429). At least 1.
    pub publishes_in_flight_max: usize,
    /// True if connecting waits for a server that is not there yet.
    pub wait_for_server: bool,
}

impl Default for WireConfig {
    fn default() -> Self {
        Self {
            ack_wait: Duration::from_secs(30),
            stream_bytes_max: 512 << 20,
            subject_messages_max: 100_000,
            stream_age_max: Duration::from_secs(72 * 3600),
            ack_pending_max: 10_000,
            pull_messages_max: 2_000,
            pull_bytes_max: 8 << 20,
            batch_bytes_max: 8 << 20,
            heartbeat: Duration::from_secs(2),
            publish_timeout: Duration::from_secs(5),
            publishes_in_flight_max: 8_000,
            wait_for_server: false,
        }
    }
}

impl WireConfig {
    /// Short waits, so that a test sees a redelivery within seconds.
    pub fn for_tests() -> Self {
        Self {
            ack_wait: Duration::from_secs(2),
            heartbeat: Duration::from_millis(500),
            stream_bytes_max: 32 << 20,
            ..Self::default()
        }
    }
}
