//! The few frames of a LAN that rules want to hear of, as events: who claims an address, who answers for DHCP, who tries
//! our ports. Strangers write them: a frame that is cut off or odd is none.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::monitor::{detect::rules::event::Event, mac::Mac};

const ARP: u16 = 0x0806;
const V4: u16 = 0x0800;
const V6: u16 = 0x86dd;
/// Tags of VLANs, which may stand before the type: 802.1Q and 802.1ad.
const TAGS: [u16; 2] = [0x8100, 0x88a8];
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP_V6: u8 = 58;
/// A neighbour advertisement, its flag for "forget what you knew", its option with the hardware address; and how many hops
/// everything of neighbour discovery is sent with (RFC 4861).
const ADVERTISEMENT: u8 = 136;
const OVERRIDE: u8 = 0x20;
const TARGET: u8 = 2;
const HOPS: u8 = 255;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const DHCP_SERVER: u16 = 67;
/// BOOTP's fixed part, and the number behind which options begin (RFC 2131).
const BOOTP: usize = 236;
const COOKIE: [u8; 4] = [0x63, 0x82, 0x53, 0x63];
const REPLY: u8 = 2;
const MESSAGE_TYPE: u8 = 53;
const SERVER: u8 = 54;
const OFFER: u8 = 2;
const CONFIRMED: u8 = 5;

/// What an Ethernet frame tells; `ours` says whether an address is this machine's.
pub fn event(frame: &[u8], ours: impl Fn(IpAddr) -> bool) -> Option<Event> {
    let from = Mac::from_slice(frame.get(6..12)?)?;
    let (mut kind, mut rest) = (u16_at(frame, 12)?, frame.get(14..)?);
    while TAGS.contains(&kind) {
        (kind, rest) = (u16_at(rest, 2)?, rest.get(4..)?);
    }
    packet(kind, from, rest, ours)
}

/// What the packet of an Ethernet type tells, whatever frame it came in.
pub fn packet(kind: u16, from: Mac, rest: &[u8], ours: impl Fn(IpAddr) -> bool) -> Option<Event> {
    match kind {
        ARP => claim(rest),
        V4 => version_4(rest, from, ours),
        V6 => version_6(rest, from, ours),
        _ => None,
    }
}

/// Whether it was sent to everybody.
#[must_use]
pub fn is_broadcast(frame: &[u8]) -> bool {
    frame.starts_with(&[0xff; 6])
}

/// ARP for IPv4 over Ethernet (RFC 826): its sender says whose address is whose, in questions and answers alike.
fn claim(arp: &[u8]) -> Option<Event> {
    if !arp.starts_with(&[0, 1, 8, 0, 6, 4]) {
        return None;
    }
    let (mac, address) = (Mac::from_slice(arp.get(8..14)?)?, v4_at(arp, 14)?);
    // Who only asks whether an address is free has none yet (RFC 5227).
    (mac.is_single() && !address.is_unspecified()).then_some(Event::Claim(address.into(), mac))
}

fn version_4(ip: &[u8], from: Mac, ours: impl Fn(IpAddr) -> bool) -> Option<Event> {
    let header = usize::from(ip.first()? & 0x0f) * 4;
    let is_first = u16_at(ip, 6)? & 0x1fff == 0;
    let content = ip.get(header..).filter(|_| header >= 20 && is_first)?;
    match *ip.get(9)? {
        TCP => tried(content, v4_at(ip, 12)?.into(), v4_at(ip, 16)?.into(), ours),
        UDP if u16_at(content, 0)? == DHCP_SERVER => dhcp(content.get(8..)?, from),
        _ => None,
    }
}

fn version_6(ip: &[u8], from: Mac, ours: impl Fn(IpAddr) -> bool) -> Option<Event> {
    let content = ip.get(40..)?;
    match *ip.get(6)? {
        TCP => tried(content, v6_at(ip, 8)?.into(), v6_at(ip, 24)?.into(), ours),
        // With fewer hops left it came from another link, where nobody can know.
        ICMP_V6 if *ip.get(7)? == HOPS => advertised(content, from),
        _ => None,
    }
}

/// A neighbour advertisement (RFC 4861, 4.4): whose address is whose. Who only answers for others leaves what is known alone.
fn advertised(icmp: &[u8], from: Mac) -> Option<Event> {
    let (kind, flags, address) = (*icmp.first()?, *icmp.get(4)?, v6_at(icmp, 8)?);
    let mut options = icmp.get(24..)?;
    let mut mac = from;
    while let [kind, length @ 1..=u8::MAX, ..] = options {
        let (option, rest) = options.split_at_checked(usize::from(*length) * 8)?;
        if *kind == TARGET {
            mac = Mac::from_slice(option.get(2..8)?)?;
        }
        options = rest;
    }
    let sensible = mac.is_single() && !address.is_unspecified() && !address.is_multicast();
    (kind == ADVERTISEMENT && flags & OVERRIDE != 0 && sensible).then_some(Event::Claim(address.into(), mac))
}

/// The first segment of a connection.
fn tried(tcp: &[u8], from: IpAddr, to: IpAddr, ours: impl Fn(IpAddr) -> bool) -> Option<Event> {
    let begins = tcp.get(13)? & (SYN | ACK) == SYN;
    (begins && ours(to)).then_some(Event::Tried(from, u16_at(tcp, 2)?))
}

/// An offer or a confirmation, with the server that it names.
fn dhcp(bootp: &[u8], from: Mac) -> Option<Event> {
    let mut options = bootp.get(BOOTP..)?.strip_prefix(&COOKIE)?;
    let (mut server, mut answers) = (None, false);
    (*bootp.first()? == REPLY).then_some(())?;
    while let [kind, rest @ ..] = options {
        match kind {
            0 => options = rest,
            255 => break,
            kind => {
                let (length, rest) = rest.split_first()?;
                let (value, rest) = rest.split_at_checked(usize::from(*length))?;
                match *kind {
                    MESSAGE_TYPE => answers = matches!(value, [OFFER | CONFIRMED]),
                    SERVER => server = v4_at(value, 0),
                    _ => {}
                }
                options = rest;
            }
        }
    }
    server.filter(|_| answers).map(|server| Event::DhcpServer(server.into(), from))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_be_bytes)
}

fn v6_at(bytes: &[u8], at: usize) -> Option<Ipv6Addr> {
    bytes.get(at..)?.first_chunk::<16>().map(|bytes| Ipv6Addr::from(*bytes))
}

fn v4_at(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    bytes.get(at..)?.first_chunk::<4>().map(|bytes| Ipv4Addr::from(*bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MALLORY: Mac = Mac([2, 0, 0, 0, 0, 9]);
    const V4_MALLORY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);

    fn frame(kind: u16, content: &[u8]) -> Vec<u8> {
        [&[0xff; 6][..], &MALLORY.0, &kind.to_be_bytes(), content].concat()
    }

    fn ipv4(protocol: u8, content: &[u8]) -> Vec<u8> {
        let head = [0x45, 0, 0, 0, 0, 7, 0, 0, 64, protocol, 0, 0];
        frame(V4, &[&head[..], &V4_MALLORY.octets(), &[10, 0, 0, 1], content].concat())
    }

    fn dhcp_reply(kind: u8) -> Vec<u8> {
        let mut bootp = vec![REPLY, 1, 6, 0];
        bootp.resize(BOOTP, 0);
        let options = [&COOKIE[..], &[0, MESSAGE_TYPE, 1, kind, SERVER, 4, 10, 0, 0, 9, 255]].concat();
        ipv4(UDP, &[&[0, 67, 0, 68, 0, 0, 0, 0][..], &bootp, &options].concat())
    }

    fn said(frame: &[u8]) -> Option<Event> {
        event(frame, |address| address == IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)))
    }

    #[test]
    fn claims_servers_and_attempts_are_heard() {
        let arp = |sender: [u8; 4]| [&[0, 1, 8, 0, 6, 4, 0, 2][..], &MALLORY.0, &sender, &[0; 6], &[10, 0, 0, 1]].concat();
        let tcp = |flags| ipv4(TCP, &[0x9c, 0x40, 0, 22, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0, 0]);

        assert_eq!(said(&frame(ARP, &arp([10, 0, 0, 9]))), Some(Event::Claim(V4_MALLORY.into(), MALLORY)));
        assert_eq!(
            said(&frame(0x8100, &[&[0, 7, 8, 6][..], &arp([10, 0, 0, 9])].concat())),
            Some(Event::Claim(V4_MALLORY.into(), MALLORY))
        );
        assert_eq!(said(&frame(ARP, &arp([0; 4]))), None);
        assert_eq!(said(&dhcp_reply(OFFER)), Some(Event::DhcpServer(V4_MALLORY.into(), MALLORY)));
        assert_eq!(said(&dhcp_reply(6)), None);
        assert_eq!(said(&tcp(SYN)), Some(Event::Tried(V4_MALLORY.into(), 22)));
        assert_eq!((said(&tcp(SYN | ACK)), event(&tcp(SYN), |_| false)), (None, None));
        assert!(is_broadcast(&tcp(SYN)));
    }

    const V6_MALLORY: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 9);

    /// An advertisement that this address is at `MALLORY`, as the option tells.
    fn advertisement(hops: u8, flags: u8, address: Ipv6Addr, option: &[u8]) -> Vec<u8> {
        let icmp = [&[ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0][..], &address.octets(), option].concat();
        let head = [0x60, 0, 0, 0, 0, u8::try_from(icmp.len()).unwrap(), ICMP_V6, hops];
        frame(V6, &[&head[..], &V6_MALLORY.octets(), &[0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], &icmp].concat())
    }

    #[test]
    fn an_advertisement_claims_an_address_of_ipv6() {
        let option = [&[TARGET, 1][..], &[2, 0, 0, 0, 0, 7]].concat();
        let claim = |mac| Some(Event::Claim(V6_MALLORY.into(), mac));

        assert_eq!(said(&advertisement(HOPS, OVERRIDE, V6_MALLORY, &option)), claim(Mac([2, 0, 0, 0, 0, 7])));
        assert_eq!(said(&advertisement(HOPS, OVERRIDE, V6_MALLORY, &[])), claim(MALLORY));
        // From another link, for somebody else, of nobody, and one that is cut off.
        assert_eq!(said(&advertisement(64, OVERRIDE, V6_MALLORY, &option)), None);
        assert_eq!(said(&advertisement(HOPS, 0x40, V6_MALLORY, &option)), None);
        assert_eq!(said(&advertisement(HOPS, OVERRIDE, Ipv6Addr::UNSPECIFIED, &option)), None);
        assert_eq!(said(&advertisement(HOPS, OVERRIDE, V6_MALLORY, &[TARGET, 9, 0])), None);
    }

    proptest! {
        #[test]
        fn no_frame_panics(claims: bool, at in 0_usize..330, value: u8, cut in 0_usize..330) {
            let mut frame = if claims { advertisement(HOPS, OVERRIDE, V6_MALLORY, &[TARGET, 1, 2, 0, 0, 0, 0, 7]) } else { dhcp_reply(CONFIRMED) };
            if let Some(byte) = frame.get_mut(at) {
                *byte = value;
            }
            frame.truncate(cut);
            let _ = said(&frame);
        }
    }
}
