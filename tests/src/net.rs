//! Work of our own inside a host's network namespace.

use std::{fs::File, os::fd::AsFd, thread};

use anyhow::{Context, Result, anyhow};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Runs `work` on a thread of its own inside this network namespace; sockets made there stay there.
///
/// # Errors
/// The namespace cannot be entered, or the work failed.
pub fn within<T: Send>(namespace: &str, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let path = format!("/run/netns/{namespace}");
    let entered = || {
        let namespace = File::open(&path).with_context(|| format!("cannot open {path}"))?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).with_context(|| format!("cannot enter {path}"))?;
        work()
    };
    thread::scope(|scope| scope.spawn(entered).join().map_err(|_| anyhow!("the work in {path} panicked"))?)
}
