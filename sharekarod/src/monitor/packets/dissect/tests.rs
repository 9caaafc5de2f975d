//! The walk through headers, on packets that are made here; `tests/` compares whole captures with Wireshark's counts.

use proptest::prelude::*;

use super::{super::captures::Packet, Dissection, protocol::Protocol};

/// Headers outermost first; lengths and checksums are right where the walk looks at them.
fn ethernet(kind: u16, content: &[u8]) -> Vec<u8> {
    [&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1][..], &kind.to_be_bytes(), content].concat()
}

fn ipv4(protocol: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len() + 20).unwrap().to_be_bytes();
    [&[0x45, 0][..], &length, &[0, 1, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2], content].concat()
}

fn ipv6(next: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    let (mut from, mut to) = ([0; 16], [0; 16]);
    (from[0], from[15], to[0], to[15]) = (0xfd, 1, 0xfd, 2);
    [&[0x60, 0, 0, 0][..], &length, &[next, 64], &from, &to, content].concat()
}

fn udp(ports: (u16, u16), content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len() + 8).unwrap().to_be_bytes();
    [&ports.0.to_be_bytes()[..], &ports.1.to_be_bytes(), &length, &[0, 0], content].concat()
}

fn packet(link: u32, data: &[u8]) -> Packet<'_> {
    Packet { time: 0, link, big_endian: false, length: u32::try_from(data.len()).unwrap(), data }
}

fn names(link: u32, data: &[u8]) -> String {
    let held = Dissection::of(&packet(link, data)).protocols;
    let mut names: Vec<_> = held.indices().filter_map(Protocol::numbered).map(Protocol::name).collect();
    names.sort_unstable();
    names.join(" ")
}

#[test]
fn what_is_in_a_tunnel_is_found() {
    let inner = ipv4(17, &udp((40_000, 40_001), b"x"));
    let frame = ethernet(0x0800, &inner);
    let cases = [
        (47, [&[0, 0, 8, 0][..], &inner].concat(), "eth gre ip udp"),
        (47, [&[0x30, 0, 0x65, 0x58, 0, 0, 0, 9, 0, 0, 0, 1][..], &frame].concat(), "eth gre ip udp"),
        (4, inner.clone(), "eth ip udp"),
        (41, ipv6(17, &udp((1, 40_001), b"")), "eth ip ipv6 udp"),
        (51, [&[17, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1][..], &[0; 12], &udp((1, 2), b"")].concat(), "ah eth ip udp"),
        (17, udp((9, 4789), &[&[8, 0, 0, 0, 0, 0, 7, 0][..], &frame].concat()), "eth ip udp vxlan"),
        (17, udp((9, 6081), &[&[0, 0, 0x65, 0x58, 0, 0, 7, 0][..], &frame].concat()), "eth geneve ip udp"),
        (17, udp((9, 2152), &[&[0x30, 255, 0, 40, 0, 0, 0, 1][..], &inner].concat()), "eth gtp ip udp"),
        (17, udp((9, 2152), &[&[0x34, 255, 0, 48, 0, 0, 0, 1, 0, 0, 0, 0x85, 1, 0, 0, 0][..], &inner].concat()), "eth gtp ip udp"),
        (17, udp((9, 3544), &[&[0; 8][..], &ipv6(59, b"")].concat()), "eth ip ipv6 teredo udp"),
        (17, udp((9, 1701), &[&[0, 2, 0, 1, 0, 1, 0xff, 3, 0, 0x21][..], &inner].concat()), "eth ip l2tp ppp udp"),
        (97, [&[0x30, 0][..], &frame].concat(), "eth etherip ip udp"),
        (103, [&[0x21, 0, 0, 0, 0, 0, 0, 0][..], &inner].concat(), "eth ip pim udp"),
        (103, [&[0x21, 0, 0, 0, 0x40, 0, 0, 0][..], &inner].concat(), "eth ip pim"),
        (17, udp((9, 3386), &[0x0e, 1, 0, 0, 0, 5]), "eth gtpprime ip udp"),
        (17, udp((9, 2123), &[0x0e, 1, 0, 0, 0, 5]), "eth gtpprime ip udp"),
        (17, udp((9, 3386), &[0x30, 1, 0, 0, 0, 0, 0, 5]), "eth gtp ip udp"),
        (17, udp((9, 2123), &[0x48, 1, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0]), "eth gtpv2 ip udp"),
        (17, udp((9, 2152), &[0x30, 0, 0, 8, 0, 0, 0, 1]), "eth ip udp"),
        (17, udp((9, 1701), &[&[0, 1, 0, 1, 0, 1, 0xff, 3, 0, 0x21][..], &inner].concat()), "eth ip udp"),
        (17, udp((9, 5351), &[0; 2]), "eth ip nat-pmp udp"),
        (17, udp((9, 2222), &[0; 24]), "enip eth ip udp"),
        (17, udp((9, 3478), &[0x40, 0, 0, 2, 7, 7]), "eth ip stun udp"),
        (17, udp((9, 5247), &[&[0, 0x10, 3, 0, 0, 0, 0, 0][..], &[8; 30]].concat()), "capwap.data eth ip udp wlan"),
    ];

    for (protocol, content, want) in cases {
        assert_eq!(names(1, &ethernet(0x0800, &ipv4(protocol, &content))), want);
    }
}

#[test]
fn tags_labels_and_sessions_are_passed() {
    let inner = ipv4(17, &udp((40_000, 40_001), b"x"));

    let tagged = |kind: u16, content: &[u8]| [&[0, 7][..], &kind.to_be_bytes(), content].concat();
    assert_eq!(names(1, &ethernet(0x8100, &tagged(0x8100, &tagged(0x0800, &inner)))), "eth ip udp vlan");
    assert_eq!(names(1, &ethernet(0x88a8, &tagged(0x8100, &tagged(0x0800, &inner)))), "eth ieee8021ad ip udp vlan");
    assert_eq!(names(1, &ethernet(0x8847, &[&[0, 1, 0, 64, 0, 1, 1, 64][..], &inner].concat())), "eth ip mpls udp");
    let protected = |tag: &[u8]| ethernet(0x88e5, &[tag, &[8, 0], &inner, &[7; 16]].concat());
    assert_eq!(names(1, &protected(&[0, 0, 0, 0, 0, 1])), "eth ip macsec udp");
    assert_eq!(names(1, &protected(&[0x20, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 1, 0, 1])), "eth ip macsec udp");
    assert_eq!(names(1, &protected(&[0x0c, 0, 0, 0, 0, 1])), "eth macsec");
    let routed = |options: u8, words: &[u8]| {
        [&[0x20 | options >> 2, options << 6 | 0x3f, 0, 1, 0, 2][..], words, &ethernet(0x0800, &inner)].concat()
    };
    assert_eq!(names(1, &ethernet(0x22f3, &routed(0, &[]))), "eth ip trill udp");
    assert_eq!(names(1, &ethernet(0x22f3, &routed(5, &[0; 20]))), "eth ip trill udp");
    assert_eq!(names(1, &ethernet(0x8808, &[0, 1, 0, 10])), "eth macc");
    let session = [&[0x11, 0, 0, 1, 0, 32, 0, 0x21][..], &inner].concat();
    assert_eq!(names(1, &ethernet(0x8864, &session)), "eth ip ppp pppoes udp");
}

/// Whether a control word stands before the frame is not said: the frame's addresses and its type tell.
#[test]
fn a_frame_behind_labels_is_found_with_and_without_a_control_word() {
    let inner = ipv4(17, &udp((40_000, 40_001), b"x"));
    let given = [&[0, 0x1b, 0x21, 1, 2, 3, 0, 0x11, 0x22, 1, 2, 3, 8, 0][..], &inner].concat();
    let labelled = |content: &[&[u8]]| names(1, &ethernet(0x8847, &[&[0, 1, 1, 64][..], &content.concat()].concat()));

    assert_eq!(labelled(&[&given]), "eth ip mpls pweth udp");
    assert_eq!(labelled(&[&[0; 4], &given]), "eth ip mpls pweth.cw pwethcw udp");
    assert_eq!(labelled(&[&[0, 0, 3, 9], &ethernet(0x0800, &inner)]), "eth ip mpls pweth.cw pwethcw udp");
    assert_eq!(labelled(&[&[0x10, 0, 0, 0x21], &inner]), "eth mpls pwach");
    assert_eq!(labelled(&[&[0x3c], &given[1..]]), "eth mpls");
}

#[test]
fn parts_of_larger_frames_and_empty_ones_hold_nothing() {
    let content = [&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0][..], &ipv4(17, &udp((40_000, 40_001), b"x"))].concat();
    let frame = |control: u8, flags: u8, content: &[u8]| {
        let quality: &[u8] = if control & 0x80 == 0 { &[] } else { &[0, 0] };
        names(105, &[&[control, flags, 0, 0, 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 3, 0x10, 0][..], quality, content].concat())
    };

    assert_eq!(frame(0x08, 1, &content), "ip llc udp wlan");
    assert_eq!(frame(0x88, 1, &content), "ip llc udp wlan");
    for (control, flags, content) in [(0x08, 1, &[][..]), (0x88, 1, &[]), (0x08, 5, &content), (0x88, 5, &content), (0x40, 4, &content)] {
        assert_eq!(frame(control, flags, content), "wlan", "{control:#x} {flags}");
    }
    assert_eq!(frame(0x40, 0, &content), "wlan wlan.mgt");
    assert_eq!(frame(0x08, 1, &[0xaa]), "llc wlan");
}

#[test]
fn links_that_are_not_looked_into_are_named_and_wrapped_ones_are_opened() {
    for (link, want) in
        [(189, "usb"), (195, "wpan"), (227, "can"), (251, "bluetooth btle"), (253, "netlink"), (150, "user_dlt"), (9999, "")]
    {
        assert_eq!(names(link, &[0; 40]), want, "link {link}");
    }
    let inner = ipv4(17, &udp((40_000, 40_001), b"x"));
    assert_eq!(names(138, &[&[0; 16][..], &[8, 0], &inner].concat()), "ap1394 ip udp");
    assert_eq!(names(122, &[&[0; 16][..], &[0xaa, 0xaa, 3, 0, 0, 0, 8, 0], &inner].concat()), "ip ipfc llc udp");
    assert_eq!(names(100, &[&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0][..], &inner].concat()), "ip llc udp");
    assert_eq!(names(106, &inner), "clip ip udp");
    let bridged = [&[0x18, 0x41, 3, 0, 0x80, 0, 0x80, 0xc2, 0, 7][..], &ethernet(0x0800, &inner)].concat();
    assert_eq!(names(107, &bridged), "eth fr ip udp");
    let apple = |link: u32| [12_u32, 1, link].map(u32::to_le_bytes).concat();
    assert_eq!(names(258, &[apple(1), ethernet(0x0800, &inner)].concat()), "eth ip pktap udp");
    assert_eq!(names(258, &[apple(258), apple(258)].concat()), "pktap");
    assert_eq!(names(240, &[&[0; 4][..], &ethernet(0x0800, &inner), &[0; 4]].concat()), "eth ip netanalyzer udp");
}

#[test]
fn content_is_told_by_its_port_only_where_it_can_be_that() {
    let segment = |content: &[u8]| [&[0, 80, 0x9c, 0x40, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x18, 0, 0, 0, 0, 0, 0][..], content].concat();
    assert_eq!(names(101, &ipv4(6, &segment(b"HTTP/1.1 200 OK\r\n"))), "http ip raw tcp");
    assert_eq!(names(101, &ipv4(6, &segment(&[0x9f, 1, 2, 3, 4, 5]))), "ip raw tcp");
    assert_eq!(names(101, &ipv4(17, &udp((40_000, 53), &[0; 4]))), "dns ip raw udp");
    assert_eq!(names(101, &ipv4(17, &udp((40_000, 53), &[0; 3]))), "ip raw udp");
    let magic = [&[0xff; 6][..], &[2, 0, 0, 0, 0, 1].repeat(16)].concat();
    assert_eq!(names(101, &ipv4(17, &udp((40_000, 9), &magic))), "ip raw udp wol");
    assert_eq!(names(1, &ethernet(0x8809, &[1; 40])), "eth lacp slow");
    assert_eq!(names(1, &ethernet(0x8809, &[2; 40])), "eth slow");
}

#[test]
fn a_later_fragment_and_a_quoted_packet_have_no_ports() {
    let inner = ipv4(17, &udp((40_000, 53), b"x"));
    let mut fragment = inner.clone();
    (fragment[6], fragment[7]) = (0, 185);
    let quoted = ipv4(1, &[&[3, 3, 0, 0, 0, 0, 0, 0][..], &inner].concat());

    assert_eq!(names(101, &fragment), "ip raw");
    assert_eq!(names(101, &quoted), "icmp ip raw");
    assert_eq!(Dissection::of(&packet(101, &fragment)).ports, None);
    assert_eq!(names(1, &ethernet(0x86dd, &ipv6(44, &[&[17, 0, 0, 8, 0, 0, 0, 1][..], &[0; 8]].concat()))), "eth ipv6");
}

/// Where a header is cut off, it counts from as many bytes on as Wireshark asks for.
#[test]
fn what_is_left_of_a_header_is_one_or_none() {
    let whole = |kind, content: &[u8]| [ethernet(kind, content), vec![0; 40]].concat();
    let cut = |frame: &[u8], content: usize| names(1, &frame[..content]);
    let cases = [
        (whole(0x0806, &[0, 1]), 14, 2, "arp eth", "eth"),
        (whole(0x8847, &[0, 1, 1, 64]), 14, 4, "eth mpls", "eth"),
        (whole(0x8864, &[0x11, 0, 0, 1, 0, 9]), 14, 6, "eth pppoes", "eth"),
        (whole(0x8100, &[0, 7, 8, 0]), 14, 2, "eth vlan", "eth"),
        (whole(0x88a8, &[0, 7, 8, 0]), 14, 2, "eth ieee8021ad", "eth"),
        (whole(0x22f3, &[0, 0]), 14, 2, "eth trill", "eth"),
        (whole(0x8808, &[0, 1]), 14, 2, "eth macc", "eth"),
        (whole(38, &[0x42, 0x42, 3]), 17, 27, "eth llc stp", "eth llc"),
        (whole(38, &[0x42, 0x42, 3, 0, 0, 0, 0x80]), 17, 4, "eth llc stp", "eth llc"),
        (whole(0x0800, &ipv4(47, &[0; 40])), 34, 4, "eth gre ip", "eth ip"),
        (whole(0x0800, &ipv4(1, &[8; 40])), 34, 6, "eth icmp ip", "eth ip"),
        (whole(0x0800, &ipv4(132, &[0; 40])), 34, 12, "eth ip sctp", "eth ip"),
    ];

    for (frame, before, needed, there, not) in cases {
        assert_eq!((cut(&frame, before + needed).as_str(), cut(&frame, before + needed - 1).as_str()), (there, not));
    }
    assert_eq!((names(101, &[0x45; 7]), names(101, &[0x75; 30])), ("raw".to_owned(), "raw".to_owned()));
}

#[test]
fn padding_is_no_content() {
    let mut frame = ethernet(0x0800, &ipv4(6, &[0, 80, 0x9c, 0x40, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0]));
    frame.resize(60, 0);

    let dissection = Dissection::of(&packet(1, &frame));

    assert_eq!(names(1, &frame), "eth ip tcp");
    assert_eq!((dissection.payload, dissection.tcp_flags, dissection.ports), (0, 2, Some((80, 40_000))));
}

#[test]
fn a_packet_in_a_packet_in_a_packet_ends() {
    let mut packet = ipv4(17, &udp((1, 2), b""));
    for _ in 0..500 {
        packet = ipv4(4, &packet);
    }

    assert_eq!(names(101, &packet), "ip raw");
}

const LINKS: [u32; 32] = [
    0, 1, 6, 9, 10, 11, 12, 50, 51, 100, 101, 104, 105, 106, 107, 108, 109, 113, 117, 119, 122, 127, 138, 163, 166, 192, 226, 228, 239,
    240, 258, 276,
];

proptest! {
    #[test]
    fn noise_never_panics(link in proptest::sample::select(LINKS.to_vec()), data in proptest::collection::vec(any::<u8>(), 0..200)) {
        let dissection = Dissection::of(&packet(link, &data));
        let _ = dissection.name.and_then(super::names::NameSource::read);
    }

    #[test]
    fn damaged_tunnels_never_panic(which in 0_usize..8, at in 0_usize..120, value: u8, cut in 0_usize..200) {
        let inner = ethernet(0x0800, &ipv4(17, &udp((40_000, 53), &[0; 30])));
        let ports = [4789, 6081, 2152, 3544, 1701, 37_008, 5072, 5247];
        let mut frame = ethernet(0x0800, &ipv4(17, &udp((9, ports[which]), &[&[8, 0, 0, 0, 0, 0, 7, 0][..], &inner].concat())));
        if let Some(byte) = frame.get_mut(at) {
            *byte = value;
        }
        let length = u32::try_from(frame.len()).unwrap();
        frame.truncate(cut);
        Dissection::of(&Packet { time: 0, link: 1, big_endian: false, length, data: &frame });
    }
}
