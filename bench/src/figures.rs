//! The workloads and the figures that they give.

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Read},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use sharekaro_tests::{Host, MIB, digest, on_a_dark_lan, on_a_lan, pair, until};

use crate::{
    drops, lines, live, messages, others,
    packets::packets,
    reference::Reference,
    table::{Figure, Goal, table},
    traffic::traffic,
};

/// How much of everything.
pub(crate) struct Sizes {
    pub(crate) rounds: usize,
    pub(crate) file: u64,
    pub(crate) files: u64,
    pub(crate) radio: u64,
    pub(crate) class: u64,
    pub(crate) sparse: u64,
    pub(crate) entries: u64,
    pub(crate) dropped: usize,
    small_rounds: usize,
    big: u64,
    pub(crate) settle: Duration,
    pub(crate) idle: Duration,
    messages: messages::Sizes,
    packets: u32,
    /// Days of made-up traffic, and how often others of them.
    days: (usize, u64),
}

impl Sizes {
    /// What the goals are about.
    pub(crate) const FULL: Self = Self {
        rounds: 5,
        file: 1024 * MIB,
        files: 10_000,
        radio: 32 * MIB,
        class: 48 * MIB,
        sparse: 50 << 30,
        entries: 1_000_000,
        dropped: 5_000,
        small_rounds: 30,
        big: 4096 * MIB,
        settle: Duration::from_secs(15),
        idle: Duration::from_secs(30),
        messages: messages::Sizes { rounds: 200, waiting: 1_000, history: 100_000 },
        packets: 2_000_000,
        days: (5, 3),
    };
    /// Only to see that the bench works.
    pub(crate) const SMOKE: Self = Self {
        rounds: 1,
        file: 32 * MIB,
        files: 500,
        radio: 2 * MIB,
        class: 4 * MIB,
        sparse: 1 << 30,
        entries: 3_000,
        dropped: 100,
        small_rounds: 3,
        big: 64 * MIB,
        settle: Duration::from_secs(1),
        idle: Duration::from_secs(2),
        messages: messages::Sizes { rounds: 5, waiting: 50, history: 2_000 },
        packets: 50_000,
        days: (2, 1),
    };
}

/// Which of them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Everything.
    All,
    /// Two hosts on a plain line.
    Plain,
    /// The network, watched.
    Monitor,
    /// What people do all day: messages, the drop folder.
    People,
    /// What people would take instead.
    Others,
    /// Lines of their own.
    Lines,
}

impl Part {
    pub(crate) fn named(name: &str) -> Result<Self> {
        match name {
            "plain" => Ok(Self::Plain),
            "monitor" => Ok(Self::Monitor),
            "people" => Ok(Self::People),
            "others" => Ok(Self::Others),
            "lines" => Ok(Self::Lines),
            _ => anyhow::bail!("there is no part {name}: plain, monitor, people, others or lines"),
        }
    }
}

/// Runs them and prints the table.
pub(crate) fn run(sizes: &Sizes, part: Part) -> Result<()> {
    let mut figures = Vec::new();
    if part == Part::All || part == Part::Plain {
        figures.extend(plain(sizes)?);
    }
    if part == Part::All || part == Part::Monitor {
        figures.extend(monitor(sizes)?);
    }
    if part == Part::All || part == Part::People {
        figures.extend(people(sizes)?);
    }
    if part == Part::All || part == Part::Others {
        on_a_lan(["alice", "bob"], |[alice, bob]| {
            pair(alice, bob)?;
            figures.extend(others::others(sizes, alice, bob)?);
            Ok(())
        })?;
    }
    if part == Part::All || part == Part::Lines {
        figures.extend(lines::lines(sizes)?);
    }
    println!(
        "\nlarge file: {} MiB, huge file: {} MiB, {} rounds\n\n{}",
        sizes.file / MIB,
        sizes.big / MIB,
        sizes.rounds.max(3),
        table(&figures)
    );
    if sizes.rounds < Sizes::FULL.rounds {
        println!("Small sizes: this only shows that the bench works.");
    }
    Ok(())
}

fn plain(sizes: &Sizes) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    on_a_dark_lan(["alice", "bob"], |[alice, bob]| {
        figures.extend(starts(sizes, alice, bob)?);
        alice.start()?;
        bob.start()?;
        pair(alice, bob)?;
        figures.extend(idle(sizes, alice)?);
        figures.extend(one_kib(sizes, alice)?);
        figures.extend(one_file(sizes, alice, bob)?);
        figures.extend(memory(sizes, alice, bob)?);
        Ok(())
    })?;
    Ok(figures)
}

fn people(sizes: &Sizes) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        pair(alice, bob)?;
        step(&format!("the drop folder, {} files", sizes.dropped));
        figures.extend(drops::all(sizes, alice, bob)?);
        step(&format!("{} messages to a peer that is off, {} searched", sizes.messages.waiting, sizes.messages.history));
        figures.extend(messages::all(&sizes.messages, alice, bob)?);
        Ok(())
    })?;
    Ok(figures)
}

fn monitor(sizes: &Sizes) -> Result<Vec<Figure>> {
    let (mut figures, rounds, (days, seeds)) = (Vec::new(), sizes.rounds.min(3), sizes.days);
    on_a_dark_lan(["alice", "bob"], |[alice, bob]| {
        step("the monitor at rest");
        alice.start()?;
        figures.extend(live::rest(alice, sizes.settle, sizes.idle / 3)?);
        step("packets of a capture");
        figures.extend(packets(alice, sizes.packets, rounds)?);
        step("a live capture of a full line");
        figures.extend(live::live(alice, bob, (sizes.idle.as_secs() / 3).max(1), rounds)?);
        step(&format!("{days} days of made-up traffic, {seeds} times"));
        figures.extend(traffic(alice, days, seeds)?);
        Ok(())
    })?;
    Ok(figures)
}

pub(crate) fn step(text: &str) {
    eprintln!("== {text}");
}

/// From start to answering, and from the second one's start until both see each other.
fn starts(sizes: &Sizes, alice: &Host, bob: &Host) -> Result<[Figure; 2]> {
    step("starts and discovery");
    let mut ready = Figure::new("start to the socket answering", "ms", Goal::AtMost(300.0));
    let mut found = Figure::new("both see each other after the second start", "s", Goal::AtMost(2.0));
    for _ in 0..sizes.rounds.max(3) {
        ready.add(alice.start()?.as_secs_f64() * 1000.0);
        let began = Instant::now();
        ready.add(bob.start()?.as_secs_f64() * 1000.0);
        bob.sees(alice)?;
        alice.sees(bob)?;
        found.add(began.elapsed().as_secs_f64());
        for host in [alice, bob] {
            host.stop(rustix::process::Signal::TERM)?;
        }
    }
    Ok([ready, found])
}

/// What a daemon costs that does nothing but be there, connected to a peer.
fn idle(sizes: &Sizes, alice: &Host) -> Result<[Figure; 2]> {
    step("idle");
    let mut memory = Figure::new("idle memory (VmRSS), connected", "MiB", Goal::AtMost(16.0));
    let mut wakeups = Figure::new("idle wake-ups (voluntary switches)", "/s", Goal::AtMost(4.0));
    // The measurement is about time.
    thread::sleep(sizes.settle);
    for _ in 0..3 {
        wakeups.add(alice.wakeups(sizes.idle / 3)?);
        memory.add(mib(alice.proc_status("VmRSS")?));
    }
    Ok([memory, wakeups])
}

/// A whole command for a small file, and what of it is the command line's own start and one question to the daemon.
fn one_kib(sizes: &Sizes, alice: &Host) -> Result<[Figure; 2]> {
    step("1 KiB, whole command");
    let mut whole = Figure::new("1 KiB, whole `sharectl send --json`", "ms", Goal::AtMost(15.0));
    let mut bare = Figure::new("  for comparison: `sharectl status --json`", "ms", Goal::None);
    for i in 0..sizes.small_rounds {
        let path = alice.file(format!("small-{i}"), 1024)?;
        whole.add(alice.ctl("send bob").arg(&path).ok()?.took.as_secs_f64() * 1000.0);
        bare.add(alice.ctl("status").ok()?.took.as_secs_f64() * 1000.0);
        fs::remove_file(path)?;
    }
    Ok([whole, bare])
}

/// A large file, in turn with the references.
fn one_file(sizes: &Sizes, alice: &Host, bob: &Host) -> Result<[Figure; 5]> {
    step(&format!("{} MiB file, in turn with raw quinn and plain TCP", sizes.file / MIB));
    let path = alice.file("large", sizes.file)?;
    let expected = digest(&path)?;
    let mut ours = Figure::new("large file, whole `sharectl send`", "s", Goal::None);
    let mut quinn = Figure::new("  raw quinn, memory to memory", "s", Goal::None);
    let mut tcp = Figure::new("  plain TCP, memory to memory", "s", Goal::None);
    let mut to_quinn = Figure::new("large file, rate as a share of raw quinn", "", Goal::AtLeast(0.75));
    let mut to_tcp = Figure::new("  as a share of plain TCP", "", Goal::None);
    for _ in 0..sizes.rounds.max(3) {
        let raw = referenced(Reference::Quinn, alice, bob, sizes.file)?;
        touch(bob, sizes.file)?;
        let took = alice.ctl("send bob").arg(&path).within(300).ok()?.took.as_secs_f64();
        let plain = referenced(Reference::Tcp, alice, bob, sizes.file)?;
        let there = bob.received("large")?;
        ensure!(digest(&there)? == expected, "other bytes arrived");
        fs::remove_file(there)?;
        for (figure, value) in
            [(&mut ours, took), (&mut quinn, raw), (&mut tcp, plain), (&mut to_quinn, raw / took), (&mut to_tcp, plain / took)]
        {
            figure.add(value);
        }
        eprintln!("   ours {took:.2} s, quinn {raw:.2} s, tcp {plain:.2} s");
    }
    fs::remove_file(path)?;
    Ok([to_quinn, ours, quinn, tcp, to_tcp])
}

/// Makes the machine have the memory that the next file is received into: where the host of a virtual machine takes back
/// what is free, the first to write pays several times over for each page, and the references write none.
pub(crate) fn touch(host: &Host, bytes: u64) -> Result<()> {
    let path = host.home().join("touched");
    io::copy(&mut io::repeat(1).take(bytes), &mut fs::File::create(&path)?)?;
    Ok(fs::remove_file(path)?)
}

/// The seconds that a reference takes from alice to bob.
pub(crate) fn referenced(reference: Reference, alice: &Host, bob: &Host, bytes: u64) -> Result<f64> {
    let bench = env::current_exe()?;
    let mut receiver = inside(bob, &bench).args(["receive", reference.name()]).stdout(Stdio::piped()).spawn()?;
    let mut port = String::new();
    BufReader::new(receiver.stdout.take().context("no stdout")?).read_line(&mut port)?;
    let address = format!("{}:{}", bob.cable().address(), port.trim());
    let sent = inside(alice, &bench).args(["send", reference.name(), &address, &bytes.to_string()]).stderr(Stdio::inherit()).output();
    if !sent.as_ref().is_ok_and(|sent| sent.status.success()) {
        receiver.kill()?;
    }
    receiver.wait()?;
    let said = String::from_utf8(sent?.stdout)?;
    said.trim().parse().with_context(|| format!("the {} sender said {said:?}", reference.name()))
}

pub(crate) fn inside(host: &Host, program: &Path) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", host.cable().namespace()]).arg(program);
    command
}

/// The most memory that either side ever had, with a file far larger than that.
fn memory(sizes: &Sizes, alice: &Host, bob: &Host) -> Result<Vec<Figure>> {
    step(&format!("{} MiB, peak memory", sizes.big / MIB));
    let free = rustix::fs::statvfs(alice.home())?;
    if free.f_bavail * free.f_frsize < 2 * sizes.big + sizes.big / 4 {
        eprintln!(
            "   LEFT OUT: it needs {} GiB free in {} (set TMPDIR to a larger place)",
            9 * sizes.big / 4 / MIB / 1024,
            alice.home().display()
        );
        return Ok(Vec::new());
    }
    let path = alice.file("big", sizes.big)?;
    alice.ctl("send bob").arg(&path).within(900).ok()?;
    until("the receiver is done too", 30, || Ok((bob.ctl("status").ok()?.last()?["transfers_active"] == 0).then_some(())))?;
    let mut sending = Figure::new("huge file: peak memory, sender", "MiB", Goal::AtMost(64.0));
    let mut receiving = Figure::new("huge file: peak memory, receiver", "MiB", Goal::AtMost(64.0));
    sending.add(mib(alice.proc_status("VmHWM")?));
    receiving.add(mib(bob.proc_status("VmHWM")?));
    fs::remove_file(path)?;
    fs::remove_file(bob.received("big")?)?;
    Ok(vec![sending, receiving])
}

#[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
pub(crate) fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
