//! 802.11 and the headers that capturing puts before it.

use super::{Address, Dissection, Layer, Next, protocol::Protocol, span::Span};

/// Radiotap: its presence bits and flags. <https://www.radiotap.org/>
const TIME_PRESENT: u32 = 1;
const FLAGS_PRESENT: u32 = 1 << 1;
const MORE_PRESENT: u32 = 1 << 31;
const CHECKED: u8 = 0x10;
const PADDED: u8 = 0x20;

pub(super) fn radiotap<'p>(d: &mut Dissection<'p>, span: Span<'p>) -> Next<'p> {
    d.found(Protocol::Radiotap);
    d.found(Protocol::WlanRadio);
    let length = usize::from(span.u16(2)?.swap_bytes());
    let frame = span.skip(length)?;
    let flags = flags(span).unwrap_or(0);
    let frame = if flags & CHECKED == 0 { frame } else { frame.trim(4) };
    inside(d, frame, flags & PADDED != 0)
}

/// The flags field, which only the time stamp may precede.
fn flags(span: Span<'_>) -> Option<u8> {
    let present = span.u32(4)?.swap_bytes();
    let (mut at, mut word) = (8, present);
    while word & MORE_PRESENT != 0 {
        word = span.u32(at)?.swap_bytes();
        at += 4;
    }
    if present & FLAGS_PRESENT == 0 {
        return None;
    }
    span.u8(if present & TIME_PRESENT == 0 { at } else { at.next_multiple_of(8) + 8 })
}

/// The headers of Prism and AVS cards: the second says in big endian how long it is, the first always is 144 bytes.
pub(super) fn with_header<'p>(d: &mut Dissection<'p>, span: Span<'p>) -> Next<'p> {
    const AVS: u32 = 0x8021_1000;
    let avs = span.u32(0)? & 0xffff_f000 == AVS;
    d.found(if avs { Protocol::Wlancap } else { Protocol::Prism });
    d.found(Protocol::WlanRadio);
    let length = if avs { usize::try_from(span.u32(4)?).ok()? } else { 144 };
    Some((Layer::Wlan, span.skip(length)?))
}

pub(super) fn wlan<'p>(d: &mut Dissection<'p>, span: Span<'p>) -> Next<'p> {
    inside(d, span, false)
}

fn inside<'p>(d: &mut Dissection<'p>, span: Span<'p>, padded: bool) -> Next<'p> {
    const MANAGEMENT: u8 = 0;
    const DATA: u8 = 2;
    const EMPTY: u8 = 4;
    const PROTECTED: u8 = 0x40;
    const MORE_FRAGMENTS: u8 = 0x04;
    d.found(Protocol::Wlan);
    let (control, flags) = (span.u8(0)?, span.u8(1)?);
    if let (Some(receiver), Some(sender)) = (span.array(4), span.array(10)) {
        (d.destination, d.source) = (Address::mac(receiver), Address::mac(sender));
    }
    let (kind, subtype) = (control >> 2 & 3, control >> 4);
    // The first parts of something larger are no content, and neither is what is encrypted.
    let readable = flags & (PROTECTED | MORE_FRAGMENTS) == 0;
    if kind == MANAGEMENT && readable && span.wire > 24 {
        d.found(Protocol::WlanMgt);
    }
    if kind != DATA || subtype & EMPTY != 0 || !readable {
        return None;
    }
    let header = data_header(subtype, flags);
    let rest = span.skip(if padded { header.next_multiple_of(4) } else { header })?;
    let aggregated = subtype & 8 != 0 && span.u8(header - if flags & 0x80 != 0 { 6 } else { 2 })? & 0x80 != 0;
    if aggregated {
        // What is aggregated counts with the aggregate, as in Wireshark.
        d.found(Protocol::WlanAggregate);
        return None;
    }
    (!rest.bytes.is_empty()).then_some((Layer::Llc, rest))
}

/// Bytes before the content: a fourth address between access points, two of quality of service, four of throughput.
fn data_header(subtype: u8, flags: u8) -> usize {
    let between = if flags & 3 == 3 { 6 } else { 0 };
    let quality = if subtype & 8 != 0 { 2 } else { 0 };
    let throughput = if quality != 0 && flags & 0x80 != 0 { 4 } else { 0 };
    24 + between + quality + throughput
}
