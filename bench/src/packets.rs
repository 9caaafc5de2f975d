//! Packets of a capture, counted and judged, beside `tshark -qz io,phs` on the same machine in the same run.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use sharekaro_tests::Host;

use crate::table::{Figure, Goal};

/// Sizes of packets as they are on the Internet: seven small, four middling, one full.
const MIX: [u16; 12] = [46, 46, 46, 46, 46, 46, 46, 556, 556, 556, 556, 1486];
const FLOWS: u32 = 5_000;
/// tshark needs some seconds for so many.
const FOR_TSHARK: u32 = 100_000;

/// Counts alone, and with the forest: in millions of packets a second, and how many times tshark's.
pub(crate) fn packets(alice: &Host, count: u32, rounds: usize) -> Result<[Figure; 4]> {
    let (large, small) = (alice.home().join("large.pcap"), alice.home().join("small.pcap"));
    write_capture(&large, count).and_then(|()| write_capture(&small, count.min(FOR_TSHARK))).context("cannot write a capture")?;
    let mut counted = Figure::new("packets of a file counted", "M/s", Goal::AtLeast(3.0));
    let mut judged = Figure::new("packets of a file counted and judged", "M/s", Goal::AtLeast(1.0));
    let mut times = Figure::new("  counted: times `tshark -qz io,phs`", "x", Goal::AtLeast(30.0));
    let mut times_judged = Figure::new("  counted and judged: times the same", "x", Goal::AtLeast(10.0));
    for _ in 0..rounds {
        let tshark = rate(count.min(FOR_TSHARK), || tshark(&small))?;
        let ours = |top: &str| rate(count, || asked(alice, top, &large, count));
        let (fast, whole) = (ours("0")?, ours("20")?);
        counted.add(fast);
        judged.add(whole);
        times.add(fast / tshark);
        times_judged.add(whole / tshark);
    }
    Ok([counted, times, judged, times_judged])
}

/// Millions of packets a second.
fn rate(count: u32, work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let began = Instant::now();
    work()?;
    Ok(f64::from(count) / 1e6 / began.elapsed().as_secs_f64())
}

fn asked(alice: &Host, top: &str, path: &Path, count: u32) -> Result<()> {
    let reply = alice.ctl("net packets --top").arg(top).arg(path).within(600).ok()?.last()?;
    ensure!(reply["packets"] == count, "{count} packets became {}", reply["packets"]);
    Ok(())
}

fn tshark(path: &Path) -> Result<()> {
    let argv = ["-n", "-qz", "io,phs", "-r"];
    let status = Command::new("tshark").args(argv).arg(path).stdout(Stdio::null()).stderr(Stdio::null()).status();
    ensure!(status.context("tshark is needed to compare with (Debian: tshark)")?.success(), "tshark failed");
    Ok(())
}

/// A pcap of Ethernet, IPv4 and UDP.
fn write_capture(path: &Path, count: u32) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(&[0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1].map(u32::to_ne_bytes).concat())?;
    for number in 0..count {
        let size = MIX[number as usize % MIX.len()];
        let frame = frame(number.wrapping_mul(2_654_435_761) % FLOWS, size);
        let (seconds, micros, length) = (1_750_000_000 + number / 100_000, number % 100_000 * 10, frame.len() as u32);
        file.write_all(&[seconds, micros, length, length].map(u32::to_ne_bytes).concat())?;
        file.write_all(&frame)?;
    }
    file.flush()
}

/// A frame of this flow whose IP packet has so many bytes.
fn frame(flow: u32, size: u16) -> Vec<u8> {
    let [_, _, high, low] = flow.to_be_bytes();
    let [length, udp] = [size, size - 20].map(u16::to_be_bytes);
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0];
    frame.extend(length);
    frame.extend([0, 7, 0, 0, 64, 17, 0, 0, 10, 1, high, low, 10, 2, low, high]);
    frame.extend([0x9c, high, 0x27, low]);
    frame.extend(udp);
    frame.extend([0, 0]);
    frame.resize(14 + usize::from(size), 0x5a);
    frame
}
