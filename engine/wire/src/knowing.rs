//! Which commands the live instances of a service know.
//!
//! Instances of a service share one consumer, old and new ones. A command that an old one does not know may be known to a
//! newer one beside it, so it asks: each instance answers, over core NATS, on one subject per command that it knows. If
//! none listens there, the server says so at once.

use std::time::Duration;

use async_nats::Subscriber;
use async_nats::client::RequestErrorKind;
use futures_util::StreamExt;
use futures_util::stream::select_all;
use redress_core::{Name, Phase};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::wire::{Wire, WireHealth};

/// How long the answer of another instance is waited for; it makes it in the task that listens, so at once.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// Pause before the subscriptions are made anew.
const SUBSCRIBE_PAUSE: Duration = Duration::from_millis(200);

/// The answer of the other instances of a service about a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    /// One that lives knows it.
    Known,
    /// None that lives knows it.
    Unknown,
    /// The broker did not say.
    Unclear,
}

/// A command that an instance knows; without a name, every one of the phase.
pub type KnownCommand = (Phase, Option<Name>);

/// As long as this lives, the other instances are answered.
#[derive(Debug)]
pub struct Telling {
    task: AbortHandle,
}

impl Drop for Telling {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Wire {
    /// Tells the other instances of a service, when they ask, that this one knows these commands.
    pub async fn tell_known(&self, service: &Name, commands: &[KnownCommand]) -> Telling {
        let subject = |(phase, name): &KnownCommand| {
            self.topology().known_subject(service, *phase, name.as_deref().unwrap_or("*"))
        };
        let subjects: Vec<String> = commands.iter().map(subject).collect();
        let queue = service.to_string();
        let first = self.subscribe_all(&subjects, &queue).await;
        let task = tokio::spawn(answer(self.clone(), subjects, queue, first)).abort_handle();
        Telling { task }
    }

    async fn subscribe_all(&self, subjects: &[String], queue: &str) -> Vec<Subscriber> {
        let client = self.link().client.clone();
        let mut subscribers = Vec::with_capacity(subjects.len());
        for subject in subjects {
            match client.queue_subscribe(subject.clone(), queue.to_owned()).await {
                Ok(subscriber) => subscribers.push(subscriber),
                // The client has ended; with the next one.
                Err(error) => {
                    tracing::debug!(%error, subject, "failed to listen for other instances; retrying")
                }
            }
        }
        subscribers
    }

    /// Asks if another instance of the service knows a command.
    pub async fn is_known_elsewhere(&self, service: &Name, phase: Phase, command: &Name) -> Elsewhere {
        let subject = self.topology().known_subject(service, phase, command);
        let (client, connection) = (self.link().client.clone(), self.connection());
        match timeout(ANSWER_MAX, client.request(subject, "".into())).await {
            Ok(Ok(_)) => Elsewhere::Known,
            Ok(Err(error)) if error.kind() == RequestErrorKind::NoResponders => Elsewhere::Unknown,
            // Others may listen in on all subjects, and then the server does not say that no instance listens. One that
            // lives would have answered.
            Err(_) if self.connection() == connection && self.health() == WireHealth::Connected => {
                Elsewhere::Unknown
            }
            Ok(Err(_)) | Err(_) => Elsewhere::Unclear,
        }
    }
}

async fn answer(wire: Wire, subjects: Vec<String>, queue: String, mut subscribers: Vec<Subscriber>) {
    if subjects.is_empty() {
        return;
    }
    loop {
        let client = wire.link().client.clone();
        let mut requests = select_all(subscribers);
        while let Some(request) = requests.next().await {
            if let Some(to) = request.reply
                && let Err(error) = client.publish(to, "".into()).await
            {
                tracing::debug!(%error, "failed to answer another instance");
            }
        }
        tokio::time::sleep(SUBSCRIBE_PAUSE).await;
        subscribers = wire.subscribe_all(&subjects, &queue).await;
    }
}
