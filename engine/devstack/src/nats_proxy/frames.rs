//! The frames of the NATS protocol: a line, and for messages a payload behind it.
//!
//! Bytes come in pieces that end anywhere; a frame is given out when it is whole, with exactly the bytes that came. Only
//! the four frames that carry a message are read (`PUB`, `HPUB`, `MSG`, `HMSG`); every other line is passed on as it is.

use std::ops::Range;

use bytes::{Buf as _, Bytes, BytesMut};
use thiserror::Error;

/// The longest line, in bytes: the server's `INFO` is the longest, and has some kilobytes.
const LINE_BYTES_MAX: usize = 64 << 10;
/// The largest payload, in bytes: the most that a NATS server can be configured to take.
const PAYLOAD_BYTES_MAX: usize = 64 << 20;
const LINE_END: &[u8] = b"\r\n";

/// A frame, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Its bytes as they came.
    pub(super) bytes: Bytes,
    /// The message that it carries, if it carries one.
    pub(super) message: Option<Message>,
}

/// The message of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) subject: String,
    /// The subject on which an answer, or an acknowledgement, is expected.
    pub(super) reply: Option<String>,
    /// Where its payload stands in the bytes of the frame, the headers not included.
    payload: Range<usize>,
}

/// Bytes that are not of this protocol: the connection cannot go on, since nobody knows where the next frame begins.
#[derive(Debug, PartialEq, Eq, Error)]
pub(super) enum InvalidFrame {
    #[error("a line has more than {LINE_BYTES_MAX} bytes")]
    LineTooLong,
    #[error("the line `{0}` is no frame of a message")]
    Line(String),
    #[error("a payload of {0} bytes is announced; at most {PAYLOAD_BYTES_MAX} are possible")]
    PayloadTooLarge(usize),
    #[error("a payload does not end where its line says")]
    Unterminated,
}

/// Makes frames of the bytes of one direction of a connection.
#[derive(Debug, Default)]
pub(super) struct Frames {
    buffer: BytesMut,
}

impl Frame {
    /// The payload of its message; empty if it carries none.
    pub(super) fn payload(&self) -> &[u8] {
        self.message.as_ref().map_or(&[], |message| &self.bytes[message.payload.clone()])
    }
}

impl Frames {
    /// Takes the next bytes that came.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame, if all of it has come.
    ///
    /// # Errors
    /// [`InvalidFrame`] if the bytes are of another protocol; there is no frame after it.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, InvalidFrame> {
        let Some(line_end) = self.buffer.windows(LINE_END.len()).position(|two| two == LINE_END) else {
            return if self.buffer.len() > LINE_BYTES_MAX {
                Err(InvalidFrame::LineTooLong)
            } else {
                Ok(None)
            };
        };
        let behind_line = line_end + LINE_END.len();
        let Some(head) = Head::read(&self.buffer[..line_end])? else {
            let bytes = self.buffer.split_to(behind_line).freeze();
            return Ok(Some(Frame { bytes, message: None }));
        };
        let payload_end = behind_line + head.bytes;
        let frame_end = payload_end + LINE_END.len();
        if self.buffer.remaining() < frame_end {
            return Ok(None);
        }
        if self.buffer[payload_end..frame_end] != *LINE_END {
            return Err(InvalidFrame::Unterminated);
        }
        let bytes = self.buffer.split_to(frame_end).freeze();
        let payload = behind_line + head.header_bytes..payload_end;
        Ok(Some(Frame {
            bytes,
            message: Some(Message { subject: head.subject, reply: head.reply, payload }),
        }))
    }
}

/// The line of a message.
struct Head {
    subject: String,
    reply: Option<String>,
    header_bytes: usize,
    /// Of headers and payload together.
    bytes: usize,
}

impl Head {
    /// Reads a line; none if no payload follows it.
    fn read(line: &[u8]) -> Result<Option<Self>, InvalidFrame> {
        let text = String::from_utf8_lossy(line);
        let mut words = text.split_ascii_whitespace();
        let verb = words.next().unwrap_or_default().to_ascii_uppercase();
        // Subject first, sizes last; between them the id of a subscription and the reply subject, which may be missing.
        let (has_subscription, sizes) = match verb.as_str() {
            "PUB" => (false, 1),
            "HPUB" => (false, 2),
            "MSG" => (true, 1),
            "HMSG" => (true, 2),
            _ => return Ok(None),
        };
        let invalid = || InvalidFrame::Line(text.chars().take(80).collect());
        let words: Vec<&str> = words.collect();
        let fixed = 1 + usize::from(has_subscription);
        let reply = match words.len().checked_sub(fixed + sizes) {
            Some(0) => None,
            Some(1) => Some(words[fixed].to_owned()),
            Some(_) | None => return Err(invalid()),
        };
        let size = |word: &str| word.parse::<usize>().map_err(|_| invalid());
        let bytes = size(words[words.len() - 1])?;
        let header_bytes = if sizes == 2 { size(words[words.len() - 2])? } else { 0 };
        if bytes > PAYLOAD_BYTES_MAX {
            return Err(InvalidFrame::PayloadTooLarge(bytes));
        }
        if header_bytes > bytes {
            return Err(invalid());
        }
        Ok(Some(Self { subject: words[0].to_owned(), reply, header_bytes, bytes }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of each kind, payloads that look like frames among them.
    const TALK: &[&[u8]] = &[
        b"INFO {\"server_id\":\"A\",\"max_payload\":1048576}\r\n",
        b"CONNECT {\"verbose\":false}\r\n",
        b"PING\r\n",
        b"+OK\r\n",
        b"SUB _INBOX.a.* 1\r\n",
        b"PUB shop.command.charge 5\r\nhello\r\n",
        b"pub shop.reply _INBOX.a.1 20\r\nPUB x 3\r\nabc\r\nPONG\r\n\r\n",
        b"HPUB shop.reply _INBOX.a.2 23 27\r\nNATS/1.0\r\nName: one\r\n\r\nbody\r\n",
        b"MSG shop.command.charge 7 $JS.ACK.S.C.1.2.3.4.5 0\r\n\r\n",
        b"MSG  shop.notify\t7 2\r\n\r\n\r\n",
        b"HMSG shop.command.charge 7 $JS.ACK.S.C.1.2.3.4.5 12 15\r\nNATS/1.0\r\n\r\nabc\r\n",
        b"-ERR 'Slow Consumer'\r\n",
    ];

    fn all(frames: &mut Frames) -> Vec<Frame> {
        std::iter::from_fn(|| frames.next().unwrap()).collect()
    }

    fn expected() -> Vec<Frame> {
        let mut frames = Frames::default();
        frames.push(&TALK.concat());
        all(&mut frames)
    }

    #[test]
    fn every_frame_is_given_out_with_the_bytes_that_came() {
        let bytes: Vec<Bytes> = expected().into_iter().map(|frame| frame.bytes).collect();
        assert_eq!(bytes, TALK);
    }

    #[test]
    fn subject_reply_and_payload_of_messages_are_read() {
        let messages = expected().into_iter().filter_map(|frame| {
            let message = frame.message.clone()?;
            let payload = String::from_utf8_lossy(frame.payload()).into_owned();
            Some(format!("{} {} {payload:?}", message.subject, message.reply.as_deref().unwrap_or("-")))
        });
        insta::assert_snapshot!(messages.collect::<Vec<_>>().join("\n"), @r#"
        shop.command.charge - "hello"
        shop.reply _INBOX.a.1 "PUB x 3\r\nabc\r\nPONG\r\n"
        shop.reply _INBOX.a.2 "body"
        shop.command.charge $JS.ACK.S.C.1.2.3.4.5 ""
        shop.notify - "\r\n"
        shop.command.charge $JS.ACK.S.C.1.2.3.4.5 "abc"
        "#);
    }

    #[test]
    fn frames_are_the_same_wherever_the_bytes_are_split() {
        let (whole, expected) = (TALK.concat(), expected());
        for first in 0..=whole.len() {
            let mut frames = Frames::default();
            frames.push(&whole[..first]);
            let mut got = all(&mut frames);
            frames.push(&whole[first..]);
            got.extend(all(&mut frames));
            assert_eq!(got, expected, "split at {first}");
        }
        let mut frames = Frames::default();
        let one_by_one = whole.iter().flat_map(|byte| {
            frames.push(&[*byte]);
            all(&mut frames)
        });
        assert_eq!(one_by_one.collect::<Vec<_>>(), expected, "byte by byte");
    }

    #[test]
    fn bytes_of_another_protocol_are_refused() {
        let long = vec![b'x'; LINE_BYTES_MAX + 1];
        let cases: [(&[u8], &str); 7] = [
            (b"PUB\r\n", "the line `PUB` is no frame of a message"),
            (b"PUB a b c 1\r\n", "the line `PUB a b c 1` is no frame of a message"),
            (b"MSG a 1\r\n", "the line `MSG a 1` is no frame of a message"),
            (b"HPUB a 9 8\r\n", "the line `HPUB a 9 8` is no frame of a message"),
            (
                b"PUB a 67108865\r\n",
                "a payload of 67108865 bytes is announced; at most 67108864 are possible",
            ),
            (b"PUB a 1\r\nabc", "a payload does not end where its line says"),
            (&long, "a line has more than 65536 bytes"),
        ];
        for (bytes, why) in cases {
            let mut frames = Frames::default();
            frames.push(bytes);
            assert_eq!(frames.next().unwrap_err().to_string(), why);
        }
    }
}
