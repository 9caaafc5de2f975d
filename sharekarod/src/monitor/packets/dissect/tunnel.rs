//! Packets in packets: GRE and the tunnels over UDP.

use super::{Dissection, Layer, Next, ethernet, protocol::Protocol, span::Span, transport};

/// What a datagram or a segment holds: where that is a tunnel, the walk goes on inside.
pub(super) fn content<'p>(d: &mut Dissection<'p>, protocol: Protocol, rest: Span<'p>) -> Next<'p> {
    use Protocol as P;
    match protocol {
        P::Gtp | P::Gtpprime => gtp(d, protocol, rest),
        P::VxlanGpe => {
            d.found(P::Vxlan);
            ethernet::by_next_protocol(rest.u8(3)?, rest.skip(8)?)
        }
        P::Gre => gre(d, rest),
        P::Mpls => Some((Layer::Mpls, rest)),
        P::Llc => Some((Layer::Llc, rest)),
        P::Udpencap => encapsulated(d, rest),
        _ => {
            d.found(protocol);
            transport::note_name(d, protocol, rest);
            inside(d, protocol, rest)
        }
    }
}

fn inside<'p>(d: &mut Dissection<'p>, protocol: Protocol, rest: Span<'p>) -> Next<'p> {
    use Protocol as P;
    match protocol {
        P::Vxlan => Some((Layer::Ethernet, rest.skip(8)?)),
        P::Geneve => geneve(rest),
        P::Teredo => teredo(rest),
        P::L2tp => l2tp(rest),
        P::LispData => Some((Layer::IpByVersion, rest.skip(8)?)),
        P::Ayiya => ayiya(rest),
        P::Tzsp => tzsp(d, rest),
        P::CapwapData => capwap(d, rest),
        P::Nbss => smb(d, rest),
        P::Mbtcp => {
            d.found(P::Modbus);
            None
        }
        _ => None,
    }
}

/// RFC 2784, 2890, 2637: which fields follow is told by bits.
pub(super) fn gre<'p>(d: &mut Dissection<'p>, span: Span<'p>) -> Next<'p> {
    const CHECKSUM: u16 = 0x8000;
    const ROUTING: u16 = 0x4000;
    const KEY: u16 = 0x2000;
    const SEQUENCE: u16 = 0x1000;
    const ACKNOWLEDGED: u16 = 0x0080;
    d.transport = Some(Protocol::Gre);
    let (flags, kind) = (span.u16(0)?, span.u16(2)?);
    d.found(Protocol::Gre);
    let words = [CHECKSUM | ROUTING, KEY, SEQUENCE, ACKNOWLEDGED].iter().filter(|bits| flags & **bits != 0).count();
    let rest = span.skip(4 + words * 4)?;
    if flags & ROUTING != 0 || rest.wire == 0 {
        return None;
    }
    match kind {
        0x0800 | 0x86dd | 0x0806 | 0x8847 | 0x8848 | 0x894f => Some((Layer::EtherType(kind), rest)),
        0x6558 | 0x6400 => Some((Layer::Ethernet, rest)),
        0x880b | 0x8881 | 0x88d2 => Some((Layer::Ppp, rest)),
        0x883e => Some((Layer::IpByVersion, if rest.u8(0)? >> 4 == 4 { rest } else { rest.skip(4)? })),
        0x88be | 0x22eb => erspan(d, flags & SEQUENCE != 0, rest),
        0x2000 => Some((Layer::Content(Protocol::Cdp), rest)),
        0x2001 => Some((Layer::Content(Protocol::Nhrp), rest)),
        _ => None,
    }
}

/// A mirrored frame, without a header (type I), with one of 8 bytes (II), or of 12 and perhaps 8 more (III).
fn erspan<'p>(d: &mut Dissection<'p>, numbered: bool, rest: Span<'p>) -> Next<'p> {
    d.found(Protocol::Erspan);
    if !numbered {
        return Some((Layer::Ethernet, rest));
    }
    let header = match rest.u8(0)? >> 4 {
        1 => 8,
        2 if rest.u8(11)? & 1 != 0 => 20,
        2 => 12,
        _ => return None,
    };
    Some((Layer::Ethernet, rest.skip(header)?))
}

fn geneve(rest: Span<'_>) -> Next<'_> {
    let (options, kind) = (usize::from(rest.u8(0)? & 0x3f) * 4, rest.u16(2)?);
    Some((Layer::EtherType(kind), rest.skip(8 + options)?))
}

/// RFC 4380: authentication and origin may stand before the IPv6 packet.
fn teredo(mut rest: Span<'_>) -> Next<'_> {
    const AUTHENTICATION: u16 = 1;
    const ORIGIN: u16 = 0;
    if rest.u16(0)? == AUTHENTICATION {
        let (id, value) = (usize::from(rest.u8(2)?), usize::from(rest.u8(3)?));
        rest = rest.skip(4 + id + value + 9)?;
    }
    if rest.u16(0)? == ORIGIN {
        rest = rest.skip(8)?;
    }
    Some((Layer::EtherType(0x86dd), rest))
}

/// GTP of 3GPP TS 29.060 and 29.281; only what the user sends is a packet, the rest is control.
fn gtp<'p>(d: &mut Dissection<'p>, protocol: Protocol, rest: Span<'p>) -> Next<'p> {
    const USER: u8 = 0xff;
    // Whichever port it is at: without this bit it is of charging.
    const NOT_PRIME: u8 = 0x10;
    let (first, kind) = (rest.u8(0)?, rest.u8(1)?);
    let second_version = first >> 5 == 2 && protocol == Protocol::Gtp;
    d.found(match first & NOT_PRIME {
        _ if second_version => Protocol::Gtpv2,
        0 => Protocol::Gtpprime,
        _ => Protocol::Gtp,
    });
    if kind != USER || second_version || first & NOT_PRIME == 0 {
        return None;
    }
    let packet = if first >> 5 == 0 { rest.skip(20)? } else { gtp_1(first, rest)? };
    match packet.u8(0)? {
        0x45..=0x4f | 0x60..=0x6f => Some((Layer::IpByVersion, packet)),
        _ => None,
    }
}

/// The header of version 1 with its optional words and its chain of extensions.
fn gtp_1(first: u8, rest: Span<'_>) -> Option<Span<'_>> {
    const EXTENDED: u8 = 4;
    if first & 7 == 0 {
        return rest.skip(8);
    }
    let mut next = if first & EXTENDED == 0 { 0 } else { rest.u8(11)? };
    let mut rest = rest.skip(12)?;
    while next != 0 {
        let bytes = usize::from(rest.u8(0)?).max(1) * 4;
        next = rest.u8(bytes - 1)?;
        rest = rest.skip(bytes)?;
    }
    Some(rest)
}

/// RFC 2661: a data message holds PPP.
fn l2tp(rest: Span<'_>) -> Next<'_> {
    const CONTROL: u16 = 0x8000;
    const LENGTH: u16 = 0x4000;
    const SEQUENCE: u16 = 0x0800;
    const OFFSET: u16 = 0x0200;
    let flags = rest.u16(0)?;
    if flags & CONTROL != 0 || flags & 15 != 2 {
        return None;
    }
    if flags & LENGTH != 0 && rest.u16(2)? == 0 {
        return None;
    }
    let mut at = 6;
    at += if flags & LENGTH != 0 { 2 } else { 0 };
    at += if flags & SEQUENCE != 0 { 4 } else { 0 };
    if flags & OFFSET != 0 {
        at += 2 + usize::from(rest.u16(at)?);
    }
    Some((Layer::Ppp, rest.skip(at)?))
}

/// Anything in anything: the sizes of identity and signature, then which protocol follows.
fn ayiya(rest: Span<'_>) -> Next<'_> {
    let (identity, signature) = (1_usize << (rest.u8(0)? >> 4), usize::from(rest.u8(1)? >> 4) * 4);
    let (forward, next) = (rest.u8(2)? & 15 == 1, rest.u8(3)?);
    let rest = rest.skip(8 + identity + signature)?;
    (forward && matches!(next, 4 | 41)).then_some((Layer::IpByVersion, rest))
}

/// A sniffer's report: tags up to an end tag, then the frame.
fn tzsp<'p>(d: &mut Dissection<'p>, rest: Span<'p>) -> Next<'p> {
    const PADDING: u8 = 0;
    const END: u8 = 1;
    let encapsulated = rest.u16(2)?;
    let mut at = 4;
    loop {
        match rest.u8(at)? {
            PADDING => at += 1,
            END => break,
            _ => at += 2 + usize::from(rest.u8(at + 1)?),
        }
    }
    let rest = rest.skip(at + 1)?;
    match encapsulated {
        1 => Some((Layer::Ethernet, rest)),
        18 => {
            d.found(Protocol::WlanRadio);
            Some((Layer::Wlan, rest))
        }
        _ => None,
    }
}

/// RFC 5415: a whole frame of Ethernet, or one of 802.11, into which is not looked: each maker orders its first bytes in
/// his own way. Fragments are left alone.
fn capwap<'p>(d: &mut Dissection<'p>, rest: Span<'p>) -> Next<'p> {
    const NATIVE: u8 = 1;
    const FRAGMENT: u8 = 0x80;
    let (preamble, length, binding, flags) = (rest.u8(0)?, rest.u8(1)?, rest.u8(2)?, rest.u8(3)?);
    let header = usize::from(length >> 3) * 4;
    if preamble != 0 || flags & FRAGMENT != 0 {
        return None;
    }
    if binding & NATIVE != 0 {
        d.found(Protocol::Wlan);
        return None;
    }
    Some((Layer::Ethernet, rest.skip(header)?))
}

/// A message of SMB tells its version by its first four bytes, behind the session's header.
fn smb<'p>(d: &mut Dissection<'p>, rest: Span<'p>) -> Next<'p> {
    match rest.skip(4)?.array(0)? {
        [0xfc..=0xfe, b'S', b'M', b'B'] => d.found(Protocol::Smb2),
        [0xff, b'S', b'M', b'B'] => d.found(Protocol::Smb),
        _ => {}
    }
    None
}

/// RFC 3948: a keep-alive, a key exchange behind four zeros, or an encrypted packet.
fn encapsulated<'p>(d: &mut Dissection<'p>, rest: Span<'p>) -> Next<'p> {
    d.found(Protocol::Udpencap);
    match rest.u32(0) {
        None => {}
        Some(0) => d.found(Protocol::Isakmp),
        Some(_) => d.found(Protocol::Esp),
    }
    None
}
