//! Where the control socket stands; the daemon and its clients must agree without asking each other.

use std::path::PathBuf;

/// `$XDG_RUNTIME_DIR/sharekaro/control.sock`; without that variable `/run/user/UID` where it exists, else
/// `/tmp/sharekaro-UID`, which the daemon makes for its user alone.
pub fn default_socket() -> PathBuf {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    runtime.unwrap_or_else(without_runtime_dir).join("sharekaro/control.sock")
}

fn without_runtime_dir() -> PathBuf {
    use std::os::unix::fs::MetadataExt;

    // /proc/self belongs to the effective user of this process
    let uid = std::fs::metadata("/proc/self").map_or(0, |own| own.uid());
    let run = PathBuf::from(format!("/run/user/{uid}"));
    if run.is_dir() { run } else { PathBuf::from(format!("/tmp/sharekaro-{uid}")) }
}
