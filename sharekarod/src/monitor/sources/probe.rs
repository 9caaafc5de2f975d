//! Does the gateway answer? Asked each second by an echo request where a plain user may send one, otherwise by a
//! connection to its name server's port: accepted or refused is an answer, silence is none.
//!
//! Nobody waits for the answer. It is looked at a second later, with the time at which the kernel took it in. A
//! connection tells no such time: then the gateway's delay is not watched, only its silence.

use std::{
    io::{self, ErrorKind, IoSliceMut},
    net::{IpAddr, SocketAddr, SocketAddrV6},
    os::fd::AsRawFd,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt::ReceiveTimestampns};
use socket2::{Domain, Protocol, Socket, Type};

use crate::monitor::detect::rules::event::{Answer, Event};

const NAME_SERVER: u16 = 53;
/// Echo request of ICMP (RFC 792) and of ICMPv6 (RFC 4443).
const ECHO_V4: u8 = 8;
const ECHO_V6: u8 = 128;
/// A gateway that has never answered is asked each second so often, then once in so many seconds.
const TRIES: u32 = 10;
const SELDOM: u32 = 30;
/// Answers that may lie ready: one a second is asked for.
const MOST_ANSWERS: usize = 16;

/// Asks one gateway, second after second.
#[derive(Default)]
pub(super) struct Probe {
    gateway: Option<Gateway>,
    asked: Option<Question>,
    seconds: u32,
    answered: bool,
}

/// A router of IPv6 as a rule has an address that means something on its link only.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Gateway {
    address: IpAddr,
    link: u32,
}

enum Question {
    /// An echo request of this number, sent at this time since 1970.
    Echo { socket: Socket, number: u16, sent: Duration },
    /// A connection that is being made.
    Connection(Socket),
}

impl Probe {
    /// What became of the last second's question; then the next is asked.
    pub(super) fn second(&mut self, gateway: Option<IpAddr>, link: u32) -> Option<Event> {
        let gateway = gateway.map(|address| Gateway { address, link });
        if self.gateway != gateway {
            *self = Self { gateway, ..Self::default() };
        }
        let gateway = gateway?;
        let last = self.asked.take();
        let answer = last.as_ref().map(Question::answer);
        self.answered |= answer.is_some_and(|answer| answer != Answer::None);
        self.seconds = self.seconds.wrapping_add(1);
        if self.answered || self.seconds <= TRIES || self.seconds.is_multiple_of(SELDOM) {
            // Without a socket, or a route, nothing was asked: that is no silence of the gateway.
            self.asked = Question::ask(gateway, last).ok();
        }
        answer.map(Event::Probe)
    }
}

impl Question {
    fn ask(gateway: Gateway, last: Option<Self>) -> io::Result<Self> {
        let number = self::number(last.as_ref()).wrapping_add(1);
        let echo = match last {
            Some(Self::Echo { socket, .. }) => Ok(socket),
            Some(Self::Connection(_)) => Err(ErrorKind::PermissionDenied.into()),
            None => echo_socket(gateway),
        };
        match echo {
            Ok(socket) => {
                let sent = since_1970();
                // Code 0; the kernel fills in checksum and identifier of such sockets.
                let kind = if gateway.address.is_ipv4() { ECHO_V4 } else { ECHO_V6 };
                socket.send(&[&[kind, 0, 0, 0, 0, 0][..], &number.to_be_bytes()].concat())?;
                Ok(Self::Echo { socket, number, sent })
            }
            // Not permitted to this user (net.ipv4.ping_group_range).
            Err(_) => connect(gateway).map(Self::Connection),
        }
    }

    fn answer(&self) -> Answer {
        match self {
            Self::Echo { socket, number, sent } => (0..MOST_ANSWERS)
                .map_while(|_| echo(socket))
                .find(|(found, _)| found == number)
                .map_or(Answer::None, |(_, came)| came.and_then(|came| came.checked_sub(*sent)).map_or(Answer::Some, Answer::After)),
            Self::Connection(socket) => match socket.take_error() {
                Ok(Some(error)) if error.kind() == ErrorKind::ConnectionRefused => Answer::Some,
                Ok(None) if socket.peer_addr().is_ok() => Answer::Some,
                _ => Answer::None,
            },
        }
    }
}

fn number(last: Option<&Question>) -> u16 {
    if let Some(Question::Echo { number, .. }) = last { *number } else { 0 }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

impl Gateway {
    fn at(self, port: u16) -> SocketAddr {
        match self.address {
            IpAddr::V4(address) => (address, port).into(),
            IpAddr::V6(address) => SocketAddrV6::new(address, port, 0, self.link).into(),
        }
    }

    const fn domain(self) -> Domain {
        if self.address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 }
    }
}

fn echo_socket(gateway: Gateway) -> io::Result<Socket> {
    let protocol = if gateway.address.is_ipv4() { Protocol::ICMPV4 } else { Protocol::ICMPV6 };
    let socket = Socket::new(gateway.domain(), Type::DGRAM, Some(protocol))?;
    socket.set_nonblocking(true)?;
    setsockopt(&socket, ReceiveTimestampns, &true)?;
    socket.connect(&gateway.at(0).into())?;
    Ok(socket)
}

/// The number of the next answer that lies ready, and when the kernel took it in, since 1970.
fn echo(socket: &Socket) -> Option<(u16, Option<Duration>)> {
    let mut bytes = [0; 64];
    let mut space = nix::cmsg_space!(nix::sys::time::TimeSpec);
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_DONTWAIT).ok()?;
    let came = message.cmsgs().ok().into_iter().flatten().find_map(|part| match part {
        ControlMessageOwned::ScmTimestampns(at) => Some(Duration::from(at)),
        _ => None,
    });
    bytes.get(6..8).and_then(|number| number.first_chunk().copied()).map(|number| (u16::from_be_bytes(number), came))
}

fn connect(gateway: Gateway) -> io::Result<Socket> {
    let socket = Socket::new(gateway.domain(), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // Nothing is sent: the end of the last second's connection need not be waited for.
    socket.set_linger(Some(Duration::ZERO))?;
    match socket.connect(&gateway.at(NAME_SERVER).into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(socket),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::testing::soon;

    #[test]
    fn our_own_machine_answers_over_both_families_and_an_address_of_nobody_does_not() {
        let mut probe = Probe::default();
        for here in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
            assert_eq!(probe.second(Some(here), 1), None);
            soon(|| match probe.second(Some(here), 1) {
                Some(Event::Probe(Answer::Some | Answer::After(_))) => Some(()),
                // Where a machine has no IPv6, nothing is asked.
                None if here.is_ipv6() => Some(()),
                _ => None,
            });
        }

        // TEST-NET-1 (RFC 5737) is nobody's; where there is no route to it, nothing is asked.
        let nobody = Some(Ipv4Addr::new(192, 0, 2, 1).into());
        assert_eq!(probe.second(nobody, 1), None);
        assert!(matches!(probe.second(nobody, 1), None | Some(Event::Probe(Answer::None))));
        assert_eq!(probe.second(None, 1), None);
    }

    #[test]
    fn a_connection_answers_where_echo_requests_are_not_permitted() {
        let here = Gateway { address: Ipv4Addr::LOCALHOST.into(), link: 0 };
        let refused = Question::Connection(connect(here).expect("loopback"));

        soon(|| (refused.answer() == Answer::Some).then_some(()));
    }
}
