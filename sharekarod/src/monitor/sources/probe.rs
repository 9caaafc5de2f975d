//! Does the gateway answer? Asked each second by an echo request where a plain user may send one, otherwise by a
//! connection to its name server's port: accepted or refused is an answer, silence is none.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpStream, UdpSocket},
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use super::proc;
use crate::monitor::detect::rules::event::Event;

const EVERY: Duration = Duration::from_secs(1);
/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_millis(800);
const NAME_SERVER: u16 = 53;
/// Echo request, code 0; the kernel fills in checksum and identifier of such sockets.
const ECHO: [u8; 8] = [8, 0, 0, 0, 0, 0, 0, 1];

/// Probes the watched interface's gateway until shutdown.
pub(in crate::monitor) async fn run(watched: watch::Receiver<Option<Arc<str>>>, events: mpsc::Sender<Event>, shutdown: CancellationToken) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let gateway = watched.borrow().clone().and_then(|interface| proc::gateway(&interface));
        let Some(gateway) = gateway else { continue };
        let answer = tokio::select! {
            () = shutdown.cancelled() => return,
            answer = ask(gateway) => answer,
        };
        if events.send(Event::Probe(answer)).await.is_err() {
            return;
        }
    }
}

async fn ask(gateway: IpAddr) -> Option<Duration> {
    let began = Instant::now();
    let answered = match echo_socket(gateway) {
        Ok(socket) => timeout(PATIENCE, echo(socket, gateway)).await.is_ok_and(|answer| answer.is_ok()),
        // Not permitted to this user (net.ipv4.ping_group_range).
        Err(_) => timeout(PATIENCE, TcpStream::connect((gateway, NAME_SERVER))).await.is_ok_and(|answer| match answer {
            Ok(_) => true,
            Err(error) => error.kind() == io::ErrorKind::ConnectionRefused,
        }),
    };
    answered.then(|| began.elapsed())
}

fn echo_socket(gateway: IpAddr) -> io::Result<UdpSocket> {
    if gateway.is_ipv6() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::ICMPV4))?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket.into())
}

async fn echo(socket: UdpSocket, gateway: IpAddr) -> io::Result<()> {
    socket.connect(SocketAddr::new(gateway, 0)).await?;
    socket.send(&ECHO).await?;
    let mut answer = [0; 64];
    socket.recv(&mut answer).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn our_own_machine_answers_and_an_address_of_nobody_does_not() {
        assert!(ask(IpAddr::from([127, 0, 0, 1])).await.is_some());
        // Everybody is nobody: the kernel refuses to connect there.
        assert!(ask(IpAddr::from([255, 255, 255, 255])).await.is_none());
    }
}
