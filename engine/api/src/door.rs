//! The probes and the metrics of a process, whatever runs in it.
//!
//! A coordinator shows them beside its API, a process of services on a port of its own; the guard, the limits and the
//! answers are the same.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use redress_coordinator::Engine;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::access::Access;

/// Something that says of itself whether it lives and is ready, and what it has counted.
pub trait Probed: Send + Sync + 'static {
    /// Returns true if this process can go on by itself: if not, a new one must take its place.
    fn is_alive(&self) -> bool;

    /// Asks database and broker.
    fn readiness(&self) -> Pin<Box<dyn Future<Output = Ready> + Send + '_>>;

    /// Its metrics in the text format of OpenMetrics, without the line that ends the text.
    fn metrics_without_end(&self) -> String;
}

/// The answer to a probe.
#[derive(Clone, Debug, Serialize)]
pub struct Ready {
    /// True if everything is there.
    pub ready: bool,
    /// `ok`, or the trouble.
    pub database: String,
    /// `ok`, or the trouble.
    pub broker: String,
    /// The mode in which it runs, if it has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Value>,
    /// More, for those who may ask anything.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// What is behind the door of a process, and who may ask.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) probed: Arc<dyn Probed>,
    /// Others in the same process, whose metrics are shown too.
    pub(crate) beside: Option<Arc<dyn Probed>>,
    pub(crate) access: Arc<Access>,
}

impl Probed for Engine {
    fn is_alive(&self) -> bool {
        Self::is_alive(self)
    }

    fn readiness(&self) -> Pin<Box<dyn Future<Output = Ready> + Send + '_>> {
        Box::pin(async move {
            let readiness = Self::readiness(self).await;
            let waiting = json!(readiness.waiting_versions);
            Ready {
                ready: readiness.ready,
                database: readiness.database,
                broker: readiness.broker,
                mode: Some(json!(readiness.mode)),
                more: [("waiting_versions".to_owned(), waiting)].into_iter().collect(),
            }
        })
    }

    fn metrics_without_end(&self) -> String {
        self.metrics().encode_without_end()
    }
}
