//! Replaces a client that has ended by another one.

use std::sync::Weak;
use std::time::Duration;

use crate::wire::Inner;

/// Pause before a client that has ended is replaced: one that ends at once each time must not spin.
const REPLACE_PAUSE: Duration = Duration::from_millis(100);

/// Replaces clients that have ended, for as long as the wire is in use.
pub(crate) async fn watch(wire: Weak<Inner>) {
    loop {
        let Some(present) = wire.upgrade().map(|inner| inner.links.present()) else { return };
        let (ended, number) = (present.ended.clone(), present.number);
        // Held, the client would never end by itself.
        drop(present);
        ended.cancelled().await;
        let Some(inner) = wire.upgrade() else { return };
        tracing::error!("NATS client terminated, as it does on a message that it cannot read; replacing it");
        tokio::time::sleep(REPLACE_PAUSE).await;
        match inner.recipe.connect(number + 1, &inner.config, true).await {
            Ok(link) => inner.links.replace(link),
            Err(error) => tracing::error!(%error, "failed to replace the NATS client; retrying"),
        }
    }
}
