//! Notices that our addresses changed or that the machine slept, without asking again and again.
//!
//! The kernel tells both: routing messages for addresses, and a timer that is cancelled when the clock jumps, as it does
//! after sleep. Where it does not (a container without netlink), we look every few seconds.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{self, AddressFamily, RecvFlags, SocketFlags, SocketType, netlink},
    time::{self, ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::sleep,
};

use crate::interfaces::{Link, links};

/// Changes come in bursts: an interface that comes up sends a dozen messages.
const BURST: Duration = Duration::from_millis(200);

/// Without routing messages: how often we look.
const LOOK: Duration = Duration::from_secs(10);

/// Without the kernel's timer, or where it missed a jump: how often we compare the clocks.
const CLOCK_LOOK: Duration = Duration::from_secs(60);

/// The clocks may drift this far apart while nobody slept.
const SLEPT_MIN: Duration = Duration::from_secs(1);

/// RTMGRP_LINK, RTMGRP_IPV4_IFADDR and RTMGRP_IPV6_IFADDR of linux/rtnetlink.h.
const GROUPS: u32 = 0x1 | 0x10 | 0x100;

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkChange {
    /// Our addresses are others, or an interface came up or went down.
    Addresses,
    /// The machine slept: what we knew of others is old.
    Resumed,
}

/// Watches until it is dropped.
pub struct Links {
    routing: Option<AsyncFd<OwnedFd>>,
    clock: Option<AsyncFd<OwnedFd>>,
    links: Vec<Link>,
    slept: Duration,
    look: bool,
}

impl Links {
    /// Begins to watch. What the kernel does not tell is looked for instead. To be called inside a tokio runtime.
    pub fn start() -> Self {
        let routing = routing_messages().and_then(readable);
        let clock = clock_jumps().and_then(readable);
        for error in [routing.as_ref().err(), clock.as_ref().err()].into_iter().flatten() {
            tracing::debug!(%error, "the kernel does not tell of changes; looking for them instead");
        }
        Self { routing: routing.ok(), clock: clock.ok(), links: links(), slept: slept(), look: false }
    }

    /// The next change. May be dropped and called again without losing one.
    pub async fn next(&mut self) -> LinkChange {
        loop {
            if self.look
                && let Some(change) = self.compare()
            {
                return change;
            }
            tokio::select! {
                () = routing_changed(self.routing.as_ref()) => {}
                () = clock_jumped(self.clock.as_ref()) => {}
            }
            self.look = true;
        }
    }

    /// What differs from what was told last; one change at a time.
    fn compare(&mut self) -> Option<LinkChange> {
        let slept = slept();
        if slept.saturating_sub(std::mem::replace(&mut self.slept, slept)) >= SLEPT_MIN {
            return Some(LinkChange::Resumed);
        }
        self.look = false;
        let links = links();
        (links != std::mem::replace(&mut self.links, links.clone())).then_some(LinkChange::Addresses)
    }
}

/// How long the machine has slept since it was started: what one clock counts and the other does not.
fn slept() -> Duration {
    let since = |clock| Duration::try_from(time::clock_gettime(clock)).unwrap_or_default();
    since(ClockId::Boottime).saturating_sub(since(ClockId::Monotonic))
}

// ---- what the kernel tells --------------------------------------------------------------------------

#[expect(deprecated, reason = "an OwnedFd stays open as long as it is owned, which is all that the unsafe successor asks for")]
fn readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, Interest::READABLE)
}

fn routing_messages() -> io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    // Protocol 0 of netlink is NETLINK_ROUTE.
    let socket = net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    net::bind(&socket, &netlink::SocketAddrNetlink::new(0, GROUPS))?;
    Ok(socket)
}

/// Waits for a burst of messages to come and go. What they say does not matter: we look for ourselves.
async fn routing_changed(routing: Option<&AsyncFd<OwnedFd>>) {
    let Some(routing) = routing else { return sleep(LOOK).await };
    // An error here would be one of the runtime's; looking now and then is what remains.
    if routing.readable().await.is_err() {
        return sleep(LOOK).await;
    }
    sleep(BURST).await;
    // A readiness of before the burst could not be cleared any more.
    if let Ok(mut ready) = routing.readable().await {
        drain(routing.get_ref());
        ready.clear_ready();
    }
}

/// Reads all messages away; lost ones (ENOBUFS) were messages too.
fn drain(socket: &OwnedFd) {
    let mut start = [0u8; 16];
    while let Ok(_) | Err(Errno::NOBUFS | Errno::INTR) = net::recv(socket, &mut start[..], RecvFlags::DONTWAIT) {}
}

fn clock_jumps() -> io::Result<OwnedFd> {
    let timer = time::timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
    arm(&timer)?;
    Ok(timer)
}

/// Sets the timer to go off when the wall clock jumps, or else after a while.
fn arm(timer: &OwnedFd) -> io::Result<()> {
    let now = time::clock_gettime(ClockId::Realtime);
    let later = Timespec { tv_sec: now.tv_sec.saturating_add(CLOCK_LOOK.as_secs().cast_signed()), tv_nsec: 0 };
    let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: later };
    time::timerfd_settime(timer.as_fd(), TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET, &once)?;
    Ok(())
}

async fn clock_jumped(clock: Option<&AsyncFd<OwnedFd>>) {
    let Some(clock) = clock else { return sleep(CLOCK_LOOK).await };
    let Ok(mut ready) = clock.readable().await else { return sleep(CLOCK_LOOK).await };
    // Eight bytes, or ECANCELED after a jump: either way it went off. Setting it again makes it unreadable.
    let _ = rustix::io::read(clock.get_ref(), &mut [0; 8]);
    ready.clear_ready();
    if arm(clock.get_ref()).is_err() {
        sleep(CLOCK_LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use tokio::time::timeout;

    use super::*;
    use crate::{
        interfaces::local_addresses,
        watchers::own_network::{ip, own_network},
    };

    /// Whatever can be told is told within this, also on a machine that has much else to do.
    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn quiet_links_tell_nothing_and_wake_nobody() {
        if !own_network("watchers::links::tests::quiet_links_tell_nothing_and_wake_nobody") {
            return;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut links = Links::start();

            assert!(links.routing.is_some() && links.clock.is_some());
            assert!(timeout(Duration::from_millis(500), links.next()).await.is_err());
        });
    }

    #[tokio::test]
    async fn sleep_and_new_addresses_are_told_one_after_the_other() {
        let mut links = Links::start();
        // As if the machine had slept since, and come back in another network.
        links.slept = links.slept.saturating_sub(Duration::from_secs(5));
        let slept_before = links.slept;
        links.links.push(("eth9".to_owned(), IpAddr::from([10, 0, 0, 1]), true));
        links.look = true;

        if slept() >= slept_before + SLEPT_MIN {
            assert_eq!(timeout(PATIENCE, links.next()).await, Ok(LinkChange::Resumed));
        }
        assert_eq!(timeout(PATIENCE, links.next()).await, Ok(LinkChange::Addresses));
        assert!(timeout(Duration::from_millis(300), links.next()).await.is_err());
    }

    #[test]
    fn a_new_address_is_told_before_anybody_would_look() {
        if !own_network("watchers::links::tests::a_new_address_is_told_before_anybody_would_look") {
            return;
        }
        ip("link add eth0 type veth peer name eth1");
        ip("link set eth0 up");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut links = Links::start();

            ip("addr add 10.9.8.7/24 dev eth0");

            let told =
                async { while !local_addresses().contains(&IpAddr::from([10, 9, 8, 7])) || links.next().await != LinkChange::Addresses {} };
            assert!(timeout(LOOK, told).await.is_ok());
        });
    }
}
