//! What tests of this room share.

use std::{env, os::unix::process::CommandExt, process::Command};

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
