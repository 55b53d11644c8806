//! Passes on commands that this instance does not know, or gives them up ([`crate::unknown`] decides).

use std::collections::BTreeMap;
use std::time::Instant;

use futures_util::future::join_all;
use redress_core::LetterCode;
use redress_wire::Malformed;
use redress_wire::delivery::AckHandle;

use crate::member::UnknownCommand;
use crate::post::{Post, known_phase};
use crate::unknown::{Kind, pause};

impl Post {
    /// Passes on commands that this instance does not know; gives back those that no instance has known for long
    /// enough.
    pub(crate) async fn pass_on(&self, unknown: Vec<UnknownCommand>) -> Vec<(Malformed, AckHandle)> {
        let mut by_kind: BTreeMap<Kind, Vec<UnknownCommand>> = BTreeMap::new();
        for it in unknown {
            by_kind
                .entry((known_phase(it.command.key.phase), it.command.command.clone()))
                .or_default()
                .push(it);
        }
        let asked = join_all(by_kind.into_iter().map(async |(kind, commands)| {
            let elsewhere = self.wire.is_known_elsewhere(&self.service, kind.0, &kind.1).await;
            (kind, commands, elsewhere)
        }));
        let mut refused = Vec::new();
        for (kind, commands, elsewhere) in asked.await {
            let unknown_for = self.unknowns.heard(&kind, elsewhere, Instant::now());
            for UnknownCommand { command, deliveries, ack } in commands {
                match pause(elsewhere, deliveries, unknown_for, self.config.unknown_command_age) {
                    Some(pause) => ack.nak(pause).await,
                    None => {
                        let (service, (phase, name)) = (&self.service, &kind);
                        let reason = format!("service `{service}` knows no {phase} `{name}`");
                        refused.push((self.poison(&command, LetterCode::UnknownCommand, reason), ack));
                    }
                }
            }
        }
        refused
    }
}
