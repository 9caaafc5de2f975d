//! Captures that are made here, counted by us and by tshark, and how long each takes.
//!
//! tshark is the reference, so the tests need it: Debian's package `tshark`. They fail without it, with these words.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use sharekaro_proto::control::packets::Packets;
use sharekarod::monitor::packets::{Options, analyse, captures::Packet, dissect::Dissection, export::Export, export::Format};
use tokio_util::sync::CancellationToken;

const PROTOCOLS: [&str; 31] = [
    "eth",
    "vlan",
    "ieee8021ad",
    "mpls",
    "pppoes",
    "ppp",
    "arp",
    "ip",
    "ipv6",
    "icmp",
    "icmpv6",
    "tcp",
    "udp",
    "gre",
    "ah",
    "esp",
    "vxlan",
    "geneve",
    "gtp",
    "teredo",
    "l2tp",
    "sctp",
    "igmp",
    "ospf",
    "dns",
    "tls",
    "wol",
    "slow",
    "lacp",
    "sll",
    "raw",
];

fn ethernet(kind: u16, content: &[u8]) -> Vec<u8> {
    let mut frame = [&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1][..], &kind.to_be_bytes(), content].concat();
    frame.resize(frame.len().max(60), 0);
    frame
}

fn ipv4(protocol: u8, content: &[u8]) -> Vec<u8> {
    between(protocol, Ipv4Addr::new(10, 0, 0, 1), content)
}

fn between(protocol: u8, from: Ipv4Addr, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len() + 20).unwrap().to_be_bytes();
    [&[0x45, 0][..], &length, &[0, 1, 0, 0, 64, protocol, 0, 0], &from.octets(), &[10, 0, 0, 2], content].concat()
}

fn ipv6(next: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    let end = |last| [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
    [&[0x60, 0, 0, 0][..], &length, &[next, 64], &end(1), &end(2), content].concat()
}

fn udp(from: u16, to: u16, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len() + 8).unwrap().to_be_bytes();
    [&from.to_be_bytes()[..], &to.to_be_bytes(), &length, &[0, 0], content].concat()
}

fn tcp(from: u16, to: u16, content: &[u8]) -> Vec<u8> {
    [&from.to_be_bytes()[..], &to.to_be_bytes(), &[0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 250, 240, 0, 0, 0, 0], content].concat()
}

/// The greeting of TLS with one cipher and no extension (RFC 8446, 4.1.2).
fn client_hello() -> Vec<u8> {
    let body = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0x13, 1, 1, 0]].concat();
    let (record, length) = (u8::try_from(body.len() + 4).unwrap(), u8::try_from(body.len()).unwrap());
    [&[22, 3, 1, 0, record, 1, 0, 0, length][..], &body].concat()
}

/// One Ethernet frame of each kind; `ports` makes flows differ.
fn frames(ports: u16) -> Vec<Vec<u8>> {
    let query = [&[0, 77, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3][..], b"www", &[7], b"example", &[3], b"org", &[0, 0, 1, 0, 1]].concat();
    let packet = ipv4(17, &udp(40_000 + ports, 41_000, b"content"));
    let packet_6 = ipv6(17, &udp(40_000 + ports, 41_000, b"content"));
    let frame = ethernet(0x0800, &ipv4(6, &tcp(40_000 + ports, 22_222, b"content")));
    let ah = |next: u8, content: &[u8]| [&[next, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1][..], &[3; 12], content].concat();
    let over_udp = |port: u16, head: &[u8], content: &[u8]| ipv4(17, &udp(50_000 + ports, port, &[head, content].concat()));
    let gtp = [&[0x30, 255][..], &u16::try_from(packet.len()).unwrap().to_be_bytes(), &[0, 0, 0, 1]].concat();
    let session = [&[0x11, 0, 0, 1][..], &u16::try_from(packet.len() + 2).unwrap().to_be_bytes(), &[0, 0x21], &packet].concat();
    let quoted = [&[3, 3, 0, 0, 0, 0, 0, 0][..], &packet].concat();
    let mut later = packet.clone();
    (later[6], later[7]) = (0, 185);
    let tag = |kind: u16, content: &[u8]| [&[0, 7][..], &kind.to_be_bytes(), content].concat();
    let of_ip = [
        ipv4(6, &tcp(40_000 + ports, 443, &[22, 3, 1, 0, 5, 1, 0, 0, 1, 0])),
        ipv4(17, &udp(40_000 + ports, 53, &query)),
        ipv4(1, &[8, 0, 0, 0, 0, 1, 0, 1]),
        ipv4(1, &quoted),
        ipv4(47, &[&[0, 0, 8, 0][..], &packet].concat()),
        ipv4(47, &[&[0x20, 0, 0x65, 0x58, 0, 0, 0, 9][..], &frame].concat()),
        ipv4(4, &packet),
        ipv4(41, &packet_6),
        ipv4(51, &ah(17, &udp(1, 40_000, b"x"))),
        ipv4(50, &[7; 40]),
        ipv4(2, &[0x16, 0, 0xf9, 0xfd, 239, 1, 2, 3]),
        over_udp(4789, &[8, 0, 0, 0, 0, 0, 7, 0], &frame),
        over_udp(6081, &[0, 0, 0x65, 0x58, 0, 0, 7, 0], &frame),
        over_udp(2152, &gtp, &packet),
        over_udp(3544, &[], &packet_6),
        over_udp(1701, &[0, 2, 0, 1, 0, 1, 0xff, 3, 0, 0x21], &packet),
        ipv4(17, &udp(40_000 + ports, 9, &[&[0xff; 6][..], &[2, 0, 0, 0, 0, 1].repeat(16)].concat())),
        ipv4(6, &tcp(40_000 + ports, 8_443, &client_hello())),
        later,
        packet.clone(),
    ];
    let mut all: Vec<_> = of_ip.iter().map(|packet| ethernet(0x0800, packet)).collect();
    all.extend(
        [
            packet_6.clone(),
            ipv6(58, &[128, 0, 0, 0, 0, 1, 0, 1]),
            ipv6(0, &[&[17, 0, 1, 4, 0, 0, 0, 0][..], &udp(9, 40_000, b"x")].concat()),
        ]
        .map(|p| ethernet(0x86dd, &p)),
    );
    all.extend([
        ethernet(0x8100, &tag(0x8100, &tag(0x0800, &packet))),
        ethernet(0x88a8, &tag(0x8100, &tag(0x0800, &packet))),
        ethernet(0x8864, &session),
        ethernet(0x8847, &[&[0, 1, 1, 64][..], &packet].concat()),
        ethernet(0x8809, &[1; 60]),
        ethernet(0x0806, &[&[0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1][..], &[0; 6], &[10, 0, 0, 2]].concat()),
    ]);
    all
}

fn write(path: &Path, link: u32, packets: &[Vec<u8>]) {
    let mut export = Export::create(path, Format::Pcapng).unwrap();
    for (time, data) in (0..).zip(packets) {
        let length = u32::try_from(data.len()).unwrap();
        let packet = Packet { time: 1_750_000_000_000_000_000 + time * 1_000, link, big_endian: false, length, data };
        export.add(&packet, &Dissection::of(&packet)).unwrap();
    }
    export.finish().unwrap();
}

/// (packets, bytes) by protocol as `tshark -qz io,phs` has them: each packet once, nothing of what an ICMP error quotes.
fn by_tshark(path: &Path) -> (BTreeMap<String, (u64, u64)>, Duration) {
    let began = Instant::now();
    let options =
        ["-n", "-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE", "-o", "tcp.desegment_tcp_streams:FALSE", "-qz", "io,phs", "-r"];
    let output = Command::new("tshark").args(options).arg(path).output().expect("tshark is missing: install Debian's package tshark");
    let took = began.elapsed();
    let (mut above, mut counts) = (Vec::<String>::new(), BTreeMap::<String, (u64, u64)>::new());
    for line in String::from_utf8_lossy(&output.stdout).lines().filter(|line| line.contains("frames:")) {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap().to_owned();
        let mut number = || words.next().unwrap().split_once(':').unwrap().1.parse::<u64>().unwrap();
        let (packets, bytes) = (number(), number());
        above.truncate((line.len() - line.trim_start().len()) / 2);
        if !above.iter().any(|outer| *outer == name || outer == "icmp" || outer == "icmpv6") {
            let count = counts.entry(name.clone()).or_default();
            *count = (count.0 + packets, count.1 + bytes);
        }
        above.push(name);
    }
    (counts, took)
}

fn compare(path: &Path, about: &str) {
    let ours: Packets = analyse(path, &Options::default(), &CancellationToken::new()).unwrap();
    let (theirs, _) = by_tshark(path);
    assert!(!theirs.is_empty(), "tshark counts nothing in {about}");
    for name in PROTOCOLS {
        let counted = ours.protocols.get(name).map_or((0, 0), |amount| (amount.packets, amount.bytes));
        assert_eq!(counted, theirs.get(name).copied().unwrap_or_default(), "{name} in {about}");
    }
}

#[test]
fn protocols_are_counted_as_tshark_counts_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("made.pcapng");
    let all: Vec<_> = (0..20).flat_map(frames).collect();

    write(&path, 1, &all);
    compare(&path, "Ethernet");
    let packets: Vec<_> = all.iter().filter(|frame| matches!(frame[12..14], [0x08, 0] | [0x86, 0xdd])).collect();
    write(&path, 101, &packets.iter().map(|frame| frame[14..].to_vec()).collect::<Vec<_>>());
    compare(&path, "raw IP");
    let cooked = |frame: &&Vec<u8>| [&[0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0][..], &frame[12..]].concat();
    write(&path, 113, &packets.iter().map(cooked).collect::<Vec<_>>());
    compare(&path, "Linux cooked");
}

/// `cargo test --release -p sharekarod --test packets -- --ignored --nocapture`
#[test]
#[ignore = "a measurement: in a debug build, or beside other work, its figures say nothing"]
fn a_million_packets_are_analysed_far_faster_than_by_tshark() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("large.pcapng");
    let sizes = [0, 0, 0, 0, 0, 0, 0, 540, 540, 540, 540, 1_400];
    let packets = (0..200_000_u32).map(|i| {
        let flow = i.wrapping_mul(2_654_435_761) % 5_000;
        let from = Ipv4Addr::from_bits(0x0a01_0000 + flow);
        ethernet(0x0800, &between(17, from, &udp(40_000, 41_000, &vec![0; sizes[i as usize % 12]])))
    });
    write(&path, 1, &packets.collect::<Vec<_>>());

    let began = Instant::now();
    for _ in 0..5 {
        assert_eq!(analyse(&path, &Options::default(), &CancellationToken::new()).unwrap().packets, 200_000);
    }
    let ours = began.elapsed() / 5;
    let (_, theirs) = by_tshark(&path);

    let rate = |took: Duration| 0.2 / took.as_secs_f64();
    println!("ours, forest included: {:.2} million packets/s; tshark io,phs: {:.3}", rate(ours), rate(theirs));
    assert!(theirs > ours * 10, "{ours:?} {theirs:?}");
}
