//! Somebody misbehaves on the LAN, and the monitor names it. What only frames tell is seen as these tests run with the
//! right to capture.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sharekaro_tests::{Host, MIB, on_a_dark_lan, on_a_lan, pair, sh, until, within};

/// What is named must be named so soon; the monitor looks once a second.
const SOON: u64 = 6;

/// A network is learnt in ten seconds of it.
const LEARNT: usize = 13;

fn anomalies(host: &Host) -> Result<Vec<Value>> {
    Ok(host.ctl("net anomalies").ok()?.last()?["anomalies"].as_array().context("no anomalies")?.clone())
}

fn traffic(host: &Host) -> Result<Vec<Value>> {
    Ok(anomalies(host)?.into_iter().filter(|it| it["kind"] == "traffic").collect())
}

fn named(host: &Host, kind: &str, story: impl FnOnce() -> Result<()>) -> Result<Value> {
    let before = anomalies(host)?.len();
    story()?;
    let new = || Ok(anomalies(host)?.into_iter().skip(before).find(|it| it["kind"] == kind));
    until(&format!("{kind} is named"), SOON, new).with_context(|| format!("{:?}", anomalies(host)))
}

/// The hosts have met their gateway, and the daemon of the first has learnt the network.
fn settle(hosts: &[&Host]) -> Result<()> {
    for host in hosts {
        within(host.cable().namespace(), || {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.send_to(b"hello", "10.77.0.1:9").map(drop).map_err(Into::into)
        })?;
    }
    measured(hosts[0], LEARNT)
}

/// The daemon has looked at its interface for so many seconds.
fn measured(host: &Host, seconds: usize) -> Result<()> {
    until(&format!("{seconds} seconds are measured"), 60, || {
        let history = host.ctl("net history eth0 --since 2m").ok()?.last()?;
        Ok(history["samples"].as_array().is_some_and(|samples| samples.len() >= seconds).then_some(()))
    })
}

/// A DHCP offer in this server's name (RFC 2131): the fixed part, the cookie, message type, server.
fn offer(server: Ipv4Addr) -> Vec<u8> {
    let mut bytes = vec![2, 1, 6, 0];
    bytes.resize(236, 0);
    [&bytes[..], &[0x63, 0x82, 0x53, 0x63, 53, 1, 2, 54, 4], &server.octets(), &[255]].concat()
}

fn broadcast(host: &Host, from_port: u16, to_port: u16, payload: &[u8], count: u32) -> Result<()> {
    within(host.cable().namespace(), || {
        let socket = UdpSocket::bind((host.cable().address().parse::<Ipv4Addr>()?, from_port))?;
        socket.set_broadcast(true)?;
        let began = Instant::now();
        for number in 0..count {
            // What the cable cannot take is lost, as in any storm.
            let _ = socket.send_to(payload, (Ipv4Addr::BROADCAST, to_port));
            let due = Duration::from_micros(u64::from(number) * 250);
            std::thread::sleep(due.saturating_sub(began.elapsed()));
        }
        Ok(())
    })
}

/// Takes an address and says so to everybody: whoever asks for a neighbour says who asks.
fn announce(host: &Host, address: &str) -> Result<()> {
    let namespace = host.cable().namespace();
    sh(&["ip", "-n", namespace, "addr", "add", &format!("{address}/24"), "dev", "eth0"])?;
    within(namespace, || UdpSocket::bind((address, 0))?.send_to(b"hello", "10.77.0.200:9").map(drop).map_err(Into::into))
}

#[test]
fn what_somebody_does_on_the_lan_is_named_within_seconds() -> Result<()> {
    on_a_dark_lan(["alice", "mallory"], |[alice, mallory]| {
        alice.start()?;
        settle(&[alice, mallory])?;
        let calm: Vec<Value> = anomalies(alice)?.into_iter().filter(|it| it["kind"] != "new_device").collect();
        ensure!(calm.is_empty(), "calm is named {calm:?}");

        let scan = named(alice, "port_scan", || {
            within(mallory.cable().namespace(), || {
                let address: Ipv4Addr = alice.cable().address().parse()?;
                (1..=100).for_each(|port| _ = TcpStream::connect_timeout(&SocketAddr::from((address, port)), Duration::from_millis(100)));
                Ok(())
            })
        })?;
        ensure!(scan["explanation"].as_str().is_some_and(|text| text.contains(&mallory.cable().address())), "no source: {scan}");

        named(alice, "second_dhcp_server", || {
            broadcast(mallory, 67, 68, &offer(Ipv4Addr::new(10, 77, 0, 1)), 1)?;
            broadcast(mallory, 67, 68, &offer(Ipv4Addr::new(10, 77, 0, 66)), 1)
        })?;
        named(alice, "broadcast_storm", || broadcast(mallory, 4000, 9, &[0; 100], 16_000))?;
        named(alice, "address_conflict", || announce(mallory, &alice.cable().address()))?;
        Ok(())
    })
}

#[test]
fn a_gateway_that_changes_hands_or_falls_silent_is_named() -> Result<()> {
    on_a_dark_lan(["alice", "mallory"], |[alice, mallory]| {
        alice.start()?;
        settle(&[alice, mallory])?;
        let namespace = alice.cable().namespace();

        let lost = "table netdev lossy { chain in { type filter hook ingress device eth0 priority 0; ip saddr 10.77.0.1 drop; }; }";
        let loss = named(alice, "gateway_loss", || sh(&["ip", "netns", "exec", namespace, "nft", lost]).map(drop))?;
        ensure!(loss["explanation"].as_str().is_some_and(|text| text.contains("unanswered")), "{loss}");
        sh(&["ip", "netns", "exec", namespace, "nft", "delete table netdev lossy"])?;

        let changed = named(alice, "gateway_changed", || announce(mallory, "10.77.0.1"))?;
        ensure!(changed["severity"] == "critical", "{changed}");
        let id = changed["id"].as_str().context("no id")?;
        let normal = alice.ctl("net anomaly ack --normal").arg(id).ok()?.last()?;
        ensure!(normal["acknowledged"] == true, "{normal}");
        Ok(())
    })
}

#[test]
fn a_device_that_comes_later_is_noted_once() -> Result<()> {
    on_a_dark_lan(["alice", "dave"], |[alice, dave]| {
        alice.start()?;
        settle(&[alice])?;
        let address = alice.cable().address();
        // So far nobody has heard of dave, though his cable is in.
        let speak = || {
            within(dave.cable().namespace(), || {
                UdpSocket::bind("0.0.0.0:0")?.send_to(b"hello", (&*address, 9)).map(drop).map_err(Into::into)
            })
        };

        let noted = named(alice, "new_device", speak)?;

        ensure!(noted["severity"] == "info", "{noted}");
        speak()?;
        std::thread::sleep(Duration::from_secs(3));
        let again = anomalies(alice)?.iter().filter(|it| it["kind"] == "new_device").count();
        ensure!(again == 1, "noted {again} times");
        Ok(())
    })
}

#[test]
fn names_asked_elsewhere_are_told_and_may_be_called_normal() -> Result<()> {
    on_a_dark_lan(["alice"], |[alice]| {
        // A file of its own, written in place as programs that set the network up do.
        let path = alice.home().join("resolv.conf");
        let ask_at = |server: &str| fs::write(&path, format!("nameserver {server}\n"));
        ask_at("10.77.0.1")?;
        let bound = format!("mount --bind {} /etc/resolv.conf && exec \"$@\"", path.display());
        alice.behind(&["unshare", "--mount", "--propagation", "slave", "sh", "-c", &bound, "sh"]);
        alice.start()?;
        settle(&[alice])?;
        // They are looked at again every few seconds.
        measured(alice, 2 * LEARNT)?;

        let changed = named(alice, "dns_changed", || Ok(ask_at("10.77.0.66")?))?;

        let told = changed["explanation"].as_str().context("no explanation")?;
        ensure!(told.contains("10.77.0.66") && told.contains("10.77.0.1") && changed["severity"] == "high", "{changed}");
        alice.ctl("net anomaly ack --normal").arg(changed["id"].as_str().context("no id")?).ok()?;
        ask_at("10.77.0.1")?;
        std::thread::sleep(Duration::from_secs(SOON));
        ask_at("10.77.0.66")?;
        std::thread::sleep(Duration::from_secs(SOON));
        let all = anomalies(alice)?;
        ensure!(all.iter().filter(|it| it["kind"] == "dns_changed").count() == 1, "{all:?}");
        Ok(())
    })
}

#[test]
fn a_capture_whose_link_goes_down_tells_what_it_has() -> Result<()> {
    on_a_dark_lan(["alice", "mallory"], |[alice, mallory]| {
        alice.start()?;
        let file = alice.home().join("until.json");
        let capturing = alice.ctl("net capture eth0 --write").arg(&file).spawn()?;
        until("packets come", 60, || {
            broadcast(mallory, 4000, 9, b"hello", 5)?;
            Ok(capturing.lines()?.last().is_some_and(|so_far| so_far["packets"].as_u64() > Some(0)).then_some(()))
        })?;

        sh(&["ip", "-n", alice.cable().namespace(), "link", "set", "eth0", "down"])?;

        let reply = capturing.result()?.exits(&[14])?;
        let told = reply.out.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).find(|told| told["report"].is_object());
        let told = told.with_context(|| format!("no report: {}", reply.out))?;
        ensure!(told["report"]["packets"] == told["packets"] && told["error"]["code"] == "unavailable", "{told}");
        let written: Vec<Value> = serde_json::from_slice(&fs::read(&file)?).context("the file is no whole array")?;
        ensure!(told["packets"] == written.len(), "{} in the file: {told}", written.len());
        Ok(())
    })
}

#[test]
fn files_of_ours_are_no_anomaly_and_as_much_of_somebody_else_is() -> Result<()> {
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        for host in [alice, bob] {
            host.set("SHAREKARO_NET_WARMUP", "20s");
            host.restart()?;
        }
        pair(alice, bob)?;
        measured(bob, 30)?;

        for round in 0..3 {
            let path = alice.file(format!("file-{round}"), 48 * MIB)?;
            alice.ctl("send bob").arg(&path).within(120).ok()?;
            std::thread::sleep(Duration::from_secs(4));
        }
        for host in [alice, bob] {
            let told = traffic(host)?;
            ensure!(told.is_empty(), "our own files are named: {told:?}");
        }

        // The same amount from a program that nobody knows.
        pour(alice, &bob.cable().address(), 8_000_000)?;
        until("somebody else's traffic is named", SOON, || Ok(traffic(alice)?.pop()))?;
        Ok(())
    })
}

/// Datagrams to nobody for six seconds, so many bytes in each.
fn pour(from: &Host, to: &str, bytes_a_second: u64) -> Result<()> {
    const DATAGRAM: [u8; 1200] = [7; 1200];
    let apart = Duration::from_secs(1).mul_f64(DATAGRAM.len() as f64 / bytes_a_second as f64);
    within(from.cable().namespace(), || {
        let (socket, began) = (UdpSocket::bind("0.0.0.0:0")?, Instant::now());
        let mut due = Duration::ZERO;
        while due < Duration::from_secs(6) {
            let _ = socket.send_to(&DATAGRAM, (to, 9));
            due += apart;
            std::thread::sleep(due.saturating_sub(began.elapsed()));
        }
        Ok(())
    })
}

#[test]
fn files_of_ours_on_another_interface_hide_nobody_on_the_watched_one() -> Result<()> {
    on_a_lan(["alice", "bob"], |[alice, bob]| {
        // A cable of their own between the two, and none over the switch.
        let (here, there) = (alice.cable().namespace(), bob.cable().namespace());
        sh(&["ip", "link", "add", "own0", "netns", here, "type", "veth", "peer", "name", "own0", "netns", there])?;
        for (namespace, address) in [(here, "10.78.0.1/24"), (there, "10.78.0.2/24")] {
            sh(&["ip", "-n", namespace, "addr", "add", address, "dev", "own0"])?;
            sh(&["ip", "-n", namespace, "link", "set", "own0", "up"])?;
            sh(&[
                "tc", "-n", namespace, "qdisc", "add", "dev", "own0", "root", "tbf", "rate", "100mbit", "burst", "256k", "latency", "50ms",
            ])?;
        }
        for host in [alice, bob] {
            host.cable().isolate()?;
            host.set("SHAREKARO_NET_WARMUP", "20s");
            host.restart()?;
        }
        pair(alice, bob)?;
        measured(alice, 30)?;

        let path = alice.file("large", 160 * MIB)?;
        let id = alice.ctl("send --detach bob").arg(&path).ok()?.last()?["id"].as_str().context("no id")?.to_owned();
        alice.transfer_is(&id, &["active"], 30)?;
        pour(alice, "10.77.0.1", 4_000_000)?;

        until("somebody else's traffic is named", SOON, || Ok(traffic(alice)?.pop()))?;
        alice.transfer_is(&id, &["done"], 120).map(drop)
    })
}

#[test]
fn a_gateway_of_ipv6_that_falls_silent_is_named() -> Result<()> {
    on_a_dark_lan(["alice", "router"], |[alice, router]| {
        let (here, there) = (alice.cable().namespace(), router.cable().namespace());
        sh(&["ip", "-n", there, "addr", "add", "fe80::1/64", "dev", "eth0", "nodad"])?;
        sh(&["ip", "-n", here, "-4", "route", "flush", "default"])?;
        sh(&["ip", "-n", here, "-6", "route", "add", "default", "via", "fe80::1", "dev", "eth0"])?;
        alice.start()?;
        measured(alice, LEARNT)?;

        let silent = "table netdev lossy { chain in { type filter hook ingress device eth0 priority 0; ip6 saddr fe80::1 drop; }; }";
        let loss = named(alice, "gateway_loss", || sh(&["ip", "netns", "exec", here, "nft", silent]).map(drop))?;

        ensure!(loss["explanation"].as_str().is_some_and(|text| text.contains("unanswered")), "{loss}");
        Ok(())
    })
}
