//! Ethernet and everything that an Ethernet type or a logical link header can announce.

use super::{Address, Dissection, Layer, Next, Outer, TUNNELLED, protocol::Protocol, span::Span};

/// The largest number in the type field that is a length (IEEE 802.3).
pub(super) const LENGTH_MAX: u16 = 1500;

/// From here on it is a type; between the two it is neither.
const TYPE_MIN: u16 = 0x600;

pub(super) fn ethernet<'p>(d: &mut Dissection<'p>, span: Span<'p>) -> Next<'p> {
    let addresses: [u8; 12] = span.array(0)?;
    let (kind, rest) = (span.u16(12)?, span.skip(14)?);
    d.found(Protocol::Eth);
    if d.outer.is_none() {
        let [a, b, c, e, f, g, h, i, j, k, l, m] = addresses;
        (d.destination, d.source) = (Address::mac([a, b, c, e, f, g]), Address::mac([h, i, j, k, l, m]));
    } else {
        d.oddities |= TUNNELLED;
    }
    typed(d, kind, rest)
}

/// What follows a field that is a type or a length.
fn typed<'p>(d: &mut Dissection<'p>, kind: u16, rest: Span<'p>) -> Next<'p> {
    match kind {
        0..=LENGTH_MAX => length(d, usize::from(kind), rest),
        TYPE_MIN.. => Some((Layer::EtherType(kind), rest)),
        _ => None,
    }
}

/// A frame of IEEE 802.3: logical link control, or Novell's IPX without it.
fn length<'p>(d: &mut Dissection<'p>, length: usize, rest: Span<'p>) -> Next<'p> {
    let content = rest.limit(length);
    if content.u16(0)? == 0xffff {
        d.found(Protocol::Ipx);
        return None;
    }
    Some((Layer::Llc, content))
}

pub(super) fn by_type<'p>(d: &mut Dissection<'p>, kind: u16, rest: Span<'p>) -> Next<'p> {
    use Protocol as P;
    match kind {
        0x0806 | 0x8035 => arp(d, kind, rest),
        0x8100 | 0x9100 => tag(d, P::Vlan, 2, rest),
        0x88a8 => tag(d, P::Ieee8021ad, 2, rest),
        0x893f => tag(d, P::Etag, 6, rest),
        0x8926 => tag(d, P::Vntag, 4, rest),
        0x88e7 => backbone(d, rest),
        0x8847 | 0x8848 => Some((Layer::Mpls, rest)),
        0x8863 => leaf(d, P::Pppoed, kind),
        0x8809 => slow(d, kind, rest),
        0x8864 => pppoe(d, rest),
        0x8808 => rest.u16(0).and_then(|_| leaf(d, P::Macc, kind)),
        0x22f3 => trill(d, rest),
        0x88e5 => macsec(d, kind, rest),
        0x892f => redundant(d, rest),
        0x6558 => Some((Layer::Ethernet, rest)),
        0x8870 => Some((Layer::Llc, rest)),
        0x880b => Some((Layer::Ppp, rest)),
        0x894f => nsh(d, rest),
        0x4305 => batman(d, rest),
        _ => leaf(d, known(kind)?, kind),
    }
}

/// Types of which nothing more is looked at.
fn known(kind: u16) -> Option<Protocol> {
    use Protocol as P;
    Some(match kind {
        0x888e | 0x88c7 => P::Eapol,
        0x88cc => P::Lldp,
        0x8137 => P::Ipx,
        0x809b => P::Ddp,
        0x80f3 => P::Aarp,
        0x88f7 => P::Ptp,
        0x8892 => P::PnRt,
        0x8902 => P::Cfm,
        0x887b => P::Homeplug,
        0x88e1 => P::HomeplugAv,
        0x88a2 => P::Aoe,
        0x88d9 => P::Lltd,
        0x893a => P::Ieee1905,
        0x88f5 => P::MrpMvrp,
        0x88f6 => P::MrpMmrp,
        0x22ea => P::MrpMsrp,
        0x8899 => P::Realtek,
        0x88a4 => P::Ecatf,
        0x88ca => P::Tipc,
        0x0842 => P::Wol,
        0x8906 => P::Fcoe,
        0x9000 => P::Loop,
        0x88fb => P::HsrPrpSupervision,
        0xbbbb | 0x88bb => P::Lwapp,
        _ => return None,
    })
}

fn leaf<'p>(d: &mut Dissection<'p>, protocol: Protocol, kind: u16) -> Next<'p> {
    d.found(protocol);
    d.transport = Some(protocol);
    if d.outer.is_none() {
        d.outer =
            Some(Outer { kind, source: Address::default(), destination: Address::default(), protocol: 0, fragment_of: None, ports: None });
    }
    None
}

/// IEEE 802.3 annex 57A: the first byte says which of the slow protocols it is.
fn slow<'p>(d: &mut Dissection<'p>, kind: u16, rest: Span<'p>) -> Next<'p> {
    const AGGREGATION: u8 = 1;
    leaf(d, Protocol::Slow, kind);
    if rest.u8(0)? == AGGREGATION { leaf(d, Protocol::Lacp, kind) } else { None }
}

/// The addresses in it are for filters; who talks are the two stations.
fn arp<'p>(d: &mut Dissection<'p>, kind: u16, rest: Span<'p>) -> Next<'p> {
    let (source, destination) = (d.source, d.destination);
    rest.u16(0)?;
    leaf(d, Protocol::Arp, kind);
    if rest.u16(2)? == 0x0800
        && let (Some(sender), Some(target)) = (rest.array(14), rest.array(24))
        && let Some(outer) = d.outer.as_mut().filter(|outer| outer.kind == kind)
    {
        (outer.source, outer.destination) = (Address::v4(sender), Address::v4(target));
    }
    (d.source, d.destination) = (source, destination);
    None
}

/// A tag of so many bytes, then a type or a length. One whose type is cut off is one.
fn tag<'p>(d: &mut Dissection<'p>, protocol: Protocol, bytes: usize, rest: Span<'p>) -> Next<'p> {
    let content = rest.skip(bytes)?;
    d.found(protocol);
    typed(d, content.u16(0)?, content.skip(2)?)
}

/// RFC 6325: two bytes of which five bits tell how many words of options follow, from where and to where, then a frame.
fn trill<'p>(d: &mut Dissection<'p>, rest: Span<'p>) -> Next<'p> {
    let options = usize::from(rest.u16(0)? >> 6 & 0x1f) * 4;
    d.found(Protocol::Trill);
    Some((Layer::Ethernet, rest.skip(6 + options)?))
}

/// IEEE 802.1D: what tells of a change alone is four bytes; anything else names the root and the bridge.
fn spanning_tree<'p>(d: &mut Dissection<'p>, rest: Span<'p>) -> Next<'p> {
    const CHANGE: u8 = 0x80;
    const NAMED: usize = 27;
    if rest.u8(3)? == CHANGE || rest.bytes.len() >= NAMED { leaf(d, Protocol::Stp, 0) } else { d.broken() }
}

/// IEEE 802.1ah: a service tag, then a whole frame.
fn backbone<'p>(d: &mut Dissection<'p>, rest: Span<'p>) -> Next<'p> {
    d.found(Protocol::Ieee8021ah);
    typed(d, rest.u16(16)?, rest.skip(18)?)
}

/// HSR: a path, a size and a sequence number, then a type.
fn redundant<'p>(d: &mut Dissection<'p>, rest: Span<'p>) -> Next<'p> {
    d.found(Protocol::Hsr);
    typed(d, rest.u16(4)?, rest.skip(6)?)
}

/// IEEE 802.1AE: only authenticated, what is protected can be read; behind it stands a check value.
fn macsec<'p>(d: &mut Dissection<'p>, kind: u16, rest: Span<'p>) -> Next<'p> {
    const ENCRYPTED: u8 = 0x08;
    const CHANNEL: u8 = 0x20;
    const CHECK: usize = 16;
    leaf(d, Protocol::Macsec, kind);
    let control = rest.u8(0)?;
    let tag = if control & CHANNEL == 0 { 6 } else { 14 };
    if control & ENCRYPTED != 0 {
        return None;
    }
    Some((Layer::EtherType(rest.u16(tag)?), rest.skip(tag + 2)?.trim(CHECK)))
}

fn pppoe<'p>(d: &mut Dissection<'p>, rest: Span<'p>) -> Next<'p> {
    let length = usize::from(rest.u16(4)?);
    d.found(Protocol::Pppoes);
    let content = rest.skip(6)?.limit(length);
    content.u16(0)?;
    Some((Layer::Ppp, content))
}

/// Labels down to the bottom of the stack; what follows is told by its first bits (RFC 4928).
pub(super) fn mpls<'p>(d: &mut Dissection<'p>, mut rest: Span<'p>) -> Next<'p> {
    const BOTTOM: u32 = 0x100;
    loop {
        let label = rest.u32(0)?;
        d.found(Protocol::Mpls);
        rest = rest.skip(4)?;
        if label & BOTTOM != 0 {
            break;
        }
    }
    match rest.u8(0)? >> 4 {
        4 | 6 => Some((Layer::IpByVersion, rest)),
        0 => pseudowire(d, rest),
        1 => {
            d.found(Protocol::Pwach);
            None
        }
        // What it is nobody says, and Wireshark does not guess.
        _ => None,
    }
}

/// Ethernet over MPLS: with a control word, or a frame whose first address begins with zeros too.
fn pseudowire<'p>(d: &mut Dissection<'p>, rest: Span<'p>) -> Next<'p> {
    if is_frame(rest) && !rest.skip(4).is_some_and(is_frame) {
        d.found(Protocol::Pweth);
        return Some((Layer::Ethernet, rest));
    }
    let frame = rest.skip(4)?;
    // The word and the frame behind it are two, as in Wireshark.
    d.found(Protocol::PwethWord);
    d.found(Protocol::Pwethcw);
    Some((Layer::Ethernet, frame))
}

/// Two addresses that makers gave, and a type that is known. Wireshark looks the makers up; a bit tells of those that
/// nobody gave, or that mean several.
fn is_frame(rest: Span<'_>) -> bool {
    const NOT_GIVEN: u8 = 0x03;
    let given = |at| rest.u8(at).is_some_and(|first| first & NOT_GIVEN == 0);
    let kind = rest
        .u16(12)
        .is_some_and(|kind| matches!(kind, 0x0800 | 0x86dd | 0x0806 | 0x8100 | 0x88a8 | 0x8847 | 0x8863 | 0x8864) || known(kind).is_some());
    given(0) && given(6) && kind
}

/// A network service header (RFC 8300) with its length in words and the kind of what follows.
pub(super) fn nsh<'p>(d: &mut Dissection<'p>, rest: Span<'p>) -> Next<'p> {
    d.found(Protocol::Nsh);
    let words = usize::from(rest.u16(0)? & 0x3f);
    let next = rest.u8(3)?;
    by_next_protocol(next, rest.skip(words.max(2) * 4)?)
}

/// The numbers that NSH and VXLAN-GPE share.
pub(super) fn by_next_protocol(next: u8, rest: Span<'_>) -> Next<'_> {
    Some(match next {
        1 | 2 => (Layer::IpByVersion, rest),
        3 => (Layer::Ethernet, rest),
        4 => (Layer::EtherType(0x894f), rest),
        5 => (Layer::Mpls, rest),
        _ => return None,
    })
}

/// B.A.T.M.A.N. advanced, version 15: a unicast or broadcast packet holds an Ethernet frame.
fn batman<'p>(d: &mut Dissection<'p>, rest: Span<'p>) -> Next<'p> {
    d.found(Protocol::Batadv);
    match (rest.u8(0)?, rest.u8(1)?) {
        (0x01, 15) => Some((Layer::Ethernet, rest.skip(14)?)),
        (0x40, 15) => Some((Layer::Ethernet, rest.skip(10)?)),
        (0x42, 15) => Some((Layer::Ethernet, rest.skip(20)?)),
        _ => None,
    }
}

pub(super) fn llc<'p>(d: &mut Dissection<'p>, span: Span<'p>) -> Next<'p> {
    const UNNUMBERED: u8 = 3;
    d.found(Protocol::Llc);
    let (to, from, control) = (span.u8(0)?, span.u8(1)?, span.u8(2)?);
    let rest = span.skip(if control & UNNUMBERED == UNNUMBERED { 3 } else { 4 })?;
    match to {
        0xaa if from & 0xfe == 0xaa => snap(d, rest),
        0x06 => Some((Layer::EtherType(0x0800), rest)),
        0x42 => spanning_tree(d, rest),
        0x10 | 0xe0 => leaf(d, Protocol::Ipx, 0),
        0xf0 => leaf(d, Protocol::Netbios, 0),
        0x14 | 0x20 | 0x34 | 0x54 | 0xfe if rest.u8(0)? == 0x83 => leaf(d, Protocol::Isis, 0),
        _ => None,
    }
}

/// An organisation and its number for what follows (RFC 1042).
pub(super) fn snap<'p>(d: &mut Dissection<'p>, rest: Span<'p>) -> Next<'p> {
    let [a, b, c]: [u8; 3] = rest.array(0)?;
    let (number, rest) = (rest.u16(3)?, rest.skip(5)?);
    match ([a, b, c], number) {
        ([0, 0, 0] | [0, 0, 0xf8], number) => Some((Layer::EtherType(number), rest)),
        // Bridged with and without the frame's check sequence (RFC 2427).
        ([0, 0x80, 0xc2], 1) => Some((Layer::Ethernet, rest.trim(4))),
        ([0, 0x80, 0xc2], 7) => Some((Layer::Ethernet, rest)),
        ([0, 0, 0x0c], 0x2000) => leaf(d, Protocol::Cdp, 0),
        ([0, 0, 0x0c], 0x2003) => leaf(d, Protocol::Vtp, 0),
        ([0, 0, 0x0c], 0x2004) => leaf(d, Protocol::Dtp, 0),
        ([0, 0, 0x0c], 0x0111) => leaf(d, Protocol::Udld, 0),
        ([0, 0, 0x0c], 0x010b) | ([0, 0x80, 0xc2], 0x000e) => spanning_tree(d, rest),
        ([8, 0, 7], 0x809b) => leaf(d, Protocol::Ddp, 0),
        _ => None,
    }
}
