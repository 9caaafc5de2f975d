//! Gives memory back that a daemon at rest does not need: pages of its program that only the start or a burst of work
//! used, and what the allocator kept. What is needed again is mapped again from the page cache, a page fault each.

use std::{fs, time::Duration};

use rustix::time::{ClockId, clock_gettime};
use tokio_util::sync::CancellationToken;

use crate::kernel::pages;
pub use crate::kernel::pages::set_up_heap;

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(10);

/// A daemon that used less of a processor than this, between two looks, is at rest.
const AT_REST: Duration = Duration::from_millis(100);

/// Bytes that may come back before it is worth giving them back again.
const SLACK: u64 = 1 << 20;

/// Gives back what is not needed whenever the daemon has come to rest, until `shutdown`.
pub async fn keep_small(shutdown: CancellationToken) {
    let (mut used, mut settled, mut trimmed) = (cpu_time(), 0, false);
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = shutdown.cancelled() => return,
        }
        let before = std::mem::replace(&mut used, cpu_time());
        if used.saturating_sub(before) > AT_REST {
            continue;
        }
        if std::mem::take(&mut trimmed) {
            settled = resident(); // with what is in use all the time back in place
        } else if resident() > settled + SLACK {
            pages::trim();
            trimmed = true;
        }
    }
}

/// Bytes of memory that are mapped; 0 where `/proc` does not say.
fn resident() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

/// What all threads together have used of the processors.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap_or_default()
}
