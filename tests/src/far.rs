//! A path of the wide area between two hosts on loopback: every datagram is late, some never come.
//!
//! In user space, as kernels without netem have nothing else for it.

use std::{
    collections::VecDeque,
    io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Result;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::sockopt,
};

/// A datagram waits at most so long to see that the path is gone.
const LOOK: Duration = Duration::from_millis(100);

/// Datagrams on their way in one direction: what a router's queue holds, and more.
const QUEUE: usize = 20_000;

/// Bytes that the kernel keeps while this thread does not run.
const BUFFER: usize = 8 << 20;

/// How much a path with a rate keeps waiting before it drops: a tenth of a second.
const WAITING: Duration = Duration::from_millis(100);

/// IPv4 and UDP in front of each datagram.
const HEADERS: usize = 28;

/// What a path does to datagrams, the same in both directions.
#[derive(Clone, Copy, Default)]
pub struct Impairment {
    /// How long each is on its way.
    pub delay: Duration,
    /// So many of a thousand are lost.
    pub lost_of_1000: u64,
    /// Bytes a second, with their headers; `None`: as many as come.
    pub rate: Option<u32>,
}

/// Carries datagrams between two addresses until it is dropped.
pub struct FarPath {
    near: SocketAddr,
    ends: Arc<AtomicBool>,
    carriers: Vec<JoinHandle<()>>,
}

impl FarPath {
    /// Between two UDP ports of this machine. The same seed loses the same datagrams.
    ///
    /// # Errors
    /// No sockets.
    pub fn between(one: u16, other: u16, impairment: Impairment, seed: u64) -> Result<Self> {
        let socket = || -> io::Result<UdpSocket> {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            socket.set_nonblocking(true)?;
            // What the path loses is meant: as much room as may be had.
            if sockopt::set_socket_recv_buffer_size_force(&socket, BUFFER).is_err() {
                let _ = sockopt::set_socket_recv_buffer_size(&socket, BUFFER);
            }
            Ok(socket)
        };
        let (at_one, at_other) = (socket()?, socket()?);
        let near = at_one.local_addr()?;
        let ends = Arc::new(AtomicBool::new(false));
        let carry = |from: &UdpSocket, to: &UdpSocket, port: u16, seed: u64| -> Result<JoinHandle<()>> {
            let direction = Direction {
                from: from.try_clone()?,
                to: to.try_clone()?,
                target: (Ipv4Addr::LOCALHOST, port).into(),
                impairment,
                free: Instant::now(),
                dice: seed | 1,
                queue: VecDeque::new(),
                ends: Arc::clone(&ends),
            };
            Ok(thread::spawn(move || direction.run()))
        };
        let carriers = vec![carry(&at_one, &at_other, other, seed * 2)?, carry(&at_other, &at_one, one, seed * 2 + 7)?];
        Ok(Self { near, ends, carriers })
    }

    /// Where the first of the two finds the second.
    pub fn near(&self) -> SocketAddr {
        self.near
    }
}

impl Drop for FarPath {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        for carrier in self.carriers.drain(..) {
            let _ = carrier.join();
        }
    }
}

struct Direction {
    from: UdpSocket,
    to: UdpSocket,
    target: SocketAddr,
    impairment: Impairment,
    /// When the line has carried what it took so far.
    free: Instant,
    dice: u64,
    queue: VecDeque<(Instant, Vec<u8>)>,
    ends: Arc<AtomicBool>,
}

impl Direction {
    fn run(mut self) {
        let mut datagram = vec![0; 65_536];
        while !self.ends.load(Ordering::Relaxed) {
            let wait = self.queue.front().map_or(LOOK, |(due, _)| due.saturating_duration_since(Instant::now())).min(LOOK);
            let wait = Timespec { tv_sec: 0, tv_nsec: wait.as_nanos() as i64 };
            // Interrupted is as good as late.
            let _ = poll(&mut [PollFd::new(&self.from, PollFlags::IN)], Some(&wait));
            while let Ok(len) = self.from.recv(&mut datagram) {
                self.take(&datagram[..len]);
            }
            while self.queue.front().is_some_and(|(due, _)| *due <= Instant::now()) {
                let Some((_, datagram)) = self.queue.pop_front() else { break };
                // Nobody may listen there right now; a network would not mind either.
                let _ = self.to.send_to(&datagram, self.target);
            }
        }
    }

    fn take(&mut self, datagram: &[u8]) {
        let now = Instant::now();
        if self.roll() % 1000 < self.impairment.lost_of_1000 || self.queue.len() == QUEUE || self.free > now + WAITING {
            return;
        }
        let carries = self.impairment.rate.map_or(0.0, |rate| (datagram.len() + HEADERS) as f64 / f64::from(rate));
        self.free = self.free.max(now) + Duration::from_secs_f64(carries);
        self.queue.push_back((self.free + self.impairment.delay, datagram.to_vec()));
    }

    /// Marsaglia's xorshift: repeatable, and good enough to lose packets.
    fn roll(&mut self) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice >> 11
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_is_late() -> Result<()> {
        let (one, other) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
        let late = Impairment { delay: Duration::from_millis(50), ..Impairment::default() };
        let path = FarPath::between(one.local_addr()?.port(), other.local_addr()?.port(), late, 5)?;
        other.set_read_timeout(Some(Duration::from_secs(20)))?;
        let began = Instant::now();

        one.send_to(&[7; 10], path.near())?;
        other.recv(&mut [0; 10])?;

        assert!(began.elapsed() >= Duration::from_millis(50), "{:?}", began.elapsed());
        Ok(())
    }

    #[test]
    fn of_a_thousand_datagrams_as_many_are_lost_as_was_asked() -> Result<()> {
        let mut direction = direction(Impairment { lost_of_1000: 100, ..Impairment::default() })?;

        (0..1000).for_each(|_| direction.take(&[7; 10]));

        assert!((850..950).contains(&direction.queue.len()), "{}", direction.queue.len());
        Ok(())
    }

    #[test]
    fn a_path_with_a_rate_carries_no_more_and_keeps_little_waiting() -> Result<()> {
        let mut direction = direction(Impairment { rate: Some(128_000), ..Impairment::default() })?;

        (0..3000).for_each(|_| direction.take(&[7; 100]));

        let due: Vec<_> = direction.queue.iter().map(|(due, _)| *due).collect();
        assert!(due.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_micros(999)), "{due:?}");
        assert!((100..3000).contains(&due.len()), "{}", due.len());
        Ok(())
    }

    fn direction(impairment: Impairment) -> Result<Direction> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        Ok(Direction {
            from: socket.try_clone()?,
            target: socket.local_addr()?,
            to: socket,
            impairment,
            free: Instant::now(),
            dice: 11,
            queue: VecDeque::new(),
            ends: Arc::default(),
        })
    }
}
