//! The decision whether a message is lost or doubled: a pure function, so that the same seed loses the same messages.
//!
//! The decision depends on the seed, on the identity of the message (its kind, its subject and its payload) and on how
//! often this message has come by, and on nothing else: not on the time, on the connection or on the messages beside it.
//! Headers are no part of the identity, since they hold times, ids and the number of the attempt; a message that is sent
//! again is the next copy of the same one.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

/// What a [`NatsProxy`](super::NatsProxy) does to messages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NatsFaults {
    /// The same seed loses and doubles the same messages.
    pub seed: u64,
    /// The part of the messages that is lost, from 0 to 1.
    pub loss: f64,
    /// The part of the messages that comes twice, from 0 to 1, of those that their protocol sends again.
    pub duplication: f64,
    /// How long each frame is under way in one direction.
    pub latency: Duration,
}

/// The identity of a message, whatever the copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Identity([u8; 16]);

/// What becomes of one copy of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Lost,
    Passed,
    Doubled,
}

impl Identity {
    /// The identity of what consists of these parts, in this order.
    pub(super) fn of(parts: &[&[u8]]) -> Self {
        let mut digest = Sha256::new();
        for part in parts {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        Self(first_bytes(&digest.finalize()))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl NatsFaults {
    /// The fate of copy number `copy` (from 1) of a message.
    pub(super) fn fate(&self, identity: Identity, copy: u32) -> Fate {
        let digest = Sha256::new()
            .chain_update(self.seed.to_be_bytes())
            .chain_update(identity.0)
            .chain_update(copy.to_be_bytes())
            .finalize();
        let (loss, duplication) = (draw(&digest[..8]), draw(&digest[8..16]));
        if loss < self.loss {
            Fate::Lost
        } else if duplication < self.duplication {
            Fate::Doubled
        } else {
            Fate::Passed
        }
    }
}

fn first_bytes<const N: usize>(digest: &[u8]) -> [u8; N] {
    digest[..N].try_into().expect("a digest is longer than what is taken of it")
}

/// A number from 0 to 1, without 1: as many bits as an `f64` keeps.
fn draw(bytes: &[u8]) -> f64 {
    (u64::from_be_bytes(first_bytes(bytes)) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAULTS: NatsFaults = NatsFaults { seed: 1, loss: 0.1, duplication: 0.2, latency: Duration::ZERO };

    fn fates(faults: NatsFaults, copy: u32) -> Vec<Fate> {
        (0..10_000_u32).map(|number| faults.fate(Identity::of(&[&number.to_be_bytes()]), copy)).collect()
    }

    #[test]
    fn fate_depends_on_seed_identity_and_copy_alone() {
        assert_eq!(fates(FAULTS, 1), fates(FAULTS, 1));
        assert_ne!(fates(FAULTS, 1), fates(FAULTS, 2));
        assert_ne!(fates(FAULTS, 1), fates(NatsFaults { seed: 2, ..FAULTS }, 1));
        let slower = NatsFaults { latency: Duration::from_secs(1), ..FAULTS };
        assert_eq!(fates(FAULTS, 1), fates(slower, 1));
    }

    #[test]
    fn rates_are_kept() {
        for (loss, duplication) in [(0.0, 0.0), (0.1, 0.2), (0.5, 0.5), (1.0, 1.0), (0.0, 1.0)] {
            let fates = fates(NatsFaults { loss, duplication, ..FAULTS }, 1);
            let part = |wanted| fates.iter().filter(|fate| **fate == wanted).count() as f64 / 10_000.0;
            assert!((part(Fate::Lost) - loss).abs() < 0.02, "{loss}: {}", part(Fate::Lost));
            let doubled = (1.0 - loss) * duplication;
            assert!((part(Fate::Doubled) - doubled).abs() < 0.02, "{doubled}: {}", part(Fate::Doubled));
        }
    }

    #[test]
    fn messages_that_are_lost_at_a_low_rate_are_lost_at_a_higher_one() {
        let (few, many) = (fates(FAULTS, 1), fates(NatsFaults { loss: 0.3, ..FAULTS }, 1));
        assert!(few.iter().zip(&many).all(|(few, many)| *few != Fate::Lost || *many == Fate::Lost));
    }

    #[test]
    fn parts_of_an_identity_are_kept_apart() {
        assert_ne!(Identity::of(&[b"ab", b"c"]), Identity::of(&[b"a", b"bc"]));
    }
}
