//! Where the control socket stands; the daemon and its clients must agree without asking each other.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// `$XDG_RUNTIME_DIR/sharekaro/control.sock`; without that variable `/run/user/UID` where it exists, else
/// `/tmp/sharekaro-UID`, which the daemon makes for its user alone.
pub fn default_socket() -> PathBuf {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    runtime.unwrap_or_else(without_runtime_dir).join("sharekaro/control.sock")
}

/// The socket of our daemon where the system runs it (`sharekarod@USER.service`): in the folder below `/run/sharekaro`
/// that belongs to us. Only root can make one there, so it is nobody else's.
pub fn system_socket() -> Option<PathBuf> {
    owned_by(own_uid(), Path::new("/run/sharekaro")).map(|dir| dir.join("control.sock"))
}

/// The folder in `top` that belongs to this user.
fn owned_by(uid: u32, top: &Path) -> Option<PathBuf> {
    let ours = |path: &PathBuf| path.symlink_metadata().is_ok_and(|it| it.is_dir() && it.uid() == uid);
    std::fs::read_dir(top).ok()?.filter_map(|entry| Some(entry.ok()?.path())).find(ours)
}

fn without_runtime_dir() -> PathBuf {
    let uid = own_uid();
    let run = PathBuf::from(format!("/run/user/{uid}"));
    if run.is_dir() { run } else { PathBuf::from(format!("/tmp/sharekaro-{uid}")) }
}

/// The effective user of this process.
pub fn own_uid() -> u32 {
    // /proc/self belongs to the effective user of its process; without /proc we are nobody, who owns no socket
    std::fs::metadata("/proc/self").map_or(NOBODY, |own| own.uid())
}

/// The user that owns nothing, and that the kernel names where it cannot name the owner (Linux: overflowuid).
pub const NOBODY: u32 = 65_534;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_folder_among_those_of_others_is_found() {
        let top = tempfile::tempdir().unwrap();
        std::fs::write(top.path().join("a"), "").unwrap();
        assert_eq!(owned_by(own_uid(), top.path()), None);

        std::fs::create_dir(top.path().join("b")).unwrap();

        assert_eq!(owned_by(own_uid(), top.path()), Some(top.path().join("b")));
        assert_eq!(owned_by(own_uid() + 1, top.path()), None);
        assert_eq!(owned_by(own_uid(), Path::new("/no/such/folder")), None);
    }
}
