//! Which content can be what its port announces, and which tells itself.
//!
//! As far as a few bytes decide it, what Wireshark rejects at a port is rejected here: counters, noise and other protocols at a
//! well-known port are not counted as what is usual there. Content on other ports is recognised only where its first
//! bytes leave no doubt.

use super::{protocol::Protocol, protocol::Protocol as P, span::Span};

/// A message has at least a number and flags (RFC 1035); Wireshark takes what is cut off behind them.
const DNS_BYTES_MIN: usize = 4;

/// Key exchanges and Kerberos over streams beyond this are none.
const RECORD_MAX: u32 = 10 << 20;

/// What a datagram holds at a port that announces this protocol; none where it cannot be that.
#[inline]
pub(super) fn of_datagram(protocol: Protocol, content: Span<'_>) -> Option<Protocol> {
    let (first, second) = (content.u8(0), content.u8(1));
    let (half, word) = (content.u16(0), content.u32(0));
    let is_it = match protocol {
        P::Dns => content.bytes.len() >= DNS_BYTES_MIN,
        P::Ayiya => first.is_some_and(|byte| byte >> 4 <= 8),
        P::Babel => matches!((first, second), (Some(42), Some(2))),
        P::Bjnp => first.is_some_and(|byte| matches!(byte, b' '..=b'~')),
        P::Bvlc => first == Some(0x81) && content.u16(2).is_some_and(|length| length >= 4),
        P::Cflow => half.is_some_and(is_netflow),
        P::Dnp3 => half == Some(DNP3_START),
        P::Edonkey => first.is_some_and(is_edonkey),
        P::Gtp | P::Gtpprime => is_gtp(protocol, content),
        P::Hip => word == Some(0),
        P::Isakmp => is_isakmp(content),
        P::Kerberos => first.is_some_and(is_kerberos),
        P::L2tp => half.is_some_and(|flags| matches!(flags & 15, 2 | 3)),
        P::Ldp => half == Some(1),
        P::Megaco => content.bytes.starts_with(b"MEGACO") || content.bytes.starts_with(b"!/"),
        P::Mgcp => is_mgcp(content.bytes),
        P::Mndp => content.bytes.len() >= 8 && content.u8(4) == Some(0) && content.u8(6) == Some(0),
        P::Olsr => half.is_some_and(|length| usize::from(length) <= content.wire),
        P::Portcontrol if first == Some(0) => return Some(P::NatPmp),
        P::Portcontrol => matches!(first, Some(1 | 2)),
        P::Ptp => half == Some(1) || second.is_some_and(|version| version & 15 == 2),
        P::Radius => is_radius(content),
        P::Rmcp => content.u8(3).is_some_and(|class| matches!(class & 0x1f, 6..=8)),
        P::Rx => content.bytes.len() >= 28 && matches!(content.u8(20), Some(1..=9 | 13)),
        P::Sflow => matches!(word, Some(2 | 4 | 5)),
        P::Sip => is_sip(content.bytes),
        P::Slimp3 => first.is_some_and(|kind| b"2Dadhilmrs".contains(&kind)),
        P::Snmp => is_snmp(content).is_some_and(|fits| fits),
        P::Ssdp => is_http(content.bytes),
        P::SteamIhsDiscovery => content.bytes.starts_with(&[0xff, 0xff, 0xff, 0xff, 0x21, 0x4c, 0x5f, 0xa0]),
        P::Stun => is_stun(content) || is_relayed(content),
        P::TplinkSmarthome => is_smart_home(content.bytes),
        P::Wccp => matches!(word, Some(7..=13)),
        P::Wg => is_wireguard(content),
        P::Xdmcp => half == Some(1),
        _ => true,
    };
    is_it.then_some(protocol)
}

/// What a segment holds at a port that announces this protocol; none where it cannot be that.
#[inline]
pub(super) fn of_segment(protocol: Protocol, content: Span<'_>) -> Option<Protocol> {
    let (first, half, word) = (content.u8(0), content.u16(0), content.u32(0));
    let is_it = match protocol {
        P::Tls => !is_text(content),
        P::Http if content.bytes.starts_with(b"PRI * HTTP/2.0\r\n") => return Some(P::Http2),
        // What follows a request or a reply is known by its stream.
        P::Http => is_http(content.bytes),
        P::Cflow => half.is_some_and(is_netflow),
        P::Couchbase => matches!(first, Some(0x08 | 0x18 | 0x80..=0x83)),
        P::Cql => first.is_some_and(|version| matches!(version & 0x7f, 3 | 4)),
        P::Diameter => is_diameter(content),
        P::Dnp3 => half == Some(DNP3_START),
        P::Edonkey => first.is_some_and(is_edonkey),
        P::Git => content.bytes.get(..4).is_some_and(|length| length.iter().all(u8::is_ascii_hexdigit)),
        P::Gtp | P::Gtpprime => is_gtp(protocol, content),
        P::Isakmp => is_isakmp(content),
        P::Kerberos | P::Kpasswd => word.is_some_and(|length| length & 0x7fff_ffff <= RECORD_MAX),
        // A sequence, or one in a layer of security, whose length comes first.
        P::Ldap => first == Some(0x30) || word.is_some_and(|length| usize::try_from(length).is_ok_and(|length| length + 4 == content.wire)),
        P::Ldp => half == Some(1),
        P::Mbtcp => content.wire >= 8 && content.u16(2) == Some(0) && content.u16(4).is_some_and(|length| length >= 2),
        P::Mgcp => is_mgcp(content.bytes),
        P::Msrp => content.bytes.starts_with(b"MSRP "),
        P::Ndmp => word.is_some_and(|length| (24..1 << 24).contains(&(length & 0x7fff_ffff))),
        P::Rtmpt => is_rtmp(content),
        // Whatever line it is: over a stream there is nothing else.
        P::Sip => is_text(content) && content.bytes.contains(&b'\n'),
        P::Skinny => is_skinny(content),
        P::Stun => is_stun(content) && first < Some(4) || first.is_some_and(|channel| channel & 0xc0 == 0x40),
        P::TplinkSmarthome => content.bytes.get(4..).is_some_and(is_smart_home),
        P::Tns => half > Some(1) && matches!(content.u8(4), Some(1..=19)),
        P::Tpkt => half == Some(0x0300) && content.u16(2).is_some_and(|length| length >= 4),
        P::Xmpp => matches!(first, Some(b'<' | b' ')),
        P::Xot => half == Some(0),
        _ => true,
    };
    is_it.then_some(protocol)
}

const DNP3_START: u16 = 0x0564;

/// Versions of NetFlow, and 10, which is IPFIX (RFC 7011).
fn is_netflow(version: u16) -> bool {
    matches!(version, 1 | 5 | 7..=10)
}

/// The first byte of eMule's and Kademlia's messages.
fn is_edonkey(first: u8) -> bool {
    matches!(first, 0xa4 | 0xa5 | 0xc5 | 0xd4 | 0xe3..=0xe5)
}

/// The application tags of RFC 4120.
fn is_kerberos(first: u8) -> bool {
    first & 0xc0 == 0x40 && matches!(first & 0x1f, 1..=3 | 10..=15 | 20 | 21 | 25..=30)
}

/// A header of 28 bytes that says how long all of it is (RFC 7296).
fn is_isakmp(content: Span<'_>) -> bool {
    content.u32(24).is_some_and(|length| length >= 28)
}

/// A known code (IANA's RADIUS packet types and what was in use before them), and a length that may be (RFC 2865).
fn is_radius(content: Span<'_>) -> bool {
    let known = matches!(content.u8(0), Some(1..=13 | 21..=27 | 29..=34 | 40..=45 | 50 | 51 | 129..=132));
    known && content.u16(2).is_some_and(|length| (20..=4096).contains(&length))
}

/// A sequence that fits, whose first element is the version (RFC 1157).
fn is_snmp(content: Span<'_>) -> Option<bool> {
    const SEQUENCE: u8 = 0x30;
    const INTEGER: u8 = 2;
    let form = content.u8(1)?;
    let more = if form & 0x80 == 0 { 0 } else { usize::from(form & 0x7f) };
    let bytes = content.bytes.get(2..2 + more).filter(|_| more <= 4)?;
    let length = if more == 0 { usize::from(form) } else { bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)) };
    let fits = form != 0x80 && 2 + more + length <= content.wire;
    Some(content.u8(0) == Some(SEQUENCE) && fits && content.u8(2 + more) == Some(INTEGER))
}

/// A status line, or a method of those that are in use: RFC 9110, WebDAV, UPnP, and what tunnels through it.
fn is_http(bytes: &[u8]) -> bool {
    const STARTS: [&[u8]; 34] = [
        b"HTTP/",
        b"ICY ",
        b"GET",
        b"POST",
        b"HEAD",
        b"PUT",
        b"DELETE",
        b"OPTIONS",
        b"CONNECT",
        b"TRACE",
        b"PATCH",
        b"PROPFIND",
        b"PROPPATCH",
        b"MKCOL",
        b"COPY",
        b"MOVE",
        b"LOCK",
        b"UNLOCK",
        b"REPORT",
        b"SEARCH",
        b"MERGE",
        b"CHECKIN",
        b"CHECKOUT",
        b"UNCHECKOUT",
        b"MKACTIVITY",
        b"VERSION-CONTROL",
        b"M-SEARCH",
        b"NOTIFY",
        b"SUBSCRIBE",
        b"UNSUBSCRIBE",
        b"RPC_IN_DATA",
        b"RPC_OUT_DATA",
        b"RPC_CONNECT",
        b"SSTP_DUPLEX_POST",
    ];
    let begins = |start: &&[u8]| {
        bytes
            .strip_prefix(*start)
            .is_some_and(|rest| start.ends_with(b"/") || start.ends_with(b" ") || matches!(rest.first(), None | Some(b' ')))
    };
    STARTS.iter().any(begins)
}

/// A line that ends in its version, or begins with it and a number (RFC 3261).
fn is_sip(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    let status = line.strip_prefix(b"SIP/2.0 ").and_then(|rest| rest.get(..3));
    status.is_some_and(|code| code.iter().all(u8::is_ascii_digit)) || line.ends_with(b" SIP/2.0") && line.len() < bytes.len()
}

/// A verb of RFC 3435, one that somebody added, or the code of an answer; then more.
fn is_mgcp(bytes: &[u8]) -> bool {
    const VERBS: [&[u8]; 9] = [b"EPCF", b"CRCX", b"MDCX", b"DLCX", b"RQNT", b"NTFY", b"AUEP", b"AUCX", b"RSIP"];
    let verb = |word: &[u8]| VERBS.iter().any(|verb| word.eq_ignore_ascii_case(verb)) || matches!(word, [b'x' | b'X', ..]);
    let (word, code) = (bytes.split_at_checked(4), bytes.split_at_checked(3));
    word.is_some_and(|(word, rest)| verb(word) && rest.first() == Some(&b' '))
        || code.is_some_and(|(code, rest)| code.iter().all(u8::is_ascii_digit) && rest.first() == Some(&b' '))
}

/// GTP of the versions 0 to 2 with a kind of message that is known (3GPP TS 29.060, 29.281, 32.295); of version 2, which has
/// a port of charging never, any.
fn is_gtp(protocol: Protocol, content: Span<'_>) -> bool {
    let (Some(first), Some(kind)) = (content.u8(0), content.u8(1)) else { return false };
    let known = matches!(
        kind,
        1..=7 | 0x10..=0x25 | 0x30..=0x3e | 0x46 | 0x60..=0x69 | 0x70..=0x79 | 0x80 | 0x81 | 0xf0 | 0xf1 | 0xfe | 0xff
    );
    match first >> 5 {
        2 if protocol == P::Gtp => true,
        0..=2 => known,
        _ => false,
    }
}

/// Version 1, a length in words, no reserved flag, and no error in what is a request (RFC 6733).
fn is_diameter(content: Span<'_>) -> bool {
    let Some([1, a, b, c, flags]) = content.array(0) else { return false };
    let length = u32::from_be_bytes([0, a, b, c]);
    length >= 36 && length.is_multiple_of(4) && flags & 0x0f == 0 && flags & 0xa0 != 0xa0
}

/// A greeting of its own size, or the header of a chunk whose kind of message is known (Adobe's RTMP 1.0, 5.3 and 5.4).
fn is_rtmp(content: Span<'_>) -> bool {
    const GREETING: usize = 1 + 1536;
    let Some(first) = content.u8(0) else { return false };
    if first == 3 && (content.wire == 1 || content.wire >= GREETING) {
        return true;
    }
    let has_kind = first >> 6 < 2 && first & 0x3f >= 2;
    has_kind && matches!(content.u8(7), Some(1..=6 | 8 | 9 | 15..=20 | 22))
}

/// A length of four at least, and a version of Cisco's phones, the least significant byte first.
fn is_skinny(content: Span<'_>) -> bool {
    let (length, version) = (content.u32(0).map(u32::swap_bytes), content.u32(4).map(u32::swap_bytes));
    length.is_some_and(|length| length >= 4) && matches!(version, Some(0 | 0x0a | 0x0b | 0x0f..=0x16))
}

/// `{"` or `{}`, each byte combined with the one before it, and the first with 171.
fn is_smart_home(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xd0, 0xf2]) || bytes.starts_with(&[0xd0, 0xad])
}

/// TLS hardly ever begins with four printable characters, nor does anything else that is no text.
fn is_text(content: Span<'_>) -> bool {
    content.bytes.len() > 4 && content.bytes.iter().take(4).all(|byte| matches!(byte, b' '..=b'~'))
}

/// TLS: a record's type, a version from SSL 3.0 to TLS 1.3, a length that may be. HTTP: a request or a status line.
pub(super) fn told_by_segment(content: Span<'_>) -> Option<Protocol> {
    const RECORD_BYTES_MAX: u16 = 16_384 + 2_048;
    const STARTS: [&[u8]; 8] = [b"HTTP/1.", b"GET /", b"POST /", b"HEAD /", b"PUT /", b"DELETE /", b"OPTIONS ", b"CONNECT "];
    match content.array::<5>(0)? {
        [20..=23, 3, 0..=4, a, b] if (1..=RECORD_BYTES_MAX).contains(&u16::from_be_bytes([a, b])) => Some(P::Tls),
        [b'C' | b'D' | b'G' | b'H' | b'O' | b'P', ..] if STARTS.iter().any(|start| content.bytes.starts_with(start)) => Some(P::Http),
        _ => None,
    }
}

pub(super) fn told_by_datagram(content: Span<'_>) -> Option<Protocol> {
    if is_quic(content) {
        return Some(P::Quic);
    }
    if is_stun(content) {
        return Some(P::Stun);
    }
    if is_dtls(content) {
        return Some(P::Dtls);
    }
    if is_wake_on_lan(content) {
        return Some(P::Wol);
    }
    if [b"d1:ad2:id20:", b"d1:rd2:id20:"].iter().any(|start| content.bytes.starts_with(*start)) {
        return Some(P::BtDht);
    }
    is_wireguard(content).then_some(P::Wg)
}

/// A long header of a version that is in use (RFC 9000, RFC 9369); short ones look like noise on purpose.
fn is_quic(content: Span<'_>) -> bool {
    const LONG: u8 = 0xc0;
    let version = content.u32(1).unwrap_or(0);
    let known = matches!(version, 1 | 0x6b33_43cf | 0xff00_001b..=0xff00_0022);
    content.u8(0).is_some_and(|first| first & LONG == LONG) && known && content.u8(5).is_some_and(|length| length <= 20)
}

/// RFC 8489: two zero bits, a length in words, the cookie.
fn is_stun(content: Span<'_>) -> bool {
    const COOKIE: u32 = 0x2112_a442;
    content.u32(4) == Some(COOKIE) && content.u8(0).is_some_and(|first| first < 0x40) && content.wire >= 20
}

/// RFC 8656: data in a numbered channel of a relay, with its length.
fn is_relayed(content: Span<'_>) -> bool {
    let fits = content.u16(2).is_some_and(|length| usize::from(length) + 4 <= content.wire);
    content.u16(0).is_some_and(|channel| (0x4000..0x5000).contains(&channel)) && fits
}

/// A record of DTLS 1.0 or 1.2 within the datagram.
fn is_dtls(content: Span<'_>) -> bool {
    let fits = content.u16(11).is_some_and(|length| usize::from(length) + 13 <= content.wire);
    matches!(content.array::<3>(0), Some([20..=23, 0xfe, 0xfd | 0xff])) && fits
}

/// Six bytes of ones, and sixteen times an address.
fn is_wake_on_lan(content: Span<'_>) -> bool {
    let Some((ones, addresses)) = content.bytes.get(..102).and_then(|bytes| bytes.split_at_checked(6)) else { return false };
    ones.iter().all(|byte| *byte == 0xff) && addresses.chunks_exact(6).all(|address| Some(address) == addresses.get(..6))
}

/// WireGuard's messages have three zero bytes after their type; the first three have a size each.
fn is_wireguard(content: Span<'_>) -> bool {
    match (content.u32(0), content.wire) {
        (Some(0x0100_0000), 148) | (Some(0x0200_0000), 92) | (Some(0x0300_0000), 64) => true,
        (Some(0x0400_0000), size) => size >= 32,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(bytes: &[u8]) -> Span<'_> {
        Span::new(bytes, bytes.len())
    }

    /// So many bytes: these, and then others.
    fn padded(start: &[u8], size: usize) -> Vec<u8> {
        start.iter().copied().chain((0..).map(|at: u32| (at * 37 % 251) as u8)).take(size.max(start.len())).collect()
    }

    /// As Wireshark 4.0 takes and rejects them at the protocol's port.
    #[test]
    fn a_datagram_is_what_its_port_says_only_where_it_can_be_that() {
        let cases: [(P, &[u8], bool); 52] = [
            (P::Kerberos, &[0x6a, 0x20], true),
            (P::Kerberos, &[0x64, 0x20], false),
            (P::Kerberos, &[0x7f], false),
            (P::Snmp, &[0x30, 0x20, 2, 1, 1], true),
            (P::Snmp, &[0x30, 0x82, 0, 0x30, 2, 1, 1], true),
            (P::Snmp, &[0x30, 0x7f, 2, 1, 1], false),
            (P::Snmp, &[0x30, 0x20, 4, 1, 1], false),
            (P::Snmp, &[0x31, 0x20, 2, 1, 1], false),
            (P::Xdmcp, &[0, 1], true),
            (P::Xdmcp, &[0, 2], false),
            (P::Ptp, &[9, 0x12], true),
            (P::Ptp, &[9, 0x13], false),
            (P::Isakmp, &[1; 28], true),
            (P::Isakmp, &[0; 28], false),
            (P::Rmcp, &[6, 0, 0xff, 7], true),
            (P::Rmcp, &[6, 0, 0xff, 9], false),
            (P::Ldp, &[0, 1, 0, 30], true),
            (P::Ldp, &[0, 2, 0, 30], false),
            (P::Olsr, &[0, 30], true),
            (P::Olsr, &[0, 99], false),
            (P::Slimp3, b"h", true),
            (P::Slimp3, b"H", false),
            (P::Radius, &[1, 7, 0, 40], true),
            (P::Radius, &[1, 7, 0, 19], false),
            (P::Radius, &[14, 7, 0, 40], false),
            (P::L2tp, &[0xc8, 2], true),
            (P::L2tp, &[0xc8, 1], false),
            (P::Wccp, &[0, 0, 0, 7], true),
            (P::Wccp, &[0, 0, 0, 6], false),
            (P::Cflow, &[0, 9], true),
            (P::Cflow, &[0, 6], false),
            (P::Gtp, &[0x30, 1], true),
            (P::Gtp, &[0x30, 9], false),
            (P::Gtp, &[0x48, 9], true),
            (P::Gtpprime, &[0x48, 9], false),
            (P::Gtp, &[0x60, 1], false),
            (P::Edonkey, &[0xe3], true),
            (P::Edonkey, &[0xe2], false),
            (P::Sflow, &[0, 0, 0, 5], true),
            (P::Sflow, &[0, 0, 0, 3], false),
            (P::Sip, b"FOO sip:a SIP/2.0\r\n", true),
            (P::Sip, b"SIP/2.0 200 OK\r\n", true),
            (P::Sip, b"REGISTER x y\r\n", false),
            (P::Ssdp, b"NOTIFY * HTTP/1.1\r\n", true),
            (P::Ssdp, b"FOO * HTTP/1.1\r\n", false),
            (P::Mgcp, b"200 1 OK\r\n", true),
            (P::Mgcp, b"crcx 1 a@b MGCP 1.0\r\n", true),
            (P::Mgcp, b"FOOO 1\r\n", false),
            (P::Bvlc, &[0x81, 0x0a, 0, 20], true),
            (P::Bvlc, &[0x80, 0x0a, 0, 20], false),
            (P::TplinkSmarthome, &[0xd0, 0xf2, 0x81], true),
            (P::TplinkSmarthome, &[0xd0, 0xf3, 0x81], false),
        ];

        for (protocol, start, accepted) in cases {
            let content = padded(start, 60);
            assert_eq!(of_datagram(protocol, span(&content)), accepted.then_some(protocol), "{protocol:?} {start:?}");
        }
        assert_eq!(of_datagram(P::TplinkSmarthome, span(b"any text at all")), None);
        assert_eq!(of_datagram(P::Portcontrol, span(&[0, 0])), Some(P::NatPmp));
        assert_eq!(of_datagram(P::Isakmp, span(&[1; 27])), None);
    }

    #[test]
    fn a_segment_is_what_its_port_says_only_where_it_can_be_that() {
        let cases: [(P, &[u8], bool); 39] = [
            (P::Http, b"PROPFIND /x HTTP/1.1\r\n", true),
            (P::Http, b"HTTP/1.1 200 OK\r\n", true),
            (P::Http, b"hello world, any text", false),
            (P::Tpkt, &[3, 0, 0, 20], true),
            (P::Tpkt, &[3, 1, 0, 20], false),
            (P::Xmpp, b"<presence/>", true),
            (P::Xmpp, b"hello", false),
            (P::Ldap, &[0x30, 0x0c, 2, 1, 1], true),
            (P::Ldap, &[0, 0, 0, 56], true),
            (P::Ldap, &[0, 0, 0, 55], false),
            (P::Mbtcp, &[0, 1, 0, 0, 0, 6, 1, 3], true),
            (P::Mbtcp, &[0, 1, 0, 1, 0, 6, 1, 3], false),
            (P::Mbtcp, &[0, 1, 0, 0, 0, 1, 1, 3], false),
            (P::Kerberos, &[0, 0, 9, 0, 0x6a], true),
            (P::Kerberos, b"text", false),
            (P::Git, b"003fgit-upload-pack", true),
            (P::Git, b"PACK", false),
            (P::Stun, &[0, 1, 0, 8, 0x21, 0x12, 0xa4, 0x42], true),
            (P::Stun, &[4, 1, 0, 8, 0x21, 0x12, 0xa4, 0x42], false),
            (P::Stun, &[0x40, 1, 0, 8], true),
            (P::Diameter, &[1, 0, 0, 40, 0x80], true),
            (P::Diameter, &[1, 0, 0, 41, 0x80], false),
            (P::Diameter, &[1, 0, 0, 40, 0xa0], false),
            (P::Tns, &[0, 60, 0, 0, 1], true),
            (P::Tns, &[0, 60, 0, 0, 0], false),
            (P::Skinny, &[12, 0, 0, 0, 0x0b, 0, 0, 0], true),
            (P::Skinny, &[12, 0, 0, 0, 0x0c, 0, 0, 0], false),
            (P::Cql, &[0x84], true),
            (P::Cql, &[0x05], false),
            (P::Couchbase, &[0x80], true),
            (P::Couchbase, &[0x7f], false),
            (P::Sip, b"hello world\r\n", true),
            (P::Sip, &[1, 2, 3, 4, 5], false),
            (P::Isakmp, &[0; 28], false),
            (P::Rtmpt, &[3, 0, 0, 0, 0, 0, 20, 20], true),
            (P::Rtmpt, b"xxxxxxxxxxxx", false),
            (P::TplinkSmarthome, &[0, 0, 0, 29, 0xd0, 0xf2], true),
            (P::TplinkSmarthome, &[0xd0, 0xf2], false),
            (P::Ndmp, &[0; 4], false),
        ];

        for (protocol, start, accepted) in cases {
            let content = padded(start, 60);
            assert_eq!(of_segment(protocol, span(&content)), accepted.then_some(protocol), "{protocol:?} {start:?}");
        }
        assert_eq!(of_segment(P::Http, span(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")), Some(P::Http2));
    }
}
