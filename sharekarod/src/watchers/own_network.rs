//! For tests: a network of their own, where addresses can come and go.

/// Runs a test again in a network namespace that has nothing but lo, and there returns true. Where the system does not
/// allow that, says so.
pub(crate) fn own_network(test: &str) -> bool {
    const INSIDE: &str = "SHAREKARO_TEST_OWN_NETWORK";
    if std::env::var_os(INSIDE).is_some() {
        ip("link set lo up");
        return true;
    }
    let ways: [&[&str]; 2] = [&["--net"], &["--user", "--map-root-user", "--net"]];
    let unshare = |way: &[&str]| {
        let mut command = std::process::Command::new("unshare");
        command.args(way);
        command
    };
    let Some(way) = ways.into_iter().find(|way| unshare(way).args(["ip", "link"]).output().is_ok_and(|tried| tried.status.success()))
    else {
        eprintln!("{test} was not tried: it needs `unshare` and `ip`, and root or unprivileged user namespaces");
        return false;
    };
    let again =
        unshare(way).arg(std::env::current_exe().unwrap()).args(["--exact", test, "--nocapture"]).env(INSIDE, "1").output().unwrap();
    let output = String::from_utf8_lossy(&again.stdout);
    assert!(again.status.success() && output.contains("1 passed"), "{output}{}", String::from_utf8_lossy(&again.stderr));
    false
}

pub(crate) fn ip(arguments: &str) {
    assert!(std::process::Command::new("ip").args(arguments.split(' ')).status().unwrap().success(), "ip {arguments}");
}
