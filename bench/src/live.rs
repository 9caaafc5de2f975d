//! A live capture on a line that is full of small packets, and what it costs to watch a line on which nothing happens.

use std::{
    net::UdpSocket,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use sharekaro_tests::{Host, within};

use crate::{
    figures::mib,
    table::{Figure, Goal},
};

/// Thousands of packets a second that must not be lost, and their size.
const RATE: f64 = 400.0;
const BYTES: usize = 158;
/// A port that nobody listens at.
const PORT: u16 = 9;

/// Packets that were sent and not captured; and how many a second were sent.
pub(crate) fn live(alice: &Host, bob: &Host, seconds: u64, rounds: usize) -> Result<[Figure; 2]> {
    let mut lost = Figure::new("live capture: packets lost", "", Goal::AtMost(0.0));
    let mut rate = Figure::new("  of so many thousands a second sent", "k/s", Goal::None);
    for _ in 0..rounds {
        let options = format!("--top 0 --duration {}s --filter", seconds + 3);
        let capture = alice.ctl("net capture eth0").args(options.split(' ')).arg(format!("udp and dst port {PORT}")).within(120).spawn()?;
        thread::sleep(Duration::from_secs(1));
        let (sent, took) = pour(alice, bob, Duration::from_secs(seconds))?;
        let last = capture.result()?.exits(&[0])?.last()?;
        let captured = last["packets"].as_u64().context("no count")?;
        ensure!(last["dropped"] == sent - captured, "of {sent} packets {captured} were captured: {last}");
        lost.add((sent - captured) as f64);
        rate.add(sent as f64 / 1e3 / took.as_secs_f64());
    }
    Ok([lost, rate])
}

/// Small datagrams at the rate, or as fast as they can be sent.
fn pour(alice: &Host, bob: &Host, for_so_long: Duration) -> Result<(u64, Duration)> {
    const BATCH: u64 = 64;
    let (to, content) = (alice.cable().address(), [0; BYTES]);
    within(bob.cable().namespace(), || {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect((&*to, PORT))?;
        let (began, mut sent) = (Instant::now(), 0);
        while began.elapsed() < for_so_long {
            // Nobody listens: that a datagram before was refused is no reason to stop.
            sent += (0..BATCH).map(|_| u64::from(socket.send(&content).is_ok())).sum::<u64>();
            let due = Duration::from_secs_f64(sent as f64 / 1e3 / RATE);
            thread::sleep(due.saturating_sub(began.elapsed()).saturating_sub(Duration::from_micros(100)));
        }
        Ok((sent, began.elapsed()))
    })
}

/// What the monitor costs where nothing happens: beside the same daemon without it.
pub(crate) fn rest(alice: &Host, settle: Duration, idle: Duration) -> Result<[Figure; 2]> {
    let mut busy = Figure::new("monitor at rest: share of a core", "%", Goal::AtMost(0.3));
    let mut memory = Figure::new("monitor at rest: more memory (VmRSS)", "MiB", Goal::AtMost(8.0));
    let cost = |net: &str| -> Result<(f64, f64)> {
        alice.set("SHAREKARO_NET", net);
        alice.restart()?;
        // The measurement is about time.
        thread::sleep(settle);
        Ok((alice.busy(idle)? * 100.0, mib(alice.proc_status("VmRSS")?)))
    };
    for _ in 0..3 {
        let (without, with) = (cost("false")?, cost("true")?);
        busy.add((with.0 - without.0).max(0.0));
        memory.add((with.1 - without.1).max(0.0));
    }
    Ok([busy, memory])
}
