//! The systemd user unit: sound, hardened, and its programs and folders are the real ones.

use std::{fs, io::ErrorKind, os::unix::net::UnixDatagram, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use sharekaro_tests::{Sandbox, on_loopback, program, until};

/// Exposure by `systemd-analyze security`: 0 is none, 10 is all. What is left is the network and the user's own files.
const EXPOSURE_MAX: f32 = 2.0;

/// The unit with the built daemon in the place of the installed one.
fn unit(sandbox: &Sandbox) -> Result<std::path::PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd/user/sharekarod.service");
    let text = fs::read_to_string(&source).with_context(|| format!("cannot read {}", source.display()))?;
    let daemon = program("sharekarod")?;
    let path = sandbox.path().join("sharekarod.service");
    fs::write(&path, text.replace("/usr/bin/sharekarod", &daemon.to_string_lossy()))?;
    Ok(path)
}

fn analyze(sandbox: &Sandbox, verb: &[&str], unit: &Path) -> Result<(bool, String)> {
    let mut command = Command::new("systemd-analyze");
    command.args(["--user", "--no-pager"]).args(verb).arg(unit).env_clear().envs(sandbox.environment("unit"));
    let done = command.output().context("systemd-analyze is missing: apt-get install systemd")?;
    Ok((done.status.success(), format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))))
}

#[test]
fn the_user_unit_has_no_mistakes() -> Result<()> {
    let sandbox = Sandbox::new("unit")?;

    let (sound, said) = analyze(&sandbox, &["verify", "--man=no"], &unit(&sandbox)?)?;

    ensure!(sound && said.trim().is_empty(), "{said}");
    Ok(())
}

#[test]
fn the_user_unit_leaves_little_to_attack() -> Result<()> {
    let sandbox = Sandbox::new("unit")?;

    let (_, said) = analyze(&sandbox, &["security", "--offline=true"], &unit(&sandbox)?)?;

    let figure = said.rsplit_once(".service: ").and_then(|(_, rest)| rest.split_whitespace().next());
    let exposure: f32 = figure.context("no figure")?.parse().with_context(|| said.clone())?;
    println!("exposure {exposure}");
    ensure!(exposure <= EXPOSURE_MAX, "{said}");
    Ok(())
}

#[test]
fn the_user_unit_forbids_nothing_that_the_daemon_needs() -> Result<()> {
    let sandbox = Sandbox::new("unit")?;

    let text = fs::read_to_string(unit(&sandbox)?)?;

    // Each of these was tried in a user's manager: openat2, files in homes and /tmp, limits in /proc/sys, kept modes.
    for key in ["RestrictSUIDSGID", "ProtectHome", "PrivateTmp", "ProcSubset", "UMask"] {
        ensure!(!text.lines().any(|line| line.starts_with(&format!("{key}="))), "{key} takes away what the daemon needs");
    }
    Ok(())
}

/// Everything that the daemon has told the service manager since the last look, one message a line.
fn told(manager: &UnixDatagram) -> Result<String> {
    let (mut all, mut message) = (String::new(), [0; 4096]);
    loop {
        match manager.recv(&mut message) {
            Ok(length) => all = all + &String::from_utf8_lossy(&message[..length]) + "\n",
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(all),
            Err(e) => return Err(e.into()),
        }
    }
}

#[test]
fn the_service_manager_hears_ready_status_beats_and_stopping() -> Result<()> {
    on_loopback(["alice"], |[alice]| {
        let socket = alice.home().join("notify");
        let manager = UnixDatagram::bind(&socket)?;
        manager.set_nonblocking(true)?;
        alice.set("NOTIFY_SOCKET", &socket);
        alice.set("WATCHDOG_USEC", Duration::from_secs(1).as_micros().to_string());
        let mut heard = String::new();

        alice.restart()?;
        until("it is ready, says how it is, and beats twice", 10, || {
            heard += &told(&manager)?;
            let beats = heard.lines().filter(|line| *line == "WATCHDOG=1").count();
            Ok((heard.contains("READY=1") && heard.contains("STATUS=") && beats >= 2).then_some(()))
        })
        .with_context(|| heard.clone())?;
        alice.stop(Signal::TERM)?;

        heard += &told(&manager)?;
        ensure!(heard.contains("STOPPING=1"), "{heard}");
        Ok(())
    })
}
