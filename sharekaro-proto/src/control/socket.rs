//! Where the control socket stands; the daemon and its clients must agree without asking each other.

use std::path::PathBuf;

/// `$XDG_RUNTIME_DIR/sharekaro/control.sock`; without that variable `/run/user/UID` where it exists, else
/// `/tmp/sharekaro-UID`, which the daemon makes for its user alone.
pub fn default_socket() -> PathBuf {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    runtime.unwrap_or_else(without_runtime_dir).join("sharekaro/control.sock")
}

fn without_runtime_dir() -> PathBuf {
    let uid = own_uid();
    let run = PathBuf::from(format!("/run/user/{uid}"));
    if run.is_dir() { run } else { PathBuf::from(format!("/tmp/sharekaro-{uid}")) }
}

/// The effective user of this process.
pub fn own_uid() -> u32 {
    use std::os::unix::fs::MetadataExt;

    // /proc/self belongs to the effective user of its process; without /proc we are nobody, who owns no socket
    std::fs::metadata("/proc/self").map_or(NOBODY, |own| own.uid())
}

/// The user that owns nothing (Linux: overflowuid).
const NOBODY: u32 = 65_534;
