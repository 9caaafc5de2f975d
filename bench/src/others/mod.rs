//! What people would take instead, in the same run, between the same two hosts: each with the file as a file on both
//! sides, except iperf3, which moves nothing but bytes. What is not installed is said, and left out.

mod peers;
mod ssh;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use sharekaro_tests::{Host, digest, sh, until, wait_child};

use crate::{
    figures::{Sizes, inside, step, touch},
    table::{Figure, Goal},
};

/// Nothing takes longer than this for a gibibyte.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(900);

/// Something that moves a file from alice to bob.
struct Other {
    name: &'static str,
    /// Programs that it needs.
    programs: &'static [&'static str],
    /// Seconds that it took.
    run: fn(&Stage<'_>) -> Result<f64>,
}

const OTHERS: [Other; 7] = [
    Other { name: "  iperf3, memory to memory", programs: &["iperf3"], run: iperf },
    Other { name: "  socat over TLS", programs: &["socat", "openssl"], run: socat },
    Other { name: "  scp -c aes128-gcm@openssh.com", programs: &["scp", "sshd", "ssh-keygen"], run: ssh::scp },
    Other { name: "  rsync over ssh, aes128-gcm", programs: &["rsync", "ssh", "sshd", "ssh-keygen"], run: ssh::rsync },
    Other { name: "  sendme, ticket by hand", programs: &["sendme"], run: peers::sendme },
    Other { name: "  magic-wormhole, mailbox server beside", programs: &["wormhole", "twist"], run: peers::wormhole },
    Other { name: "  syncthing, connected, from the scan", programs: &["syncthing", "curl"], run: peers::syncthing },
];

/// Two hosts and a file at one of them.
struct Stage<'a> {
    alice: &'a Host,
    bob: &'a Host,
    path: &'a Path,
    size: u64,
}

/// A program of this that runs until it is dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may be over already. Kindly first: what it started has to end too.
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        if !matches!(wait_child(&mut self.0, std::time::Duration::from_secs(2)), Ok(Some(_))) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

/// All of them in turn with ours.
pub(crate) fn others(sizes: &Sizes, alice: &Host, bob: &Host) -> Result<Vec<Figure>> {
    step(&format!("{} MiB file, in turn with what people would take instead", sizes.file >> 20));
    let path = alice.file("compared", sizes.file)?;
    let stage = Stage { alice, bob, path: &path, size: sizes.file };
    let mut ours = Figure::new("compared file, whole `sharectl send`", "s", Goal::None);
    let mut theirs: Vec<(&Other, Figure)> = Vec::new();
    for other in &OTHERS {
        match other.programs.iter().find(|program| find(program).is_none()) {
            Some(missing) => eprintln!("   LEFT OUT:{}: {missing} is not installed", other.name),
            None => theirs.push((other, Figure::new(other.name, "s", Goal::None))),
        }
    }
    for _ in 0..sizes.rounds.max(3) {
        touch(bob, sizes.file)?;
        ours.add(alice.ctl("send bob").arg(&path).within(300).ok()?.took.as_secs_f64());
        fs::remove_file(bob.received("compared")?)?;
        for (other, figure) in &mut theirs {
            touch(bob, sizes.file)?;
            figure.add((other.run)(&stage).with_context(|| format!("{} failed", other.name.trim()))?);
        }
    }
    fs::remove_file(path)?;
    Ok(std::iter::once(ours).chain(theirs.into_iter().map(|(_, figure)| figure)).collect())
}

/// Where a program is; some of the system are where only root looks.
fn find(program: &str) -> Option<PathBuf> {
    let places = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin:/usr/bin:/bin";
    places.split(':').map(|place| Path::new(place).join(program)).find(|path| path.is_file())
}

impl Stage<'_> {
    pub(super) fn command(&self, host: &Host, program: &str) -> Command {
        let mut command = inside(host, &find(program).unwrap_or_default());
        command.env("HOME", host.home()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Starts a server at bob's and waits until it listens on this port.
    fn serve(&self, command: &mut Command, port: u16) -> Result<Server> {
        let server = Server(command.spawn().context("cannot start a server")?);
        until("the server listens", 10, || {
            let listening = sh(&["ip", "netns", "exec", self.bob.cable().namespace(), "ss", "-Hltn", &format!("sport = :{port}")])?;
            Ok((!listening.trim().is_empty()).then_some(()))
        })?;
        Ok(server)
    }

    /// Seconds of a command that has to succeed.
    fn timed(command: &mut Command) -> Result<f64> {
        let began = Instant::now();
        let mut child = command.stderr(Stdio::inherit()).spawn()?;
        let status = wait_child(&mut child, PATIENCE)?;
        if status.is_none() {
            child.kill()?;
            child.wait()?;
        }
        ensure!(status.is_some_and(|status| status.success()), "{command:?} ended with {status:?}");
        Ok(began.elapsed().as_secs_f64())
    }

    fn there(&self) -> PathBuf {
        self.bob.home().join("compared")
    }

    fn arrived(&self) -> Result<()> {
        ensure!(digest(&self.there())? == digest(self.path)?, "other bytes arrived");
        Ok(fs::remove_file(self.there())?)
    }
}

fn iperf(stage: &Stage<'_>) -> Result<f64> {
    let _server = stage.serve(stage.command(stage.bob, "iperf3").args(["-s", "-1"]), 5201)?;
    let (address, bytes) = (stage.bob.cable().address(), stage.size.to_string());
    Stage::timed(stage.command(stage.alice, "iperf3").args(["-c", &address, "-n", &bytes]))
}

fn socat(stage: &Stage<'_>) -> Result<f64> {
    let (key, cert) = (stage.bob.home().join("socat.key"), stage.bob.home().join("socat.crt"));
    let mut made = stage.command(stage.bob, "openssl");
    made.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=bench", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&cert);
    ensure!(made.status()?.success(), "openssl makes no certificate");
    let listen = format!("OPENSSL-LISTEN:4433,reuseaddr,verify=0,key={},cert={}", key.display(), cert.display());
    let mut receive = stage.command(stage.bob, "socat");
    receive.args(["-b", "262144", "-u", &listen, &format!("OPEN:{},creat,trunc", stage.there().display())]);
    let mut server = stage.serve(&mut receive, 4433)?;
    let target = format!("OPENSSL:{}:4433,verify=0", stage.bob.cable().address());
    let mut send = stage.command(stage.alice, "socat");
    let began = Instant::now();
    Stage::timed(send.args(["-b", "262144", "-u", &format!("OPEN:{}", stage.path.display()), &target]))?;
    // The receiver ends when it has written all.
    ensure!(wait_child(&mut server.0, PATIENCE)?.is_some(), "socat does not end");
    let took = began.elapsed().as_secs_f64();
    stage.arrived().map(|()| took)
}
