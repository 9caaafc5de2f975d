//! A tick a second, from a timer of the kernel. A timer of the runtime would wake the machine twice for each: once to sort
//! it in more finely, and once when it is due.

use std::{io, os::fd::OwnedFd, time::Duration};

use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::sleep,
};

const SECOND: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Ticks from now on. Those that nobody waited for in time are one.
pub(super) struct Seconds(Option<AsyncFd<OwnedFd>>);

impl Seconds {
    /// To be called inside a tokio runtime.
    pub(super) fn start() -> Self {
        let timer = timer().inspect_err(|error| tracing::debug!(%error, "no timer from the kernel; the runtime's does"));
        Self(timer.ok())
    }

    /// Waits for the next tick. Safe to cancel.
    pub(super) async fn next(&mut self) {
        let Some(timer) = &self.0 else { return sleep(Duration::from_secs(1)).await };
        // An error here would be one of the runtime's: its timers are what remains.
        let Ok(mut ready) = timer.readable().await else { return sleep(Duration::from_secs(1)).await };
        let _ = rustix::io::read(timer.get_ref(), &mut [0; 8]);
        ready.clear_ready();
    }
}

#[expect(deprecated, reason = "an OwnedFd stays open as long as it is owned, which is all that the unsafe successor asks for")]
fn timer() -> io::Result<AsyncFd<OwnedFd>> {
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
    let soon = Timespec { tv_sec: 0, tv_nsec: 1 };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &Itimerspec { it_interval: SECOND, it_value: soon })?;
    AsyncFd::with_interest(timer, Interest::READABLE)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;

    #[tokio::test]
    async fn the_first_tick_comes_at_once_and_the_next_after_a_second() {
        let began = Instant::now();
        let mut seconds = Seconds::start();

        // The kernel wakes a sleeper after a timer that was due before, whatever else it has to do.
        std::thread::sleep(Duration::from_millis(10));
        let timer = seconds.0.as_ref().expect("a timer").get_ref();
        assert_eq!(poll(&mut [PollFd::new(timer, PollFlags::IN)], Some(&Timespec::default())), Ok(1));
        seconds.next().await;
        seconds.next().await;

        assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    }
}
