//! Names of subjects, streams and consumers.
//!
//! Everything begins with the prefix, so that several installations, and tests, live on one server. Only
//! [`Name`]s enter a subject: user text never does.

use redress_core::ids::InvalidName;
use redress_core::{Name, Phase, ReplyMessage};

/// The names under one prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    prefix: Name,
}

impl Topology {
    /// The names under `prefix`, which is a [`Name`] such as `redress`.
    ///
    /// # Errors
    /// [`InvalidName`] if it is none.
    pub fn new(prefix: &str) -> Result<Self, InvalidName> {
        Ok(Self { prefix: Name::new(prefix)? })
    }

    /// The prefix.
    pub fn prefix(&self) -> &Name {
        &self.prefix
    }

    fn stream(&self, what: &str) -> String {
        format!("{}_{what}", self.prefix.to_ascii_uppercase())
    }

    /// Name of the stream of commands.
    pub fn commands_stream(&self) -> String {
        self.stream("COMMANDS")
    }

    /// Name of the stream of replies.
    pub fn replies_stream(&self) -> String {
        self.stream("REPLIES")
    }

    /// Name of the stream of dead letters.
    pub fn dead_letters_stream(&self) -> String {
        self.stream("DEAD_LETTERS")
    }

    /// The subject of this command of this service.
    pub fn command_subject(&self, service: &str, command: &str) -> String {
        format!("{}.command.{service}.{command}", self.prefix)
    }

    /// All commands of this service (`*`: of every service).
    pub fn commands_of(&self, service: &str) -> String {
        format!("{}.command.{service}.*", self.prefix)
    }

    /// The subject of this notification of this service; no stream captures it.
    pub fn notification_subject(&self, service: &str, command: &str) -> String {
        format!("{}.notify.{service}.{command}", self.prefix)
    }

    /// All notifications of this service.
    pub fn notifications_of(&self, service: &str) -> String {
        format!("{}.notify.{service}.*", self.prefix)
    }

    /// The subject on which the instances of a service that know a command answer for it (`*`: every command of the
    /// phase).
    pub fn known_subject(&self, service: &str, phase: Phase, command: &str) -> String {
        format!("{}.knows.{service}.{}.{command}", self.prefix, phase.as_str())
    }

    /// The subject on which coordinators tell each other of sagas that have ended; no stream captures it.
    pub fn ended_subject(&self) -> String {
        format!("{}.ended", self.prefix)
    }

    /// The subject of this reply.
    pub fn reply_subject(&self, reply: &ReplyMessage) -> String {
        self.reply_subject_of(&reply.service, &reply.saga, reply.version)
    }

    /// The subject of replies of this service to sagas of this definition.
    pub fn reply_subject_of(&self, service: &str, saga: &str, version: u32) -> String {
        format!("{}.reply.{service}.{saga}.{version}", self.prefix)
    }

    /// All replies to sagas of this definition (`*`: of every one).
    pub fn replies_to(&self, saga: &str, version: &str) -> String {
        format!("{}.reply.*.{saga}.{version}", self.prefix)
    }

    /// The subject of dead letters of this service (`*`: of every service).
    pub fn dead_letters_of(&self, service: &str) -> String {
        format!("{}.dead-letter.{service}", self.prefix)
    }

    /// The service whose dead letters have this subject; a stranger may have put there what is no name of a service.
    pub(crate) fn dead_letter_service(&self, subject: &str) -> Name {
        let service = subject.strip_prefix(&self.dead_letters_of("")).and_then(|rest| Name::new(rest).ok());
        service.unwrap_or_else(|| Name::new("unknown").expect("it is a name"))
    }

    /// Returns true if commands or replies travel on this subject.
    pub fn carries(&self, subject: &str) -> bool {
        let tokens = |kind: &str, count: usize| {
            let rest = subject.strip_prefix(&format!("{}.{kind}.", self.prefix));
            rest.is_some_and(|rest| rest.split('.').count() == count && rest.split('.').all(is_token))
        };
        tokens("command", 2) || tokens("reply", 3)
    }

    /// The subjects of the anchors of the streams of commands and of replies; no consumer subscribes to them.
    pub(crate) fn anchors(&self) -> [String; 2] {
        ["command", "reply"].map(|stream| format!("{}.{stream}.anchor", self.prefix))
    }

    /// Advisories of the server about messages that were given up, of our own streams only.
    pub fn advisories(&self) -> Vec<String> {
        [self.commands_stream(), self.replies_stream()]
            .iter()
            .flat_map(|stream| {
                ["MAX_DELIVERIES", "MSG_TERMINATED"]
                    .map(|kind| format!("$JS.EVENT.ADVISORY.CONSUMER.{kind}.{stream}.>"))
            })
            .collect()
    }

    /// Durable name of a service's consumer.
    pub fn service_consumer(&self, service: &str) -> String {
        service.to_owned()
    }

    /// Durable name of the consumer of dead letters.
    pub fn dead_letters_consumer(&self) -> String {
        "journal".to_owned()
    }

    /// Durable name of the consumer of the replies to one saga definition.
    pub fn definition_consumer(&self, saga: &str, version: u32) -> String {
        format!("{saga}_{version}")
    }
}

/// Returns true if a subject may hold this between its dots.
fn is_token(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}
