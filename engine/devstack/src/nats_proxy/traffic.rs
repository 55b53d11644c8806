//! Which messages may be lost or doubled, and the memory of those that came by.
//!
//! | traffic | frame | may be lost | may be doubled |
//! |---|---|---|---|
//! | delivery | `MSG`, reply subject `$JS.ACK.…` | yes: it is delivered again | yes: as if acknowledged late |
//! | plain message | `MSG` or `PUB` without a reply subject | yes: for good | no: nothing sends it again |
//! | publication | `PUB`, reply subject `_INBOX.…` | yes: its sender is told nothing | yes: as if sent again |
//! | acknowledgement | `PUB $JS.ACK.…` | yes: the message is delivered again | no: the second one has no effect |
//! | control | JetStream API, answers to `_INBOX.…`, questions to services, other `$` subjects | no | no |
//!
//! Control traffic passes unharmed because a client library that cannot set up its consumer shows nothing about delivery.
//! The receipts of the broker for publications pass as well: to lose one has the same effect as to double the publication.
//!
//! A duplicate stands for a message that its protocol sends again although it had arrived. TCP doubles nothing by itself,
//! so a plain message, which nobody sends again, never comes twice.

use std::collections::BTreeMap;

use super::fate::{Fate, Identity, NatsFaults};
use super::frames::{Frame, Message};

/// The acknowledgements of JetStream go to subjects that begin with this.
const ACK: &str = "$JS.ACK.";
/// Answers to requests go to subjects that begin with this.
const INBOX: &str = "_INBOX.";

/// The way of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    ToBroker,
    ToClient,
}

/// What has come by of one kind of traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrafficCount {
    /// Messages that came, those that were lost included.
    pub came: u64,
    /// Those of them that were lost.
    pub lost: u64,
    /// Those of them that were passed on twice.
    pub doubled: u64,
}

/// What has come by since the proxy was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NatsTraffic {
    /// Deliveries of JetStream to the clients.
    pub deliveries: TrafficCount,
    /// Plain messages, which no stream keeps, in both directions.
    pub plain: TrafficCount,
    /// Messages that clients publish to a stream.
    pub publications: TrafficCount,
    /// Acknowledgements of deliveries.
    pub acknowledgements: TrafficCount,
    /// Of now: messages of JetStream that were delivered, or lost on the way, and whose acknowledgement has not passed.
    pub unacknowledged: u64,
}

/// The part that a message has in the protocol.
#[derive(Debug, PartialEq, Eq)]
enum Traffic<'m> {
    /// Of the message of a stream at this position.
    Delivery(StreamPosition<'m>),
    /// Of the same.
    Acknowledgement(StreamPosition<'m>),
    Plain,
    Publication,
    Control,
}

/// Stream, consumer and sequence: the same for each delivery of a message.
#[derive(Debug, PartialEq, Eq)]
struct StreamPosition<'m>([&'m str; 3]);

/// The message of a stream, as far as its consumer is concerned.
#[derive(Debug)]
enum Delivered {
    /// The broker may deliver it again.
    Unacknowledged(Identity),
    /// Its acknowledgement has passed.
    Acknowledged(Identity),
}

/// Everything that came by. It grows with each message that is not the copy of one before, by about a hundred bytes: a
/// proxy is for tests and for experiments that end.
#[derive(Debug, Default)]
pub(super) struct Memory {
    copies: BTreeMap<Identity, u32>,
    delivered: BTreeMap<[String; 3], Delivered>,
    counted: NatsTraffic,
}

impl Memory {
    pub(super) fn traffic(&self) -> NatsTraffic {
        self.counted
    }

    /// Decides how often a frame is passed on, and remembers it.
    pub(super) fn copies_of(&mut self, direction: Direction, frame: &Frame, faults: &NatsFaults) -> usize {
        let Some(message) = &frame.message else { return 1 };
        let traffic = classify(direction, message);
        let (identity, kind) = match &traffic {
            Traffic::Control => return 1,
            Traffic::Delivery(_) => (identity(b"delivery", message, frame), Repeats::Possible),
            Traffic::Plain => (identity(b"plain", message, frame), Repeats::Never),
            Traffic::Publication => (identity(b"publication", message, frame), Repeats::Possible),
            Traffic::Acknowledgement(of) => (self.identity_of_ack(of, frame.payload()), Repeats::Never),
        };
        let copy = self.copies.entry(identity).and_modify(|copy| *copy += 1).or_insert(1);
        let fate = match (faults.fate(identity, *copy), kind) {
            (Fate::Doubled, Repeats::Never) => Fate::Passed,
            (fate, Repeats::Never | Repeats::Possible) => fate,
        };
        self.count(&traffic, fate);
        self.follow(&traffic, identity, frame.payload(), fate);
        match fate {
            Fate::Lost => 0,
            Fate::Passed => 1,
            Fate::Doubled => 2,
        }
    }

    /// An acknowledgement is known by the message that it is for: its own subject holds times and counts.
    fn identity_of_ack(&self, position: &StreamPosition<'_>, kind: &[u8]) -> Identity {
        match self.delivered.get(&position.owned()) {
            Some(Delivered::Unacknowledged(of) | Delivered::Acknowledged(of)) => {
                Identity::of(&[b"acknowledgement", kind, of.bytes()])
            }
            None => Identity::of(&[b"acknowledgement", kind, position.0.join(".").as_bytes()]),
        }
    }

    fn count(&mut self, traffic: &Traffic<'_>, fate: Fate) {
        let count = match traffic {
            Traffic::Delivery(_) => &mut self.counted.deliveries,
            Traffic::Acknowledgement(_) => &mut self.counted.acknowledgements,
            Traffic::Plain => &mut self.counted.plain,
            Traffic::Publication => &mut self.counted.publications,
            Traffic::Control => return,
        };
        count.came += 1;
        match fate {
            Fate::Lost => count.lost += 1,
            Fate::Passed => {}
            Fate::Doubled => count.doubled += 1,
        }
    }

    /// Follows which messages the broker may still deliver again.
    fn follow(&mut self, traffic: &Traffic<'_>, identity: Identity, payload: &[u8], fate: Fate) {
        match traffic {
            Traffic::Delivery(position) => {
                self.delivered.entry(position.owned()).or_insert_with(|| {
                    self.counted.unacknowledged += 1;
                    Delivered::Unacknowledged(identity)
                });
            }
            Traffic::Acknowledgement(position) if fate != Fate::Lost && is_final(payload) => {
                if let Some(delivered) = self.delivered.get_mut(&position.owned())
                    && let Delivered::Unacknowledged(of) = delivered
                {
                    *delivered = Delivered::Acknowledged(*of);
                    self.counted.unacknowledged -= 1;
                }
            }
            Traffic::Acknowledgement(_) | Traffic::Plain | Traffic::Publication | Traffic::Control => {}
        }
    }
}

/// Whether the protocol may send a message again.
#[derive(Clone, Copy)]
enum Repeats {
    Possible,
    Never,
}

fn identity(kind: &[u8], message: &Message, frame: &Frame) -> Identity {
    Identity::of(&[kind, message.subject.as_bytes(), frame.payload()])
}

/// Returns true if the broker does not deliver a message again after an acknowledgement of this kind: unlike "not now" and
/// "in progress".
fn is_final(kind: &[u8]) -> bool {
    kind.is_empty() || [&b"+ACK"[..], b"+TERM", b"+NXT"].iter().any(|end| kind.starts_with(end))
}

fn classify(direction: Direction, message: &Message) -> Traffic<'_> {
    let (subject, reply) = (message.subject.as_str(), message.reply.as_deref());
    match (direction, reply) {
        (Direction::ToBroker, _) if subject.starts_with(ACK) => {
            StreamPosition::read(subject).map_or(Traffic::Control, Traffic::Acknowledgement)
        }
        _ if subject.starts_with('$') || subject.starts_with(INBOX) => Traffic::Control,
        (Direction::ToClient, Some(reply)) if reply.starts_with(ACK) => {
            StreamPosition::read(reply).map_or(Traffic::Control, Traffic::Delivery)
        }
        // A question to a service, which waits for its answer.
        (Direction::ToClient, Some(_)) => Traffic::Control,
        (Direction::ToBroker, Some(_)) => Traffic::Publication,
        (Direction::ToBroker | Direction::ToClient, None) => Traffic::Plain,
    }
}

impl<'m> StreamPosition<'m> {
    /// Reads `$JS.ACK.<stream>.<consumer>.<deliveries>.<sequence>.…`, of nine tokens, or its second version, which has
    /// domain and account before the stream.
    fn read(ack: &'m str) -> Option<Self> {
        let tokens: Vec<&str> = ack.split('.').collect();
        let first = match tokens.len() {
            9 => 2,
            11.. => 4,
            _ => return None,
        };
        Some(Self([tokens[first], tokens[first + 1], tokens[first + 3]]))
    }

    fn owned(&self) -> [String; 3] {
        self.0.map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::nats_proxy::frames::Frames;

    fn frame(text: &str) -> Frame {
        let mut frames = Frames::default();
        frames.push(text.as_bytes());
        frames.next().unwrap().unwrap()
    }

    fn faults(loss: f64, duplication: f64) -> NatsFaults {
        NatsFaults { seed: 7, loss, duplication, latency: Duration::ZERO }
    }

    fn delivery(sequence: u32, deliveries: u32, payload: &str) -> Frame {
        let ack = format!("$JS.ACK.S.C.{deliveries}.{sequence}.{sequence}.17.0");
        frame(&format!("MSG shop.command.charge 7 {ack} {}\r\n{payload}\r\n", payload.len()))
    }

    fn ack(sequence: u32, deliveries: u32, kind: &str) -> Frame {
        frame(&format!(
            "PUB $JS.ACK.S.C.{deliveries}.{sequence}.{sequence}.17.0 {}\r\n{kind}\r\n",
            kind.len()
        ))
    }

    #[test]
    fn part_of_a_message_in_the_protocol_is_recognised() {
        use Direction::{ToBroker, ToClient};
        let cases = [
            (ToClient, "MSG a.b 1 $JS.ACK.S.C.1.2.3.4.5 0\r\n\r\n"),
            (ToClient, "MSG a.b 1 $JS.ACK.hub.hash.S.C.1.2.3.4.5 0\r\n\r\n"),
            (ToClient, "MSG a.b 1 0\r\n\r\n"),
            (ToClient, "MSG a.b 1 _INBOX.x 0\r\n\r\n"),
            (ToClient, "MSG _INBOX.x 1 0\r\n\r\n"),
            (ToClient, "MSG $JS.EVENT.ADVISORY.x 1 0\r\n\r\n"),
            (ToBroker, "PUB $JS.ACK.S.C.1.2.3.4.5 0\r\n\r\n"),
            (ToBroker, "PUB $JS.ACK.odd 0\r\n\r\n"),
            (ToBroker, "PUB $JS.API.INFO _INBOX.x 0\r\n\r\n"),
            (ToBroker, "PUB _INBOX.x 0\r\n\r\n"),
            (ToBroker, "PUB a.b _INBOX.x 0\r\n\r\n"),
            (ToBroker, "PUB a.b 0\r\n\r\n"),
        ];
        let lines = cases.map(|(direction, text)| {
            let message = frame(text).message.unwrap();
            format!("{} => {:?}", text.trim_end(), classify(direction, &message))
        });
        insta::assert_snapshot!(lines.join("\n"), @r#"
        MSG a.b 1 $JS.ACK.S.C.1.2.3.4.5 0 => Delivery(StreamPosition(["S", "C", "2"]))
        MSG a.b 1 $JS.ACK.hub.hash.S.C.1.2.3.4.5 0 => Delivery(StreamPosition(["S", "C", "2"]))
        MSG a.b 1 0 => Plain
        MSG a.b 1 _INBOX.x 0 => Control
        MSG _INBOX.x 1 0 => Control
        MSG $JS.EVENT.ADVISORY.x 1 0 => Control
        PUB $JS.ACK.S.C.1.2.3.4.5 0 => Acknowledgement(StreamPosition(["S", "C", "2"]))
        PUB $JS.ACK.odd 0 => Control
        PUB $JS.API.INFO _INBOX.x 0 => Control
        PUB _INBOX.x 0 => Control
        PUB a.b _INBOX.x 0 => Publication
        PUB a.b 0 => Plain
        "#);
    }

    #[test]
    fn control_traffic_passes_unharmed() {
        let mut memory = Memory::default();
        for text in ["PING\r\n", "PUB $JS.API.INFO _INBOX.x 0\r\n\r\n", "PUB _INBOX.x 0\r\n\r\n"] {
            assert_eq!(memory.copies_of(Direction::ToBroker, &frame(text), &faults(1.0, 1.0)), 1, "{text}");
        }
        assert_eq!(memory.traffic(), NatsTraffic::default());
    }

    #[test]
    fn only_what_is_sent_again_is_doubled() {
        let mut memory = Memory::default();
        let mut copies = |direction, frame| memory.copies_of(direction, &frame, &faults(0.0, 1.0));
        assert_eq!(copies(Direction::ToClient, delivery(1, 1, "a")), 2);
        assert_eq!(copies(Direction::ToBroker, frame("PUB a.b _INBOX.x 0\r\n\r\n")), 2);
        assert_eq!(copies(Direction::ToClient, frame("MSG a.b 1 0\r\n\r\n")), 1);
        assert_eq!(copies(Direction::ToBroker, ack(1, 1, "+ACK")), 1);
    }

    #[test]
    fn fate_of_a_message_is_the_same_wherever_it_stands_in_the_stream() {
        let payloads: Vec<String> = (0..200).map(|number| number.to_string()).collect();
        let lost = |memory: &mut Memory, order: &mut dyn Iterator<Item = &String>| -> Vec<String> {
            let copies = order.enumerate().map(|(at, payload)| {
                let frame = delivery(u32::try_from(at).unwrap() + 1, 1, payload);
                (payload.clone(), memory.copies_of(Direction::ToClient, &frame, &faults(0.3, 0.0)))
            });
            let mut lost: Vec<String> = copies.filter(|(_, copies)| *copies == 0).map(|it| it.0).collect();
            lost.sort();
            lost
        };
        let forward = lost(&mut Memory::default(), &mut payloads.iter());
        let backward = lost(&mut Memory::default(), &mut payloads.iter().rev());
        assert_eq!(forward, backward);
        assert!((30..90).contains(&forward.len()), "{}", forward.len());
    }

    #[test]
    fn message_is_unacknowledged_until_a_final_acknowledgement_passes() {
        let mut memory = Memory::default();
        let none = faults(0.0, 0.0);
        memory.copies_of(Direction::ToClient, &delivery(1, 1, "a"), &faults(1.0, 0.0));
        memory.copies_of(Direction::ToClient, &delivery(1, 2, "a"), &none);
        memory.copies_of(Direction::ToClient, &delivery(2, 1, "b"), &none);
        assert_eq!(memory.traffic().unacknowledged, 2, "one that was lost is delivered again");
        for kind in ["-NAK {\"delay\":1}", "+WPI"] {
            memory.copies_of(Direction::ToBroker, &ack(1, 2, kind), &none);
        }
        memory.copies_of(Direction::ToBroker, &ack(1, 2, "+ACK"), &faults(1.0, 0.0));
        assert_eq!(memory.traffic().unacknowledged, 2, "no final acknowledgement has passed");
        memory.copies_of(Direction::ToBroker, &ack(1, 2, "+ACK"), &none);
        memory.copies_of(Direction::ToBroker, &ack(1, 2, "+ACK"), &none);
        memory.copies_of(Direction::ToBroker, &ack(2, 1, ""), &none);
        assert_eq!(memory.traffic().unacknowledged, 0);
    }

    #[test]
    fn acknowledgement_is_known_by_its_message() {
        let lost_of = |first: u32| {
            let mut memory = Memory::default();
            let lost = (0..100).filter(|number: &u32| {
                memory.copies_of(
                    Direction::ToClient,
                    &delivery(first + number, 1, &number.to_string()),
                    &faults(0.0, 0.0),
                );
                memory.copies_of(Direction::ToBroker, &ack(first + number, 1, "+ACK"), &faults(0.3, 0.0)) == 0
            });
            lost.collect::<Vec<_>>()
        };
        assert_eq!(lost_of(1), lost_of(5_000), "sequences are no part of it");
        assert!(!lost_of(1).is_empty());
    }
}
