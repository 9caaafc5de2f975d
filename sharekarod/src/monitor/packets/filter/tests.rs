//! Filters on packets that are made here, and the kernel's part run by an interpreter of ours.

use proptest::prelude::*;

use super::{super::captures::Packet, Filter, KernelFilter};
use crate::monitor::packets::dissect::Dissection;

fn ipv4(protocol: u8, from: [u8; 4], to: [u8; 4], content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + content.len()).unwrap().to_be_bytes();
    let head = [0x45, 0, length[0], length[1], 0, 1, 0, 0, 64, protocol, 0, 0];
    [&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0][..], &head, &from, &to, content].concat()
}

fn udp(from: u16, to: u16) -> Vec<u8> {
    [&from.to_be_bytes()[..], &to.to_be_bytes(), &[0, 20, 0, 0], &[7; 12]].concat()
}

fn ipv6(next: u8, content: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, next, 64];
    frame[19] = u8::try_from(content.len()).unwrap();
    for last in [1, 2] {
        frame.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    [frame, content.to_vec()].concat()
}

fn arp() -> Vec<u8> {
    let head = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1];
    [&head[..], &[10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2]].concat()
}

/// Every kind of packet that a filter tells apart.
fn packets() -> Vec<(&'static str, Vec<u8>)> {
    let mut later = ipv4(17, [10, 0, 0, 1], [10, 0, 9, 2], &udp(9, 53));
    later[21] = 185;
    let tagged = |frame: Vec<u8>| [&frame[..12], &[0x81, 0, 0, 7], &frame[12..]].concat();
    let tcp = [&[0x9c, 0x40, 1, 0xbb, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0][..], &[0; 600]].concat();
    vec![
        ("dns", ipv4(17, [10, 0, 0, 1], [10, 0, 9, 2], &udp(40_000, 53))),
        ("fragment", later),
        ("tls", ipv4(6, [10, 0, 0, 1], [192, 168, 1, 7], &tcp)),
        ("ping", ipv4(1, [10, 0, 9, 2], [10, 0, 0, 1], &[8, 0, 0, 0])),
        ("six", ipv6(17, &udp(53, 40_000))),
        ("behind", ipv6(0, &[&[17, 0, 1, 4, 0, 0, 0, 0][..], &udp(53, 40_000)].concat())),
        ("arp", arp()),
        ("tagged", tagged(ipv4(17, [10, 0, 0, 1], [10, 0, 9, 2], &udp(40_000, 53)))),
    ]
}

fn matched(filter: &Filter) -> String {
    let chosen = packets().into_iter().filter(|(_, data)| {
        let length = u32::try_from(data.len()).unwrap();
        filter.matches(&Dissection::of(&Packet { time: 0, link: 1, big_endian: false, length, data }), length)
    });
    chosen.map(|(name, _)| name).collect::<Vec<_>>().join(" ")
}

const CASES: [(&str, &str); 30] = [
    ("", "dns fragment tls ping six behind arp tagged"),
    ("udp", "dns fragment six tagged"),
    ("ip", "dns fragment tls ping tagged"),
    ("ip6", "six behind"),
    ("not ip", "six behind arp"),
    ("port 53", "dns six tagged"),
    ("udp port 53 and ip", "dns tagged"),
    ("dst port 53", "dns tagged"),
    ("src port 53", "six"),
    ("port domain or https", "dns tls six tagged"),
    ("port (53 or 443)", "dns tls six tagged"),
    ("tcp portrange 400-500", "tls"),
    ("src 10.0.0.1", "dns fragment tls arp tagged"),
    ("ip src host 10.0.0.1", "dns fragment tls tagged"),
    ("arp host 10.0.0.2", "arp"),
    ("dst net 10.0.8.0/21", "dns fragment tagged"),
    ("net 192.168", "tls"),
    ("src and dst net 10", "dns fragment ping arp tagged"),
    ("host fd00::2 and not dst port 53", "six behind"),
    ("net fd00::/8", "six behind"),
    ("less 42", "ping arp"),
    ("greater 600", "tls"),
    ("icmp or arp", "ping arp"),
    ("icmp || arp && less 40", "ping"),
    ("ip proto 17", "dns fragment tagged"),
    ("ip proto \\icmp", "ping"),
    ("dns", "dns six behind tagged"),
    ("vlan", "tagged"),
    ("(tcp or udp) and src 10.0.0.1 and ! port 443", "dns fragment tagged"),
    ("not (not tcp)", "tls"),
];

#[test]
fn filters_choose_as_pcap_filter_says() {
    for (text, want) in CASES {
        assert_eq!(matched(&Filter::parse(text).unwrap()), want, "{text}");
    }
}

#[test]
fn a_bad_filter_is_told_with_its_place() {
    let cases = [
        ("src", 4),
        ("port many", 6),
        ("tcp and and udp", 9),
        ("frobnicate", 1),
        ("tcp udp", 5),
        ("host", 5),
        ("(tcp", 5),
        ("tcp)", 4),
        ("net 10.0.0.1/8", 5),
        ("host example.org", 6),
        ("tcp and $", 9),
        ("port 70000", 6),
        ("less many", 6),
        ("not", 4),
        ("arp port 5", 1),
        ("icmp port 5", 1),
        ("port port 5", 6),
        ("10.0.0.0/8 or or", 15),
        ("host 10.0.0.0/8", 6),
        ("net 10.0.0.0/33", 5),
        ("tcp 5", 5),
    ];
    for (text, place) in cases {
        let error = Filter::parse(text).unwrap_err();
        assert_eq!(error.place, place, "{text}: {error}");
    }
    assert!(Filter::parse(&"(".repeat(3000)).is_err() && Filter::parse(&"(".repeat(5000)).is_err());
    assert!(Filter::parse(&"not ".repeat(900)).is_err());
    assert!(Filter::parse(&format!("{}tcp", "not ".repeat(30))).is_ok());
}

/// What the kernel does with a program, for the instructions that ours use.
fn run(program: &KernelFilter, frame: &[u8]) -> u32 {
    let (mut a, mut x, mut at) = (0_u32, 0_u32, 0_usize);
    let load = |from: u32, bytes: usize| -> Option<u32> {
        let from = usize::try_from(from).unwrap();
        Some(frame.get(from..from + bytes)?.iter().fold(0, |value, byte| value << 8 | u32::from(*byte)))
    };
    loop {
        let step = program.0[at];
        at += 1;
        let held = match step.code {
            0x20 => {
                let Some(v) = load(step.k, 4) else { return 0 };
                a = v;
                continue;
            }
            0x28 => {
                let Some(v) = load(step.k, 2) else { return 0 };
                a = v;
                continue;
            }
            0x30 => {
                let Some(v) = load(step.k, 1) else { return 0 };
                a = v;
                continue;
            }
            0x48 => {
                let Some(v) = load(step.k + x, 2) else { return 0 };
                a = v;
                continue;
            }
            0x80 => {
                a = u32::try_from(frame.len()).unwrap();
                continue;
            }
            0xb1 => {
                let Some(v) = load(step.k, 1) else { return 0 };
                x = (v & 15) * 4;
                continue;
            }
            0x54 => {
                a &= step.k;
                continue;
            }
            0x06 => return step.k,
            0x15 => a == step.k,
            0x25 => a > step.k,
            0x35 => a >= step.k,
            0x45 => a & step.k != 0,
            code => panic!("{code:#x}"),
        };
        at += usize::from(if held { step.then } else { step.otherwise });
    }
}

#[test]
fn the_kernels_part_lets_through_everything_that_is_meant_and_little_else() {
    for (text, want) in CASES {
        let program = Filter::parse(text).unwrap().for_kernel(96).unwrap();
        let sure = !["dns", "vlan"].contains(&text);
        for (name, frame) in packets() {
            let passed = run(&program, &frame) == 96;
            let meant = want.split(' ').any(|wanted| wanted == name);
            assert!(passed || !meant, "{text}: {name} is lost");
            assert!(!passed || meant || !sure || name == "tagged", "{text}: {name} passes");
        }
    }
}

#[test]
fn a_filter_too_long_for_short_jumps_is_left_to_us() {
    let many: Vec<_> = (0..150).map(|i| format!("host 10.0.0.{i}")).collect();

    assert_eq!(Filter::parse(&many.join(" or ")).unwrap().for_kernel(96), None);
}

proptest! {
    #[test]
    fn any_text_is_a_filter_or_an_error(text in "[a-z0-9().:/!&| -]{0,60}") {
        if let Ok(filter) = Filter::parse(&text) {
            filter.for_kernel(64);
        }
    }

    #[test]
    fn any_words_are_a_filter_or_an_error(words in proptest::collection::vec(proptest::sample::select(vec![
        "src", "dst", "host", "net", "port", "portrange", "proto", "tcp", "ip", "and", "or", "not", "(", ")", "10.0.0.1", "80", "less", "dns"]), 0..12)) {
        let text = words.join(" ");
        if let Ok(filter) = Filter::parse(&text) {
            matched(&filter);
        }
    }
}
