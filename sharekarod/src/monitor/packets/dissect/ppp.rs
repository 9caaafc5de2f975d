//! PPP and Cisco's HDLC.

use super::{Dissection, Layer, Next, protocol::Protocol, span::Span};

/// A packet of a PPP link: with or without its address, or in the framing of Cisco.
pub(super) fn link<'p>(_d: &mut Dissection<'p>, span: Span<'p>) -> Next<'p> {
    Some(match span.u8(0)? {
        0x0f | 0x8f => (Layer::Chdlc, span),
        _ => (Layer::Ppp, span),
    })
}

/// From the protocol number on, which is one byte where that is odd; address and control before it are skipped.
pub(super) fn ppp<'p>(d: &mut Dissection<'p>, span: Span<'p>) -> Next<'p> {
    d.found(Protocol::Ppp);
    let span = if span.u16(0)? == 0xff03 { span.skip(2)? } else { span };
    let (number, rest) = match span.u8(0)? {
        short if short & 1 == 1 => (u16::from(short), span.skip(1)?),
        _ => (span.u16(0)?, span.skip(2)?),
    };
    content(d, number, rest)
}

fn content<'p>(d: &mut Dissection<'p>, number: u16, rest: Span<'p>) -> Next<'p> {
    use Protocol as P;
    let control = match number {
        0x0021 | 0x0057 | 0x0800 | 0x86dd => return Some((Layer::IpByVersion, rest)),
        0x0281 | 0x0283 => return Some((Layer::Mpls, rest)),
        0xc021 => P::Lcp,
        0x8021 => P::Ipcp,
        0x8057 => P::Ipv6cp,
        0xc023 => P::Pap,
        0xc223 => P::Chap,
        0xc227 => P::Eap,
        0x80fd => P::Ccp,
        0x00fd => P::CompData,
        0x003d => P::Mp,
        0x002b => P::Ipx,
        0x0207 => P::Cdp,
        _ => return None,
    };
    d.found(control);
    d.transport = Some(control);
    None
}

pub(super) fn chdlc<'p>(d: &mut Dissection<'p>, span: Span<'p>) -> Next<'p> {
    const KEEPALIVE: u16 = 0x8035;
    d.found(Protocol::Chdlc);
    let (kind, rest) = (span.u16(2)?, span.skip(4)?);
    match kind {
        KEEPALIVE => {
            d.found(Protocol::Slarp);
            None
        }
        0x2000 => {
            d.found(Protocol::Cdp);
            None
        }
        0x4242 => {
            d.found(Protocol::Stp);
            None
        }
        0x0800 | 0x86dd | 0x8847 | 0x8848 | 0x6558 | 0x8137 => Some((Layer::EtherType(kind), rest)),
        _ => None,
    }
}
