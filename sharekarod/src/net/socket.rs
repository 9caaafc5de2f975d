//! The UDP socket: both IP families in one, the buffers that the kernel grants, packets no larger than it can send.
//!
//! Never `SO_REUSEPORT`: another program could then take a share of our packets.

use std::{
    fmt, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use quinn::{
    AsyncUdpSocket, UdpPoller,
    udp::{RecvMeta, Transmit},
};
use rustix::net::sockopt;
use socket2::{Domain, Protocol, Socket, Type};

use crate::net::{carried::Carried, limits};

/// A bound socket and what became of our wishes.
pub(super) struct Bound {
    pub(super) socket: UdpSocket,
    pub(super) buffers: Buffers,
    /// The port that was asked for belongs to somebody else; this is another one.
    pub(super) port_taken: bool,
}

/// The kernel's buffers of the socket, in bytes, as it counts them (Linux doubles what is asked for).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Buffers {
    /// For packets that arrived.
    pub receive: usize,
    /// For packets that leave.
    pub send: usize,
}

impl Buffers {
    /// What the kernel grants a socket without privilege, whatever ours has.
    ///
    /// # Errors
    /// Where no UDP socket can be had at all.
    pub fn granted_to_everybody() -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        let _ = sockopt::set_socket_recv_buffer_size(&socket, limits::SOCKET_BUFFER);
        let _ = sockopt::set_socket_send_buffer_size(&socket, limits::SOCKET_BUFFER);
        Ok(Self::of(&socket))
    }

    fn of(socket: &Socket) -> Self {
        Self { receive: sockopt::socket_recv_buffer_size(socket).unwrap_or(0), send: sockopt::socket_send_buffer_size(socket).unwrap_or(0) }
    }

    /// Whether packets will be lost in our own kernel when a fast peer sends; `net.core.rmem_max` helps.
    /// Debian's default grants 416 KiB.
    pub fn are_small(&self) -> bool {
        self.receive < 2 << 20
    }

    /// The receive window that fits: half of the buffer, so that packet headers and bookkeeping have room too.
    pub(super) fn window(&self) -> u32 {
        u32::try_from(self.receive / 2).unwrap_or(u32::MAX).clamp(limits::WINDOW_MIN, limits::WINDOW_MAX)
    }
}

/// Binds `port` (0: any) on all addresses of both families; where it is taken, any other.
///
/// # Errors
/// Where no UDP socket can be had at all.
pub(super) fn bind(port: u16) -> io::Result<Bound> {
    let (socket, port_taken) = match bind_either_family(port) {
        Err(e) if port != 0 && e.kind() == io::ErrorKind::AddrInUse => (bind_either_family(0)?, true),
        bound => (bound?, false),
    };
    let buffers = widen(&socket);
    socket.set_nonblocking(true)?;
    Ok(Bound { socket: socket.into(), buffers, port_taken })
}

fn bind_either_family(port: u16) -> io::Result<Socket> {
    match bind_one(Domain::IPV6, (Ipv6Addr::UNSPECIFIED, port).into()) {
        Err(e) if e.kind() != io::ErrorKind::AddrInUse => bind_one(Domain::IPV4, (Ipv4Addr::UNSPECIFIED, port).into()),
        bound => bound,
    }
}

fn bind_one(domain: Domain, address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if domain == Domain::IPV6 {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Asks for large buffers, with privilege where we have it, and reads back what came of it. A refusal is no error.
fn widen(socket: &Socket) -> Buffers {
    if sockopt::set_socket_recv_buffer_size_force(socket, limits::SOCKET_BUFFER).is_err() {
        let _ = sockopt::set_socket_recv_buffer_size(socket, limits::SOCKET_BUFFER);
    }
    if sockopt::set_socket_send_buffer_size_force(socket, limits::SOCKET_BUFFER).is_err() {
        let _ = sockopt::set_socket_send_buffer_size(socket, limits::SOCKET_BUFFER);
    }
    Buffers::of(socket)
}

/// The largest UDP payload that some interface here can carry. Loopback does not count: it is on every machine.
pub(super) fn payload_max() -> u16 {
    let jumbo = u64::from(limits::PAYLOAD_JUMBO) + 28;
    let Ok(interfaces) = std::fs::read_dir("/sys/class/net") else { return limits::PAYLOAD_PLAIN };
    let mtus = interfaces.flatten().filter(|interface| interface.file_name() != "lo").filter_map(|interface| {
        let text = std::fs::read_to_string(interface.path().join("mtu")).ok()?;
        text.trim().parse::<u64>().ok()
    });
    if mtus.max().is_some_and(|mtu| mtu >= jumbo) { limits::PAYLOAD_JUMBO } else { limits::PAYLOAD_PLAIN }
}

/// Keeps quinn from handing the kernel more segments at once than fit into one IP packet, and adds up what passes.
pub(super) struct Capped {
    inner: Arc<dyn AsyncUdpSocket>,
    segments: usize,
    carried: Arc<Carried>,
}

impl Capped {
    pub(super) fn new(inner: Arc<dyn AsyncUdpSocket>, payload_max: u16, carried: Arc<Carried>) -> Self {
        let fitting = limits::SEGMENTED_MAX / usize::from(payload_max.max(1));
        let segments = inner.max_transmit_segments().min(fitting).max(1);
        Self { inner, segments, carried }
    }
}

impl fmt::Debug for Capped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capped").field("segments", &self.segments).finish_non_exhaustive()
    }
}

impl AsyncUdpSocket for Capped {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.inner.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit) -> io::Result<()> {
        self.inner.try_send(transmit)?;
        let (to, bytes) = (transmit.destination.ip(), transmit.contents.len());
        self.carried.add_sent(to, bytes, transmit.segment_size.unwrap_or(bytes));
        Ok(())
    }

    fn poll_recv(&self, cx: &mut Context, buffers: &mut [io::IoSliceMut<'_>], meta: &mut [RecvMeta]) -> Poll<io::Result<usize>> {
        let received = std::task::ready!(self.inner.poll_recv(cx, buffers, meta))?;
        for meta in meta.iter().take(received) {
            if let Some(here) = meta.dst_ip {
                self.carried.add_received(meta.addr.ip(), here, meta.len, meta.stride);
            }
        }
        Poll::Ready(Ok(received))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.segments.min(self.inner.max_transmit_segments())
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_is_replaced_and_that_is_told() {
        let taken = bind(0).unwrap();
        let port = taken.socket.local_addr().unwrap().port();

        let other = bind(port).unwrap();

        assert!(other.port_taken && !taken.port_taken);
        assert_ne!(other.socket.local_addr().unwrap().port(), port);
    }

    #[test]
    fn the_window_is_half_of_what_the_kernel_granted_within_bounds() {
        let window = |receive| Buffers { receive, send: 0 }.window();

        assert_eq!(window(8 << 20), 4 << 20);
        assert_eq!(window(0), limits::WINDOW_MIN);
        assert_eq!(window(usize::MAX), limits::WINDOW_MAX);
        assert!(bind(0).unwrap().buffers.receive >= 64 << 10);
    }

    #[tokio::test]
    async fn segments_of_jumbo_packets_fit_into_one_ip_packet() {
        let wrapped = quinn::Runtime::wrap_udp_socket(&quinn::TokioRuntime, bind(0).unwrap().socket).unwrap();

        let jumbo = Capped::new(wrapped.clone(), limits::PAYLOAD_JUMBO, Arc::default());
        let plain = Capped::new(wrapped, limits::PAYLOAD_PLAIN, Arc::default());

        assert!(jumbo.max_transmit_segments() * usize::from(limits::PAYLOAD_JUMBO) < 65_535);
        assert!(plain.max_transmit_segments() >= jumbo.max_transmit_segments());
    }
}
