//! Hands the kernel more packets at once than quinn does, which stops at ten and has no setting for it: one call, and
//! one way through the network stack, cost about as much for ten packets as for forty.
//!
//! Ten packets wait for the next ten until the tasks that are ready have run, some microseconds; everything else leaves
//! at once, behind what waited. So do packets so large that ten of them are all that the kernel takes.

use std::{
    fmt, future, io, mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll},
};

use quinn::{
    AsyncUdpSocket, UdpPoller,
    udp::{EcnCodepoint, RecvMeta, Transmit},
};
use tokio::sync::Notify;

/// What quinn hands over at once, at most (`MAX_TRANSMIT_SEGMENTS` of quinn 0.11).
const QUINNS_MOST: usize = 10;

/// What the kernel takes at once, at most (`UDP_MAX_SEGMENTS` of Linux before 6.0).
const KERNELS_MOST: usize = 64;

/// A socket that collects what belongs together.
pub(super) struct Batching {
    inner: Arc<dyn AsyncUdpSocket>,
    /// Bytes that the kernel takes at once.
    bytes_max: usize,
    waiting: Mutex<Waiting>,
    begun: Arc<Notify>,
}

/// Packets for one receiver, all of one size but the last.
#[derive(Default)]
struct Waiting {
    way: Option<Way>,
    segment: usize,
    packets: Vec<u8>,
    /// The last packet is shorter, or was meant to leave at once: nothing can follow.
    closed: bool,
}

/// How packets are sent; only those that are sent the same way can go together.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Way {
    destination: std::net::SocketAddr,
    ecn: Option<EcnCodepoint>,
    src_ip: Option<std::net::IpAddr>,
}

impl Batching {
    /// To be called inside a tokio runtime.
    pub(super) fn new(inner: Arc<dyn AsyncUdpSocket>, bytes_max: usize) -> Arc<Self> {
        let begun = Arc::new(Notify::new());
        let socket = Arc::new(Self { inner, bytes_max, waiting: Mutex::default(), begun: Arc::clone(&begun) });
        tokio::spawn(send_what_waits(Arc::downgrade(&socket), begun));
        socket
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends what waits.
    ///
    /// # Errors
    /// `WouldBlock` alone: everything waits on. What the kernel does not take for another reason is lost, as a packet is.
    fn flush(&self, waiting: &mut Waiting) -> io::Result<()> {
        let Some(way) = waiting.way else { return Ok(()) };
        let contents = waiting.packets.as_slice();
        let segment_size = (contents.len() > waiting.segment).then_some(waiting.segment);
        let transmit = Transmit { destination: way.destination, ecn: way.ecn, contents, segment_size, src_ip: way.src_ip };
        match self.inner.try_send(&transmit) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Err(e),
            Err(error) => tracing::debug!(%error, "packets were not sent"),
            Ok(()) => {}
        }
        let mut packets = mem::take(&mut waiting.packets);
        packets.clear();
        *waiting = Waiting { packets, ..Waiting::default() };
        Ok(())
    }

    /// Whether quinn is likely to have more right away: it handed over as much as it ever does.
    fn is_full(&self, transmit: &Transmit<'_>) -> bool {
        let most = QUINNS_MOST.min(self.inner.max_transmit_segments());
        most > 1 && transmit.segment_size.is_some_and(|segment| transmit.contents.len() == most * segment)
    }

    fn fits(&self, waiting: &Waiting, transmit: &Transmit<'_>) -> bool {
        let segment = transmit.segment_size.unwrap_or(transmit.contents.len());
        let same_size = if transmit.segment_size.is_some() { segment == waiting.segment } else { segment <= waiting.segment };
        let bytes = waiting.packets.len() + transmit.contents.len();
        waiting.way == Some(Way::of(transmit))
            && !waiting.closed
            && same_size
            && bytes <= self.bytes_max
            && bytes.div_ceil(waiting.segment.max(1)) <= KERNELS_MOST
    }
}

impl Way {
    fn of(transmit: &Transmit<'_>) -> Self {
        Self { destination: transmit.destination, ecn: transmit.ecn, src_ip: transmit.src_ip }
    }
}

/// Sends what still waits once everything that was ready has run.
async fn send_what_waits(socket: Weak<Batching>, begun: Arc<Notify>) {
    loop {
        begun.notified().await;
        tokio::task::yield_now().await;
        let Some(socket) = socket.upgrade() else { return };
        let mut poller: Option<Pin<Box<dyn UdpPoller>>> = None;
        while socket.flush(&mut socket.waiting()).is_err() {
            let poller = poller.get_or_insert_with(|| Arc::clone(&socket.inner).create_io_poller());
            if future::poll_fn(|cx| poller.as_mut().poll_writable(cx)).await.is_err() {
                break; // the socket is gone, and the endpoint says so
            }
        }
    }
}

impl Drop for Batching {
    fn drop(&mut self) {
        self.begun.notify_one(); // the task ends
    }
}

impl fmt::Debug for Batching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batching").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl AsyncUdpSocket for Batching {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.inner.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let mut waiting = self.waiting();
        let full = self.is_full(transmit);
        if !self.fits(&waiting, transmit) {
            self.flush(&mut waiting)?;
            if !full || 2 * transmit.contents.len() > self.bytes_max {
                return self.inner.try_send(transmit);
            }
            waiting.way = Some(Way::of(transmit));
            waiting.segment = transmit.segment_size.unwrap_or(transmit.contents.len());
            self.begun.notify_one();
        }
        waiting.packets.extend_from_slice(transmit.contents);
        waiting.closed = !full;
        let room = self.bytes_max.saturating_sub(waiting.packets.len());
        if !full || room < transmit.contents.len() {
            // What cannot leave now waits for the task, and the next packets with it.
            let _ = self.flush(&mut waiting);
        }
        Ok(())
    }

    fn poll_recv(&self, cx: &mut Context, buffers: &mut [io::IoSliceMut<'_>], meta: &mut [RecvMeta]) -> Poll<io::Result<usize>> {
        self.inner.poll_recv(cx, buffers, meta)
    }

    fn local_addr(&self) -> io::Result<std::net::SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
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
    use std::net::{Ipv4Addr, SocketAddr};

    use proptest::prelude::*;

    use super::*;
    use crate::net::limits::SEGMENTED_MAX;

    /// Notes what it is given, and blocks when told to.
    #[derive(Debug, Default)]
    struct Kernel {
        sent: Mutex<Vec<(SocketAddr, Vec<Vec<u8>>)>>,
        blocked: Mutex<bool>,
    }

    #[derive(Debug)]
    struct Always;

    impl UdpPoller for Always {
        fn poll_writable(self: Pin<&mut Self>, _: &mut Context) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncUdpSocket for Kernel {
        fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
            Box::pin(Always)
        }

        fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
            if *self.blocked.lock().unwrap() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            assert!(transmit.contents.len() <= SEGMENTED_MAX);
            self.sent.lock().unwrap().push((transmit.destination, datagrams(transmit)));
            Ok(())
        }

        fn poll_recv(&self, _: &mut Context, _: &mut [io::IoSliceMut<'_>], _: &mut [RecvMeta]) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn local_addr(&self) -> io::Result<SocketAddr> {
            Ok((Ipv4Addr::LOCALHOST, 1).into())
        }

        fn max_transmit_segments(&self) -> usize {
            64
        }
    }

    fn datagrams(transmit: &Transmit<'_>) -> Vec<Vec<u8>> {
        transmit.contents.chunks(transmit.segment_size.unwrap_or(transmit.contents.len()).max(1)).map(<[u8]>::to_vec).collect()
    }

    fn transmit(to: u16, contents: &[u8], segment: usize) -> Transmit<'_> {
        let segment_size = (contents.len() > segment).then_some(segment);
        Transmit { destination: (Ipv4Addr::LOCALHOST, to).into(), ecn: None, contents, segment_size, src_ip: None }
    }

    fn kernel() -> (Arc<Kernel>, Arc<Batching>) {
        let kernel = Arc::new(Kernel::default());
        let socket = Batching::new(kernel.clone(), SEGMENTED_MAX);
        (kernel, socket)
    }

    fn calls(kernel: &Kernel) -> Vec<usize> {
        kernel.sent.lock().unwrap().iter().map(|(_, datagrams)| datagrams.len()).collect()
    }

    #[tokio::test]
    async fn full_tens_leave_together_and_with_what_follows_at_once() {
        let (kernel, socket) = kernel();
        let ten = vec![7; 14_000];

        socket.try_send(&transmit(1, &ten, 1400)).unwrap();
        socket.try_send(&transmit(1, &ten, 1400)).unwrap();
        assert!(calls(&kernel).is_empty());
        socket.try_send(&transmit(1, &ten[..3000], 1400)).unwrap();

        assert_eq!(calls(&kernel), [23]);
        (0..4).for_each(|_| socket.try_send(&transmit(1, &ten, 1400)).unwrap());
        assert_eq!(calls(&kernel), [23, 40]);
    }

    #[tokio::test]
    async fn what_no_more_fits_behind_leaves_at_once() {
        let (kernel, socket) = kernel();

        socket.try_send(&transmit(1, &[7; 40_000], 4000)).unwrap();

        assert_eq!(calls(&kernel), [10]);
    }

    #[tokio::test]
    async fn what_nothing_follows_leaves_by_itself() {
        let (kernel, socket) = kernel();

        socket.try_send(&transmit(1, &[7; 14_000], 1400)).unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;

        assert_eq!(calls(&kernel), [10]);
    }

    #[tokio::test]
    async fn nothing_is_lost_or_overtaken_while_the_kernel_is_busy() {
        let (kernel, socket) = kernel();
        *kernel.blocked.lock().unwrap() = true;
        socket.try_send(&transmit(1, &[1; 14_000], 1400)).unwrap();

        let refused = socket.try_send(&transmit(2, &[2; 100], 1400)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        *kernel.blocked.lock().unwrap() = false;
        socket.try_send(&transmit(2, &[2; 100], 1400)).unwrap();

        assert_eq!(calls(&kernel), [10, 1]);
    }

    proptest! {
        #[test]
        fn every_receiver_gets_the_same_datagrams_in_the_same_order(
            asked in proptest::collection::vec((1u16..3, 1usize..15_000, prop_oneof![Just(1200usize), Just(1452)]), 1..40),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let (kernel, socket) = kernel();
                let mut expected: Vec<(SocketAddr, Vec<u8>)> = Vec::new();
                for (i, (to, len, segment)) in asked.into_iter().enumerate() {
                    let contents: Vec<u8> = (0..len.min(10 * segment)).map(|at| (at / segment + 16 * i) as u8).collect();
                    let transmit = transmit(to, &contents, segment);
                    expected.extend(datagrams(&transmit).into_iter().map(|datagram| (transmit.destination, datagram)));
                    socket.try_send(&transmit).unwrap();
                }
                socket.flush(&mut socket.waiting()).unwrap();
                let sent = kernel.sent.lock().unwrap();
                let sent: Vec<_> = sent.iter().flat_map(|(to, datagrams)| datagrams.iter().map(|it| (*to, it.clone()))).collect();
                assert_eq!(sent, expected);
            });
        }
    }
}
