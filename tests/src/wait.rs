//! Waiting with a deadline: for a condition, or for a process. Never for a time.

use std::{
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

/// The first `Some` that `question` answers.
///
/// # Errors
/// None came within so many seconds, or the question itself failed.
pub fn until<T>(what: &str, seconds: u64, mut question: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(answer) = question().with_context(|| format!("while waiting until {what}"))? {
            return Ok(answer);
        }
        if Instant::now() > end {
            bail!("waited {seconds} s in vain until {what}");
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
