//! A netlink socket that never waits (netlink(7)).
//!
//! The kernel answers a request within the call that sends it, and goes on with a dump within each call that reads, so
//! that no answer is ever waited for. What it tells of its own accord lies ready until somebody looks: a second of the
//! monitor wakes the machine once, however many things are watched.

use std::io::{self, ErrorKind};

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NlaBuffer, NlasIterator};
use netlink_sys::{Socket, SocketAddr};

/// The kernel writes at most so much at once into a buffer that is not larger (`NLMSG_GOODSIZE` is at most 16 KiB).
const BUFFER: usize = 32 << 10;
/// A dump of a large network is long; one without end is a defect somewhere.
const MOST_READS: usize = 4096;
/// `NLMSG_ERROR`, and below `NLMSG_MIN_TYPE` nothing but control.
const ERROR: u16 = 2;
const CONTROL_BELOW: u16 = 16;
const HEADER: usize = 16;

/// Whether messages were lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Heard {
    /// Everything that was said.
    All,
    /// Not all: what is known has to be asked for again.
    Lost,
}

/// One socket, of one protocol of netlink.
pub(crate) struct Netlink {
    socket: Socket,
    buffer: Vec<u8>,
    sequence: u32,
}

impl Netlink {
    pub(crate) fn open(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind(&SocketAddr::new(0, 0))?;
        socket.set_non_blocking(true)?;
        Ok(Self { socket, buffer: Vec::new(), sequence: 0 })
    }

    /// From now on the kernel tells of this group's facts.
    pub(crate) fn join(&self, group: u32) -> io::Result<()> {
        self.socket.add_membership(group)
    }

    /// Asks for everything of a kind; `hear` has the answer.
    pub(crate) fn dump(&mut self, kind: u16, body: &[u8]) -> io::Result<()> {
        self.send(kind, NLM_F_REQUEST | NLM_F_DUMP, body)
    }

    /// Asks one thing; `hear` has the answer.
    pub(crate) fn ask(&mut self, kind: u16, body: &[u8]) -> io::Result<()> {
        self.send(kind, NLM_F_REQUEST, body)
    }

    fn send(&mut self, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let length = u32::try_from(HEADER + body.len()).map_err(io::Error::other)?;
        let mut message = Vec::with_capacity(HEADER + body.len());
        message.extend_from_slice(&length.to_ne_bytes());
        message.extend_from_slice(&kind.to_ne_bytes());
        message.extend_from_slice(&flags.to_ne_bytes());
        message.extend_from_slice(&self.sequence.to_ne_bytes());
        message.extend_from_slice(&[0; 4]);
        message.extend_from_slice(body);
        self.socket.send(&message, 0).map(drop)
    }

    /// Every message that lies ready: its type and its content.
    pub(crate) fn hear(&mut self, mut message: impl FnMut(u16, &[u8])) -> io::Result<Heard> {
        let mut heard = Heard::All;
        for _ in 0..MOST_READS {
            self.buffer.clear();
            self.buffer.reserve(BUFFER);
            match self.socket.recv(&mut self.buffer, 0) {
                Ok(0) => break,
                Ok(_) => messages(&self.buffer, &mut message),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // ENOBUFS: more was said than the socket holds. What is left in it can still be read.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => heard = Heard::Lost,
                Err(error) => return Err(error),
            }
        }
        self.buffer = Vec::new(); // 32 KiB that only this second needed
        Ok(heard)
    }
}

/// The messages of one datagram; one that is cut off ends it.
fn messages(mut bytes: &[u8], message: &mut impl FnMut(u16, &[u8])) {
    while let Ok(buffer) = NetlinkBuffer::new_checked(bytes) {
        let kind = buffer.message_type();
        if kind >= CONTROL_BELOW {
            message(kind, buffer.payload());
        } else if kind == ERROR {
            tracing::trace!("netlink refused a request");
        }
        let length = usize::try_from(buffer.length()).unwrap_or(usize::MAX).max(HEADER).next_multiple_of(4);
        let Some(rest) = bytes.get(length..) else { break };
        bytes = rest;
    }
}

/// The attributes behind a message's own header, or in a nest; a damaged one ends them.
pub(crate) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(bytes).map_while(Result::ok).map(|attribute: NlaBuffer<&[u8]>| {
        let length = attribute.value_length();
        (attribute.kind(), attribute.into_inner().get(4..4 + length).unwrap_or_default())
    })
}

/// An attribute for a request.
pub(crate) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// A number of an attribute, in the machine's order.
pub(crate) fn u32_of(value: &[u8]) -> Option<u32> {
    value.first_chunk().copied().map(u32::from_ne_bytes)
}

/// As `u32_of`.
pub(crate) fn u16_of(value: &[u8]) -> Option<u16> {
    value.first_chunk().copied().map(u16::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_attribute_is_read_as_it_was_written() {
        let bytes = [attribute(3, b"eth0\0"), attribute(1, &[1, 2, 3, 4, 5, 6])].concat();

        assert_eq!(attributes(&bytes).collect::<Vec<_>>(), [(3, &b"eth0\0"[..]), (1, &[1, 2, 3, 4, 5, 6])]);
        assert_eq!(u32_of(&7_u32.to_ne_bytes()), Some(7));
        assert_eq!(u16_of(&[1]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_messages_and_attributes_or_their_end(bytes: Vec<u8>) {
            let mut count = 0;
            messages(&bytes, &mut |_, content| count += attributes(content).count() + 1);
            prop_assert!(count <= bytes.len());
        }
    }
}
