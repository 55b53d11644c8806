//! The consumers of a wire: commands of a service, replies to a definition.

use redress_core::{CommandMessage, Name, ReplyMessage};

use crate::consumer::Consumer;
use crate::unreadable::ConsumerName;
use crate::wire::Wire;

impl Wire {
    /// The commands for a service that has no database; instances of a service share them.
    pub fn commands(&self, service: &Name) -> Consumer<CommandMessage> {
        Consumer::new(self.clone(), self.command_consumer(service), None)
    }

    /// The commands for a service whose instances all have the inbox `inbox`: a service of the same name with another
    /// database is a stranger, which takes nothing.
    pub fn commands_for(&self, service: &Name, inbox: &str) -> Consumer<CommandMessage> {
        Consumer::new(self.clone(), self.command_consumer(service), Some(inbox.to_owned()))
    }

    fn command_consumer(&self, service: &Name) -> ConsumerName {
        let topology = &self.inner.topology;
        ConsumerName {
            stream: topology.commands_stream(),
            durable: topology.service_consumer(service),
            filter: topology.commands_of(service),
        }
    }

    /// The replies to sagas of one definition; coordinators that know it share them.
    pub fn replies(&self, saga: &Name, version: u32) -> Consumer<ReplyMessage> {
        let topology = &self.inner.topology;
        let consumer = ConsumerName {
            stream: topology.replies_stream(),
            durable: topology.definition_consumer(saga, version),
            filter: topology.replies_to(saga, &version.to_string()),
        };
        Consumer::new(self.clone(), consumer, None)
    }
}
