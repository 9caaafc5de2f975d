//! Notices that something was mounted or unmounted: a drop folder that is a mount point is another folder then, and no
//! event of the folder itself tells so.

use std::{fs::File, io::Read};

use tokio::io::{Interest, unix::AsyncFd};

/// The kernel's table of mounts, which polls as an exception when it changes; see proc_pid_mountinfo(5).
pub(super) struct Mounts {
    table: Option<AsyncFd<File>>,
}

impl Mounts {
    pub(super) fn open() -> Self {
        let table = File::open("/proc/self/mountinfo").and_then(watched);
        if let Err(e) = &table {
            tracing::debug!("mounts are not watched: {e}");
        }
        Self { table: table.ok() }
    }

    /// Returns when the table has changed.
    pub(super) async fn changed(&mut self) {
        let Some(table) = &mut self.table else { return std::future::pending().await };
        let Ok(mut ready) = table.ready(Interest::PRIORITY).await else { return std::future::pending().await };
        ready.clear_ready();
    }
}

#[expect(deprecated, reason = "a File stays open as long as it is owned, which is all that the unsafe successor asks for")]
fn watched(mut table: File) -> std::io::Result<AsyncFd<File>> {
    // the first poll reports what was not read yet
    table.read_to_end(&mut Vec::new())?;
    AsyncFd::with_interest(table, Interest::PRIORITY)
}
