//! The systemd units: sound, hardened, and what the daemon says to a service manager and hears of one.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::Shutdown,
    os::{
        fd::OwnedFd,
        unix::net::{UnixDatagram, UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use sharekaro_tests::{Host, Sandbox, on_loopback, patience, program, until, wait_child};

/// Exposure by `systemd-analyze security`: 0 is none, 10 is all. What is left is the network and the user's own files.
const EXPOSURE_MAX: f32 = 2.0;

/// Which manager a unit is for, its file, and the name that this manager has for it here.
type Unit = (&'static str, &'static str, &'static str);

/// The daemon's.
const DAEMONS: [Unit; 2] = [
    ("--user", "../systemd/user/sharekarod.service", "sharekarod.service"),
    ("--system", "../systemd/system/sharekarod@.service", "sharekarod@root.service"),
];

/// What opens packet sockets for the daemon.
const CAPTURE: Unit = ("--system", "../systemd/system/sharekaro-capture.service", "sharekaro-capture.service");

fn text(source: &str) -> Result<String> {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(source)).with_context(|| format!("cannot read {source}"))
}

/// The unit with the built program in the place of the installed one, by the name of its file.
fn unit(sandbox: &Sandbox, source: &str) -> Result<PathBuf> {
    let daemon = program("sharekarod")?;
    let bin = daemon.parent().context("no folder")?;
    let path = sandbox.path().join(Path::new(source).file_name().context("no file")?);
    fs::write(&path, text(source)?.replace("/usr/bin", &bin.to_string_lossy()))?;
    Ok(path)
}

fn analyze(sandbox: &Sandbox, verb: &[&str], unit: &Path) -> Result<(bool, String)> {
    let mut command = Command::new("systemd-analyze");
    command.arg("--no-pager").args(verb).arg(unit).env_clear().envs(sandbox.environment("unit"));
    let done = command.output().context("systemd-analyze is missing: apt-get install systemd")?;
    Ok((done.status.success(), format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))))
}

#[test]
fn the_units_have_no_mistakes() -> Result<()> {
    let sandbox = Sandbox::new("unit")?;
    for (manager, source, name) in DAEMONS.into_iter().chain([CAPTURE]) {
        let instance = unit(&sandbox, source)?.with_file_name(name);

        let (sound, said) = analyze(&sandbox, &[manager, "verify", "--man=no"], &instance)?;

        // A system's manager looks at the units of this machine too; what it says of those is not ours.
        let ours: Vec<&str> = said.lines().filter(|line| line.contains("sharekaro")).collect();
        ensure!(sound && ours.is_empty(), "{name}: {said}");
    }
    Ok(())
}

#[test]
fn the_units_leave_little_to_attack() -> Result<()> {
    let sandbox = Sandbox::new("unit")?;
    for (manager, source, name) in DAEMONS.into_iter().chain([CAPTURE]) {
        let (_, said) = analyze(&sandbox, &[manager, "security", "--offline=true"], &unit(&sandbox, source)?)?;

        let figure = said.rsplit_once(".service: ").and_then(|(_, rest)| rest.split_whitespace().next());
        let exposure: f32 = figure.context("no figure")?.parse().with_context(|| said.clone())?;
        println!("{name}: exposure {exposure}");
        ensure!(exposure <= EXPOSURE_MAX, "{said}");
    }
    Ok(())
}

#[test]
fn the_units_forbid_nothing_that_the_daemon_needs() -> Result<()> {
    for (_, source, name) in DAEMONS {
        let text = text(source)?;

        // Each of these was tried in a user's manager: openat2, files in homes and /tmp, limits in /proc/sys, kept modes.
        for key in ["RestrictSUIDSGID", "ProtectHome", "PrivateTmp", "ProcSubset", "UMask"] {
            ensure!(!text.lines().any(|line| line.starts_with(&format!("{key}="))), "{name}: {key} takes away what the daemon needs");
        }
    }
    Ok(())
}

#[test]
fn both_units_of_the_daemon_take_the_same_away() -> Result<()> {
    let hardening = |source| -> Result<Vec<String>> {
        let text = text(source)?;
        let (_, rest) = text.split_once("NoNewPrivileges=").with_context(|| format!("{source} hardens nothing"))?;
        let (settings, _) = rest.split_once("[Install]").with_context(|| format!("{source} cannot be enabled"))?;
        let shared = |line: &&str| line.contains('=') && !line.starts_with(['#']) && !line.starts_with("ReadWritePaths=");
        Ok(settings.lines().filter(shared).map(str::to_owned).collect())
    };

    let [session, system] = [hardening(DAEMONS[0].1)?, hardening(DAEMONS[1].1)?];

    ensure!(session == system && session.len() > 20, "{session:?} and {system:?}");
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
        let manager = managed(alice)?;
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

/// A socket that the daemon of this host takes for the service manager's, from its next start on.
fn managed(host: &Host) -> Result<UnixDatagram> {
    let socket = host.home().join("notify");
    let manager = UnixDatagram::bind(&socket)?;
    manager.set_nonblocking(true)?;
    host.set("NOTIFY_SOCKET", &socket);
    Ok(manager)
}

fn configure(host: &Host, text: &str) -> Result<()> {
    let dir = host.home().join("config/sharekaro");
    fs::create_dir_all(&dir)?;
    Ok(fs::write(dir.join("config.toml"), text)?)
}

fn warns_of(host: &Host, code: &str) -> Result<bool> {
    let status = host.ctl("status").ok()?.last()?;
    Ok(status["warnings"].as_array().context("no warnings")?.iter().any(|warning| warning["code"] == code))
}

#[test]
fn a_reload_counts_at_once_and_a_mistake_changes_nothing() -> Result<()> {
    on_loopback(["alice"], |[alice]| {
        let manager = managed(alice)?;
        alice.restart()?;
        let mut heard = told(&manager)?;
        let other = alice.home().join("other inbox");

        configure(alice, &format!("inbox_dir = {:?}\nmdns_loopback = true\n", other.to_string_lossy()))?;
        alice.signal(Signal::HUP)?;

        until("the other inbox is in force", 10, || Ok((alice.inbox()? == other).then_some(())))?;
        ensure!(warns_of(alice, "restart_needed")?, "mdns_loopback cannot change in a running daemon, and nobody says so");
        until("it is ready again", 5, || {
            heard += &told(&manager)?;
            let (_, after) = heard.split_once("RELOADING=1").unwrap_or_default();
            Ok((after.contains("MONOTONIC_USEC=") && after.contains("READY=1")).then_some(()))
        })
        .with_context(|| heard.clone())?;

        configure(alice, "inbox_dir = 5\n")?;
        alice.signal(Signal::HUP)?;

        until("the mistake is a warning", 10, || Ok(warns_of(alice, "bad_configuration")?.then_some(())))?;
        ensure!(alice.inbox()? == other, "a file that makes no sense changed something");

        configure(alice, "")?;
        alice.signal(Signal::HUP)?;

        until("all is well again", 10, || {
            Ok((!warns_of(alice, "bad_configuration")? && !warns_of(alice, "restart_needed")?).then_some(()))
        })?;
        ensure!(alice.inbox()? != other, "what the file does not say any more is in force");
        Ok(())
    })
}

#[test]
fn of_two_daemons_of_one_user_the_first_stays_and_the_second_ends_well() -> Result<()> {
    on_loopback(["alice"], |[alice]| {
        let id = alice.ctl("identity").ok()?.last()?["id"].clone();
        // As sharekarod@ of the system beside the unit of the session: one home, two places for the socket.
        let second = |managed: bool| -> Result<(Option<i32>, String)> {
            let mut command = alice.daemon_command()?;
            command.env("SHAREKARO_SOCKET", alice.home().join("run/elsewhere/control.sock"));
            if !managed {
                command.env_remove("NOTIFY_SOCKET");
            }
            let done = command.output()?;
            Ok((done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned()))
        };
        let manager = managed(alice)?;

        let (code, said) = second(true)?;
        let heard = told(&manager)?;
        ensure!(code == Some(0), "a unit that ends so is started again and again: {code:?} {said}");
        ensure!(heard.contains("READY=1") && heard.contains("another sharekarod") && heard.contains("STOPPING=1"), "{heard}");

        let (code, said) = second(false)?;
        ensure!(code == Some(1) && said.contains("runs already"), "whoever typed it learns nothing: {code:?} {said}");

        ensure!(alice.ctl("identity").ok()?.last()?["id"] == id, "the first one is gone");
        alice.kill()?;
        alice.start()?; // a lock of the dead keeps nobody out
        Ok(())
    })
}

#[test]
fn a_stop_is_over_soon_whatever_hangs_on() -> Result<()> {
    on_loopback(["alice", "bob"], |[alice, bob]| {
        let [_watching, _listening] = [alice.ctl("events").spawn()?, alice.ctl("peers --watch").spawn()?];
        until("alice is ready", 10, || Ok(Some(alice.ctl("status").ok()?)))?;

        let began = Instant::now();
        alice.stop(Signal::TERM)?;

        // Each thing that hangs on is waited for, for a moment; a silent peer for twenty seconds.
        ensure!(began.elapsed() < Duration::from_secs(15), "it took {:?}", began.elapsed());
        ensure!(bob.alive(), "bob ended too");
        Ok(())
    })
}

#[test]
fn asked_through_a_connection_the_capture_program_answers_there() -> Result<()> {
    let sandbox = Sandbox::new("capture")?;
    let path = sandbox.path().join("capture.sock");
    let mut service = Command::new(program("sharekaro-capture")?).stdin(OwnedFd::from(UnixListener::bind(&path)?)).env_clear().spawn()?;
    let ask = |line: &str| -> Result<Vec<u8>> {
        let mut connection = UnixStream::connect(&path)?;
        connection.set_read_timeout(Some(patience(Duration::from_secs(10))))?;
        connection.write_all(line.as_bytes())?;
        connection.shutdown(Shutdown::Write)?;
        let mut answer = Vec::new();
        match connection.read_to_end(&mut answer) {
            Err(e) if e.kind() != ErrorKind::ConnectionReset => Err(e.into()), // it does not read to the end of nonsense
            _ => Ok(answer),
        }
    };
    let refused = |answer: &[u8], codes: &[u8], word: &str| {
        answer.split_first().is_some_and(|(code, words)| codes.contains(code) && String::from_utf8_lossy(words).contains(word))
    };
    let _silent = UnixStream::connect(&path)?; // whoever says nothing keeps the others waiting for a moment only

    // 14 where whoever runs this test may not open a packet socket, 0 with the socket where he may.
    let answer = ask("lo\n")?;
    ensure!(answer == [0] || refused(&answer, &[14], "CAP_NET_RAW"), "{answer:?}");
    let answer = ask("no-such-link\n")?;
    ensure!(refused(&answer, &[4], "no-such-link") || refused(&answer, &[14], "CAP_NET_RAW"), "{answer:?}");
    for nonsense in ["", "lo", &"x".repeat(5000)] {
        let answer = ask(nonsense)?;
        ensure!(refused(&answer, &[2], "name of an interface"), "{nonsense:?}: {answer:?}");
    }

    let ended = wait_child(&mut service, patience(Duration::from_secs(30)))?.context("it does not end when nobody asks")?;
    ensure!(ended.success(), "that would be a failed unit: {ended}");
    Ok(())
}
