//! The first header of a packet, by the link type of its capture.

use super::{super::captures::Packet, Dissection, Layer, Next, ethernet, ppp, protocol::Protocol, span::Span, wifi};

/// Address families as the first four bytes of a packet on a loopback link; each system has its own for IPv6.
const FAMILY_V4: u32 = 2;
const FAMILY_V6: [u32; 3] = [24, 28, 30];

/// Packets of the BSDs' firewall: the header says how long it is, rounded up to four.
const PFLOG_BYTES_MIN: usize = 48;

/// Enters a packet.
pub(super) fn begin<'p>(d: &mut Dissection<'p>, packet: &Packet<'p>, span: Span<'p>) -> Next<'p> {
    match packet.link {
        1 => Some((Layer::Ethernet, span)),
        0 | 108 => null(d, span),
        6 => token_ring(d, span),
        9 | 50 => ppp::link(d, span),
        10 => fddi(d, span),
        11 | 100 => Some((Layer::Llc, span)),
        12 | 14 | 101 => raw(d, span),
        51 => ethernet::by_type(d, 0x8864, span),
        104 => Some((Layer::Chdlc, span)),
        105 => Some((Layer::Wlan, span)),
        106 => clip(d, span),
        107 => frame_relay(d, span),
        109 => bsd_enc(d, packet, span),
        113 => cooked(d, span),
        117 => pflog(d, span),
        119 | 163 => wifi::with_header(d, span),
        127 => wifi::radiotap(d, span),
        122 => before_llc(d, span),
        138 => ieee_1394(d, span),
        166 | 204 => direction_then_ppp(d, span),
        192 => per_packet(d, span),
        226 => ipnet(d, span),
        228 | 229 => Some((Layer::IpByVersion, span)),
        239 => nflog(d, packet, span),
        240 => netanalyzer(d, span),
        258 => apple(d, packet, span),
        276 => cooked_2(d, span),
        link => leaf(d, link),
    }
}

/// Links whose frames are told apart and not looked into.
fn leaf<'p>(d: &mut Dissection<'p>, link: u32) -> Next<'p> {
    use Protocol as P;
    let protocols: &[P] = match link {
        143 => &[P::Docsis],
        147..=162 => &[P::UserDlt],
        165 => &[P::Mstp],
        187 | 201 => &[P::Bluetooth, P::HciH4],
        186 | 189 | 220 | 249 => &[P::Usb],
        195 | 215 | 230 | 283 => &[P::Wpan],
        227 => &[P::Can],
        251 | 256 => &[P::Bluetooth, P::Btle],
        253 => &[P::Netlink],
        _ => &[],
    };
    protocols.iter().for_each(|protocol| d.found(*protocol));
    None
}

/// Wireshark looks at eight bytes for framing that others left in before it takes them for IP.
fn raw<'p>(d: &mut Dissection<'p>, span: Span<'p>) -> Next<'p> {
    d.found(Protocol::Raw);
    span.array::<8>(0)?;
    matches!(span.u8(0)? >> 4, 4 | 6).then_some((Layer::IpByVersion, span))
}

/// Classical IP over ATM (RFC 2225).
fn clip<'p>(d: &mut Dissection<'p>, span: Span<'p>) -> Next<'p> {
    d.found(Protocol::Clip);
    Some((Layer::IpByVersion, span))
}

/// Apple's PKTAP: its header (least significant byte first) says how long it is, and of which link the packet behind it is.
fn apple<'p>(d: &mut Dissection<'p>, packet: &Packet<'p>, span: Span<'p>) -> Next<'p> {
    const PKTAP: u32 = 258;
    d.found(Protocol::Pktap);
    let (length, link) = (span.u32(0)?.swap_bytes(), span.u32(8)?.swap_bytes());
    let rest = span.skip(usize::try_from(length).ok()?)?;
    // One in another would be no end.
    if link == PKTAP { d.broken() } else { begin(d, &Packet { link, ..*packet }, rest) }
}

/// The family is in the byte order of the machine that captured, which need not be that of the file.
fn null<'p>(d: &mut Dissection<'p>, span: Span<'p>) -> Next<'p> {
    if span.u16(0)? == 0xff03 {
        return ppp::link(d, span);
    }
    let word = span.u32(0)?;
    d.found(Protocol::Null);
    let family = if word & 0xffff_0000 == 0 { word } else { word.swap_bytes() };
    let rest = span.skip(4)?;
    match family {
        FAMILY_V4 => Some((Layer::EtherType(0x0800), rest)),
        family if FAMILY_V6.contains(&family) => Some((Layer::EtherType(0x86dd), rest)),
        family => u16::try_from(family).ok().filter(|kind| *kind > ethernet::LENGTH_MAX).map(|kind| (Layer::EtherType(kind), rest)),
    }
}

fn cooked<'p>(d: &mut Dissection<'p>, span: Span<'p>) -> Next<'p> {
    d.found(Protocol::Sll);
    let (hardware, kind) = (span.u16(2)?, span.u16(14)?);
    d.source = link_address(span, 4, 6);
    cooked_content(hardware, kind, span.skip(16)?)
}

fn cooked_2<'p>(d: &mut Dissection<'p>, span: Span<'p>) -> Next<'p> {
    d.found(Protocol::Sll);
    let (hardware, kind) = (span.u16(8)?, span.u16(0)?);
    d.source = link_address(span, 10, 12);
    cooked_content(hardware, kind, span.skip(20)?)
}

/// The sender's address where it has the length of Ethernet's. `length_at`: where its length ends.
fn link_address(span: Span<'_>, length_at: usize, address_at: usize) -> super::Address {
    let six = span.u16(length_at).is_some_and(|length| length & 0xff == 6);
    span.array(address_at).filter(|_| six).map(super::Address::mac).unwrap_or_default()
}

/// The kind is an Ethernet type, or one of Linux's own small numbers.
fn cooked_content(hardware: u16, kind: u16, rest: Span<'_>) -> Next<'_> {
    const NETLINK: u16 = 824;
    match kind {
        _ if hardware == NETLINK => None,
        3 => Some((Layer::Ethernet, rest)),
        4 => Some((Layer::Llc, rest)),
        7 => Some((Layer::Ppp, rest)),
        kind if kind > ethernet::LENGTH_MAX => Some((Layer::EtherType(kind), rest)),
        _ => None,
    }
}

fn token_ring<'p>(d: &mut Dissection<'p>, span: Span<'p>) -> Next<'p> {
    const ROUTED: u8 = 0x80;
    const LLC_FRAME: u8 = 0x40;
    d.found(Protocol::Tr);
    let (control, source) = (span.u8(1)?, span.u8(8)?);
    let route = if source & ROUTED == 0 { 0 } else { usize::from(span.u8(14)? & 0x1f) };
    let rest = span.skip(14 + route)?;
    (control & 0xc0 == LLC_FRAME).then_some((Layer::Llc, rest))
}

fn fddi<'p>(d: &mut Dissection<'p>, span: Span<'p>) -> Next<'p> {
    d.found(Protocol::Fddi);
    let control = span.u8(0)?;
    let rest = span.skip(13)?;
    (0x50..=0x5f).contains(&control).then_some((Layer::Llc, rest))
}

/// A Q.922 address of two bytes, then a network layer number as in RFC 2427, or Cisco's Ethernet type.
fn frame_relay<'p>(d: &mut Dissection<'p>, span: Span<'p>) -> Next<'p> {
    d.found(Protocol::Fr);
    let (address_end, control) = (span.u8(1)?, span.u8(2)?);
    if address_end & 1 == 0 {
        return None;
    }
    if control != 0x03 {
        return Some((Layer::EtherType(span.u16(2)?), span.skip(4)?));
    }
    let (number, at) = match span.u8(3)? {
        0 => (span.u8(4)?, 5),
        number => (number, 4),
    };
    let rest = span.skip(at)?;
    match number {
        0xcc | 0x8e => Some((Layer::IpByVersion, rest)),
        0x80 => ethernet::snap(d, rest),
        0xcf => Some((Layer::Ppp, rest)),
        _ => None,
    }
}

fn bsd_enc<'p>(d: &mut Dissection<'p>, packet: &Packet<'p>, span: Span<'p>) -> Next<'p> {
    d.found(Protocol::Enc);
    let word = span.u32(0)?;
    let family = if packet.big_endian { word } else { word.swap_bytes() };
    let rest = span.skip(12)?;
    (family == FAMILY_V4 || FAMILY_V6.contains(&family)).then_some((Layer::IpByVersion, rest))
}

fn pflog<'p>(d: &mut Dissection<'p>, span: Span<'p>) -> Next<'p> {
    d.found(Protocol::Pflog);
    let (length, family) = (usize::from(span.u8(0)?), u32::from(span.u8(1)?));
    let rest = span.skip(length.max(PFLOG_BYTES_MIN).next_multiple_of(4))?;
    (family == FAMILY_V4 || FAMILY_V6.contains(&family)).then_some((Layer::IpByVersion, rest))
}

/// IP over Fibre Channel (RFC 2625): two addresses of eight bytes, then logical link control.
fn before_llc<'p>(d: &mut Dissection<'p>, span: Span<'p>) -> Next<'p> {
    d.found(Protocol::Ipfc);
    Some((Layer::Llc, span.skip(16)?))
}

/// Apple's IP over IEEE 1394: two addresses of eight bytes, then an Ethernet type.
fn ieee_1394<'p>(d: &mut Dissection<'p>, span: Span<'p>) -> Next<'p> {
    d.found(Protocol::Ap1394);
    Some((Layer::EtherType(span.u16(16)?), span.skip(18)?))
}

/// Hilscher's analyser: four bytes about the frame, the frame, its check sequence.
fn netanalyzer<'p>(d: &mut Dissection<'p>, span: Span<'p>) -> Next<'p> {
    d.found(Protocol::Netanalyzer);
    Some((Layer::Ethernet, span.skip(4)?.trim(4)))
}

fn direction_then_ppp<'p>(d: &mut Dissection<'p>, span: Span<'p>) -> Next<'p> {
    ppp::link(d, span.skip(1)?)
}

/// PPI: fields about the packet, then the packet of the link that it names (least significant byte first).
fn per_packet<'p>(d: &mut Dissection<'p>, span: Span<'p>) -> Next<'p> {
    d.found(Protocol::Ppi);
    let length = usize::from(span.u16(2)?.swap_bytes());
    let link = span.u32(4)?.swap_bytes();
    let rest = span.skip(length)?;
    match link {
        1 => Some((Layer::Ethernet, rest)),
        105 => {
            d.found(Protocol::WlanRadio);
            Some((Layer::Wlan, rest))
        }
        _ => None,
    }
}

fn ipnet<'p>(d: &mut Dissection<'p>, span: Span<'p>) -> Next<'p> {
    d.found(Protocol::Ipnet);
    Some((Layer::IpByVersion, span.skip(24)?))
}

/// Netfilter's log: attributes in the order of the machine, of which one is the packet.
/// Wireshark hides this header, so it does not count.
fn nflog<'p>(d: &mut Dissection<'p>, packet: &Packet<'p>, span: Span<'p>) -> Next<'p> {
    const PAYLOAD: u16 = 9;
    let native = |value: u16| if packet.big_endian { value } else { value.swap_bytes() };
    let mut attributes = span.skip(4)?;
    loop {
        let (length, kind) = (usize::from(native(attributes.u16(0)?)), native(attributes.u16(2)?));
        if length < 4 {
            return d.broken();
        }
        if kind & 0x7fff == PAYLOAD {
            return Some((Layer::IpByVersion, attributes.limit(length).skip(4)?));
        }
        attributes = attributes.skip(length.next_multiple_of(4))?;
    }
}
