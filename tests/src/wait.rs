//! Waiting with a deadline: for a condition, or for a process. Never for a time.
//!
//! A deadline only ends a test that hangs, so it is wide: whatever else this machine does must not fail a test.

use std::{
    env,
    process::{Child, ExitStatus},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};

/// Between two looks at a condition.
const STEP: Duration = Duration::from_millis(25);

/// A machine may be so many times as slow as one that has nothing else to do, unless `SHAREKARO_TESTS_PATIENCE` says more.
const SLOWER: u32 = 4;

/// How long something is waited for that takes at most so long where nothing else runs.
pub fn patience(at_most: Duration) -> Duration {
    at_most * env::var("SHAREKARO_TESTS_PATIENCE").ok().and_then(|text| text.parse().ok()).unwrap_or(SLOWER)
}

/// The first `Some` that `question` answers. It comes within so many seconds where nothing else runs; on a machine that is
/// busy it is waited for longer.
///
/// # Errors
/// None came in time, or the question itself failed.
pub fn until<T>(what: &str, seconds: u64, mut question: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let patience = patience(Duration::from_secs(seconds));
    let end = Instant::now() + patience;
    loop {
        if let Some(answer) = question().with_context(|| format!("while waiting until {what}"))? {
            return Ok(answer);
        }
        if Instant::now() > end {
            bail!("waited {} s in vain until {what}", patience.as_secs());
        }
        thread::sleep(STEP);
    }
}

/// Waits for the end of a child, to the microsecond (no polling); `None` where it has not ended in time.
///
/// # Errors
/// The kernel would not say.
pub fn wait_child(child: &mut Child, timeout: Duration) -> Result<Option<ExitStatus>> {
    if let Some(status) = child.try_wait()? {
        return Ok(Some(status));
    }
    let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let limit = Timespec::try_from(timeout)?;
    poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&limit))?;
    Ok(child.try_wait()?)
}
