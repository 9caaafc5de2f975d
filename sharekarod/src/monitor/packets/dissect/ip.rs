//! IPv4 and IPv6 with their extension headers, and what they carry besides TCP and UDP.

use super::{Address, Dissection, FRAGMENT, Family, Layer, Next, OPTIONS, protocol::Protocol, span::Span};

const V4: u16 = 0x0800;
const V6: u16 = 0x86dd;

/// Type, code, checksum and the identifier of an echo.
const ICMP_BYTES_MIN: usize = 6;

/// Either version, where nothing else tells which.
#[inline]
pub(super) fn by_version<'p>(d: &mut Dissection<'p>, span: Span<'p>) -> Next<'p> {
    if span.u8(0)? >> 4 == 6 { version_6(d, span) } else { version_4(d, span) }
}

/// What was announced as IPv4. A packet of another version still counts as such, and one of IPv6 is looked into.
#[inline]
pub(super) fn version_4<'p>(d: &mut Dissection<'p>, span: Span<'p>) -> Next<'p> {
    let version = span.u8(0)? >> 4;
    d.found(Protocol::Ip);
    match version {
        4 => packet_4(d, span),
        6 => version_6(d, span),
        _ => d.broken(),
    }
}

fn packet_4<'p>(d: &mut Dissection<'p>, span: Span<'p>) -> Next<'p> {
    const MORE: u16 = 0x2000;
    const OFFSET: u16 = 0x1fff;
    let header: [u8; 20] = span.array(0)?;
    let [first, _, l0, l1, _, _, f0, f1, ttl, protocol, _, _, s0, s1, s2, s3, t0, t1, t2, t3] = header;
    d.network(V4, protocol, Address::v4([s0, s1, s2, s3]), Address::v4([t0, t1, t2, t3]));
    d.ttl = ttl;
    let (length, fragment) = (usize::from(u16::from_be_bytes([l0, l1])), u16::from_be_bytes([f0, f1]));
    let header_bytes = usize::from(first & 15) * 4;
    // A length of zero is what a card that cuts large packets itself shows to the capture.
    let length = if length == 0 { span.wire } else { length };
    if header_bytes < 20 || length < header_bytes {
        return d.broken();
    }
    if header_bytes > 20 {
        d.oddities |= OPTIONS;
    }
    let rest = span.limit(length).skip(header_bytes)?;
    if fragment & (MORE | OFFSET) != 0 {
        d.oddities |= FRAGMENT;
    }
    if fragment & OFFSET != 0 {
        d.transport = transport_name(protocol);
        return None;
    }
    Some((Layer::IpProtocol(protocol, Family::V4), rest))
}

/// What was announced as IPv6.
pub(super) fn version_6<'p>(d: &mut Dissection<'p>, span: Span<'p>) -> Next<'p> {
    d.found(Protocol::Ipv6);
    if span.u8(0)? >> 4 != 6 {
        return d.broken();
    }
    let (length, next, hops) = (usize::from(span.u16(4)?), span.u8(6)?, span.u8(7)?);
    d.network(V6, next, Address::v6(span.array(8)?), Address::v6(span.array(24)?));
    d.ttl = hops;
    let rest = span.skip(40)?;
    // Zero is a jumbogram, whose length stands in a hop-by-hop option.
    let rest = if length == 0 && next == 0 { rest } else { rest.limit(length) };
    if let Some(outer) = d.outer.as_mut().filter(|outer| outer.kind == V6 && next == 44) {
        outer.fragment_of = rest.u8(0);
    }
    Some((Layer::IpProtocol(next, Family::V6), rest))
}

/// What stands in an IP packet, TCP and UDP aside.
pub(super) fn by_protocol<'p>(d: &mut Dissection<'p>, number: u8, family: Family, rest: Span<'p>) -> Next<'p> {
    match number {
        0 | 43 | 60 if family == Family::V6 => {
            d.oddities |= OPTIONS;
            let (next, eighths) = (rest.u8(0)?, usize::from(rest.u8(1)?));
            Some((Layer::IpProtocol(next, family), rest.skip((eighths + 1) * 8)?))
        }
        44 if family == Family::V6 => later_or_first(d, rest),
        51 => {
            let (next, words) = (rest.u8(0)?, usize::from(rest.u8(1)?));
            // In IPv6 it is an extension header, which Wireshark counts with IPv6.
            if family == Family::V4 {
                d.found(Protocol::Ah);
            }
            Some((Layer::IpProtocol(next, family), rest.skip((words + 2) * 4)?))
        }
        4 => Some((Layer::EtherType(V4), rest)),
        41 => Some((Layer::EtherType(V6), rest)),
        135 | 140 if family == Family::V6 => None,
        47 => super::tunnel::gre(d, rest),
        97 => {
            d.found(Protocol::Etherip);
            Some((Layer::Ethernet, rest.skip(2)?))
        }
        103 => multicast(d, rest),
        137 => Some((Layer::Mpls, rest)),
        143 => Some((Layer::Ethernet, rest)),
        132 | 136 | 33 => super::transport::with_ports(d, transport_name(number)?, rest),
        _ => leaf(d, number, rest),
    }
}

/// A fragment of IPv6: only the first one begins with a header.
fn later_or_first<'p>(d: &mut Dissection<'p>, rest: Span<'p>) -> Next<'p> {
    d.oddities |= FRAGMENT;
    let (next, offset) = (rest.u8(0)?, rest.u16(2)? >> 3);
    if offset != 0 {
        d.transport = transport_name(next);
        return None;
    }
    Some((Layer::IpProtocol(next, Family::V6), rest.skip(8)?))
}

/// PIM (RFC 7761, 4.9.3): a router registers with the packet that it got, or with nothing behind its header.
fn multicast<'p>(d: &mut Dissection<'p>, rest: Span<'p>) -> Next<'p> {
    const REGISTER: u8 = 0x21;
    const NULL: u8 = 0x40;
    leaf(d, 103, rest);
    (rest.u8(0)? == REGISTER && rest.u8(4)? & NULL == 0).then_some((Layer::IpByVersion, rest.skip(8)?))
}

/// What ends here. Of ICMP as much as Wireshark asks for before it calls it that; of ESP it asks for nothing.
fn leaf<'p>(d: &mut Dissection<'p>, number: u8, rest: Span<'p>) -> Next<'p> {
    let protocol = transport_name(number)?;
    let is_there = match protocol {
        Protocol::Icmp => rest.bytes.len() >= ICMP_BYTES_MIN,
        Protocol::Icmpv6 => true,
        Protocol::Esp => rest.wire > 0,
        _ => !rest.bytes.is_empty(),
    };
    if is_there {
        d.found(protocol);
    }
    d.transport = Some(protocol);
    d.payload = u32::try_from(rest.wire).unwrap_or(u32::MAX);
    None
}

/// The protocol that a number of an IP header names, as far as it is one that carries something.
fn transport_name(number: u8) -> Option<Protocol> {
    use Protocol as P;
    Some(match number {
        1 => P::Icmp,
        2 => P::Igmp,
        6 => P::Tcp,
        9 => P::Igrp,
        17 => P::Udp,
        33 => P::Dccp,
        46 | 134 => P::Rsvp,
        47 => P::Gre,
        50 => P::Esp,
        51 => P::Ah,
        54 => P::Nhrp,
        58 => P::Icmpv6,
        62 | 135 => P::Mipv6,
        88 => P::Eigrp,
        89 => P::Ospf,
        103 => P::Pim,
        108 => P::Ipcomp,
        112 => P::Vrrp,
        113 => P::Pgm,
        115 => P::L2tp,
        132 => P::Sctp,
        136 => P::Udplite,
        139 => P::Hip,
        140 => P::Shim6,
        _ => return None,
    })
}
