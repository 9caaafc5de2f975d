//! Whether a packet from a fresh port gets through to an endpoint and back, without a handshake.
//!
//! A QUIC packet of a version that nobody speaks is answered by every endpoint with the versions that it does speak
//! (RFC 9000, section 6). A fresh port matters: to a firewall that keeps state, an answer to our usual port belongs to a
//! session that stands, and passes where a call would not.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use rand::RngExt;
use tokio::{
    net::UdpSocket,
    time::{Instant, timeout_at},
};

/// When packets leave, after the first: lost ones are repeated, and a neighbour is first asked for its address.
const AGAIN: [Duration; 3] = [Duration::from_millis(300), Duration::from_millis(1000), Duration::from_millis(2000)];

/// All of it together. The kernel gives a neighbour three seconds to say where it is.
const PATIENCE: Duration = Duration::from_millis(3500);

/// A version that is reserved for this (RFC 9000, section 15): nobody speaks it.
const NO_VERSION: u32 = 0x1a2a_3a4a;

/// Shorter first packets are ignored (RFC 9000, section 14.1).
const FIRST_PACKET: usize = 1200;

/// Bytes of a connection id.
const ID: usize = 8;

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Knock {
    /// An endpoint answered: the way is open in both directions.
    Answered,
    /// The machine says that nobody listens there.
    Closed,
    /// Our own machine does not let the packet out.
    Forbidden,
    /// The kernel knows no way, or somebody on the way refused.
    Unreachable,
    /// Nothing came back.
    Silent,
}

/// Knocks at an endpoint for some seconds.
pub async fn knock(address: SocketAddr) -> Knock {
    let end = Instant::now() + PATIENCE;
    match timeout_at(end, knock_patiently(address)).await {
        Ok(Ok(())) => Knock::Answered,
        Ok(Err(e)) => meaning(&e),
        Err(_) => Knock::Silent,
    }
}

async fn knock_patiently(address: SocketAddr) -> io::Result<()> {
    let local: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(local).await?;
    socket.connect(address).await?; // so that refusals on the way come back as errors
    let packet = packet(rand::rng().random(), rand::rng().random());
    let began = Instant::now();
    socket.send(&packet).await?;
    let mut again = AGAIN.iter();
    let mut answer = [0; 256];
    loop {
        let next = again.next().map_or(began + PATIENCE, |after| began + *after);
        match timeout_at(next, socket.recv(&mut answer)).await {
            Ok(received) => {
                if is_answer(answer.get(..received?).unwrap_or_default(), &packet) {
                    return Ok(());
                }
            }
            Err(_) => drop(socket.send(&packet).await?),
        }
    }
}

fn meaning(error: &io::Error) -> Knock {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Knock::Closed,
        io::ErrorKind::PermissionDenied => Knock::Forbidden,
        _ => Knock::Unreachable,
    }
}

/// The first packet of nobody's version.
fn packet(destination: [u8; ID], source: [u8; ID]) -> Vec<u8> {
    let mut packet = vec![0xc0];
    packet.extend(NO_VERSION.to_be_bytes());
    for id in [destination, source] {
        packet.push(ID as u8);
        packet.extend(id);
    }
    packet.resize(FIRST_PACKET, 0);
    packet
}

/// Whether this lists versions and belongs to our packet: version 0, and our ids the other way round.
fn is_answer(answer: &[u8], packet: &[u8]) -> bool {
    let ids = 5..5 + 2 * (1 + ID);
    let (Some(answered), Some(asked)) = (answer.get(ids.clone()), packet.get(ids)) else { return false };
    let (to, from) = asked.split_at(1 + ID);
    answer.first().is_some_and(|first| first & 0x80 != 0) && answer.get(1..5) == Some(&[0; 4]) && answered == [from, to].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_list_of_versions_for_our_packet_is_an_answer() {
        let packet = packet([1; ID], [2; ID]);
        let mut answer = vec![0xff, 0, 0, 0, 0, 8];
        answer.extend([2; ID]);
        answer.push(8);
        answer.extend([1; ID]);
        answer.extend([0, 0, 0, 1]);

        assert!(is_answer(&answer, &packet));
        assert!(!is_answer(&packet, &packet) && !is_answer(&[], &packet) && !is_answer(&answer[..20], &packet));
        answer[6] ^= 1;
        assert!(!is_answer(&answer, &packet));
    }

    #[tokio::test]
    async fn where_nobody_listens_that_is_said() {
        let nobody = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();

        assert_eq!(knock(nobody).await, Knock::Closed);
    }
}
