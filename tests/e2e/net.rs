//! The network, watched, as a person and a script see it: counters, files, captures. Nobody misbehaves here.

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use sharekaro_tests::{Host, on_loopback, until};

/// A pcap (<https://www.tcpdump.org/manpages/pcap-savefile.5.html>) with a UDP packet to port 53 and an ARP packet.
fn capture() -> Vec<u8> {
    let mut file = [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1].map(u32::to_ne_bytes).concat();
    let ip = [0x45, 0, 0, 32, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x9c, 0x40, 0, 53, 0, 12, 0, 0, 1, 2, 3, 4];
    let arp = [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2];
    for (second, kind, content) in [(1_750_000_000_u32, [8, 0], &ip[..]), (1_750_000_001, [8, 6], &arp[..])] {
        let frame = [&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1][..], &kind, content].concat();
        let length = u32::try_from(frame.len()).unwrap_or(0);
        file.extend([second, 0, length, length].map(u32::to_ne_bytes).concat());
        file.extend(frame);
    }
    file
}

fn interface(host: &Host, name: &str) -> Result<Option<Value>> {
    let all = host.ctl("net").ok()?.last()?;
    Ok(all["interfaces"].as_array().context("no interfaces")?.iter().find(|it| it["name"] == name).cloned())
}

#[test]
fn interfaces_are_counted_and_their_history_is_kept() -> Result<()> {
    on_loopback(["alice"], |[alice]| {
        let lo = until("lo is counted", 10, || interface(alice, "lo"))?;
        for key in ["up", "watched", "bytes_sent", "bytes_received", "packets_sent", "errors_received", "drops_sent"] {
            ensure!(!lo[key].is_null(), "{lo}");
        }

        let samples = until("there are some seconds", 10, || {
            let history = alice.ctl("net history lo --since 1m").ok()?.last()?;
            Ok(history["samples"].as_array().filter(|samples| samples.len() >= 3).cloned())
        })?;

        ensure!(samples.iter().all(|sample| sample["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0)), "{samples:?}");
        let missing = alice.ctl("net history nosuch0").run()?.exits(&[4])?;
        ensure!(missing.error_code()? == "not_found", "{missing:?}");
        Ok(())
    })
}

#[test]
fn network_csv_is_kept_over_a_restart_until_it_is_stopped() -> Result<()> {
    on_loopback(["alice"], |[alice]| {
        let path = alice.home().join("Network.csv");
        let header = "Time,Bytes_sent,Bytes_received,Packets_sent,Packets_received";
        let begins = || Ok(fs::read_to_string(&path).ok().filter(|text| text.starts_with(header) && text.ends_with('\n')));

        alice.ctl("net csv Network.csv").ok()?;
        until("the file is there", 10, begins)?;
        alice.stop(Signal::TERM)?;
        fs::remove_file(&path)?;
        alice.start()?;
        until("the file is there again", 15, begins)?;

        alice.ctl("net csv --stop").ok()?;
        alice.ctl("net csv no-such-folder/Network.csv").run()?.exits(&[8])?;
        Ok(())
    })
}

#[test]
fn files_of_others_are_counted_judged_or_refused() -> Result<()> {
    on_loopback(["alice"], |[alice]| {
        let file = |name: &str, content: &[u8]| fs::write(alice.home().join(name), content);
        file("good.pcap", &capture())?;
        file("cut.pcap", &capture()[..capture().len() - 3])?;
        file("series.csv", b"timestamp,value\n2020-01-01 00:00:00,1\n2020-01-01 00:05:00,2\n")?;

        let all = alice.ctl("net packets good.pcap").ok()?.last()?;
        ensure!(all["packets"] == 2 && all["protocols"]["arp"]["packets"] == 1, "{all}");
        let some = alice.ctl("net packets good.pcap -w out.csv --filter arp").ok()?.last()?;
        ensure!(some["packets"] == 1 && fs::read_to_string(alice.home().join("out.csv"))?.lines().count() == 2, "{some}");
        let cut = alice.ctl("net packets cut.pcap").run()?.exits(&[12])?.last()?;
        ensure!(cut["packets"] == 1 && cut["error"]["code"] == "partial", "{cut}");
        ensure!(alice.ctl("net replay good.pcap").ok()?.last()?["findings"] == Value::Array(Vec::new()), "an ordinary packet is odd");
        let scores = alice.ctl_for_people("net replay series.csv --scores").ok()?;
        ensure!(scores.out.lines().count() == 2, "{scores:?}");

        alice.ctl("net packets good.pcap --filter src").run()?.exits(&[2])?;
        alice.ctl("net packets good.pcap -w out.txt").run()?.exits(&[2])?;
        alice.ctl("net packets nowhere.pcap").run()?.exits(&[8])?;
        alice.ctl("net replay nowhere.csv").run()?.exits(&[8])?;
        alice.ctl("net replay good.pcap --scores").run()?.exits(&[8])?;
        Ok(())
    })
}

#[test]
fn a_file_whose_reader_is_killed_is_read_no_further() -> Result<()> {
    on_loopback(["alice"], |[alice]| {
        // Long enough for any machine: some ten seconds of work, or minutes.
        let rows: String = (0..300_000_u64).map(|row| format!("2020-01-01 00:00:00,{}\n", row * 7919 % 1000)).collect();
        fs::write(alice.home().join("long.csv"), format!("timestamp,value\n{rows}"))?;
        let (look, at_work, at_rest) = (Duration::from_millis(500), 0.05, 0.02);

        let replay = alice.ctl_for_people("net replay long.csv --scores").spawn()?;
        until("it is judged", 60, || Ok((alice.busy(look)? > at_work).then_some(())))?;
        replay.signal(Signal::KILL)?;

        until("it is judged no more", 5, || Ok((alice.busy(look)? < at_rest).then_some(())))
    })
}

#[test]
fn without_the_right_a_capture_says_how_to_get_it() -> Result<()> {
    on_loopback(["alice"], |[alice]| {
        let reply = alice.ctl("net capture lo --duration 1s").within(30).run()?.exits(&[0, 14])?;

        if reply.code == Some(14) {
            let error = reply.last()?["error"].to_string();
            ensure!(error.contains("setcap") && error.contains("CAP_NET_RAW"), "{error}");
            let status = alice.ctl("status").ok()?.last()?["warnings"].to_string();
            ensure!(status.contains("capture_unavailable"), "{status}");
        } else {
            ensure!(reply.last()?["dropped"] == 0, "{reply:?}");
            alice.ctl("net capture nosuch0 --duration 1s").run()?.exits(&[4])?;
        }
        alice.ctl("net capture lo --filter src").run()?.exits(&[2])?;
        Ok(())
    })
}

#[test]
fn switched_off_it_says_so() -> Result<()> {
    on_loopback(["alice"], |[alice]| {
        alice.set("SHAREKARO_NET", "false");
        alice.restart()?;

        let reply = alice.ctl("net").run()?.exits(&[14])?;

        ensure!(reply.last()?["error"]["hint"].as_str().is_some_and(|hint| hint.contains("net = true")), "{reply:?}");
        Ok(())
    })
}
