//! What tests of this room share.

use std::{env, os::unix::process::CommandExt, path::PathBuf, process::Command};

/// Nobody: root may read and write what is forbidden to everybody else, so that nothing could be seen to be refused.
const ORDINARY: u32 = 65534;

/// Where the tests run as root: runs the test of this name once more, as an ordinary user, and returns true.
pub(super) fn ran_as_an_ordinary_user(test: &str) -> bool {
    if !rustix::process::geteuid().is_root() {
        return false;
    }
    let mut command = Command::new(env::current_exe().unwrap());
    let output = command.args(["--exact", test]).uid(ORDINARY).gid(ORDINARY).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
    true
}

/// Runs the test of this name once more, in namespaces of its own where a file system of so many MiB is mounted on an
/// empty folder. There it returns that folder, here nothing.
pub(super) fn small_disk(test: &str, mebibytes: u32) -> Option<PathBuf> {
    const DISK: &str = "SHAREKARO_TEST_DISK";
    if let Some(disk) = env::var_os(DISK) {
        return Some(disk.into());
    }
    let disk = tempfile::tempdir().unwrap();
    let script = format!("mount -t tmpfs -o size={mebibytes}m,mode=0777 tmpfs \"$0\" && exec \"$1\" --exact {test}");
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]).arg(disk.path()).arg(env::current_exe().unwrap());
    let output = command.env(DISK, disk.path()).output().expect("unshare, of util-linux");
    let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && told.contains("1 passed"),
        "user namespaces are needed (sysctl kernel.unprivileged_userns_clone): {told}"
    );
    None
}
