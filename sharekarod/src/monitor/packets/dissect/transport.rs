//! TCP, UDP and the protocols with ports like theirs; which content they announce.

use super::{Dissection, Layer, Next, names::NameSource, ports, protocol::Protocol, span::Span};

/// Ports, tag, checksum (RFC 9260).
const SCTP_BYTES_MIN: usize = 12;

pub(super) fn tcp<'p>(d: &mut Dissection<'p>, span: Span<'p>) -> Next<'p> {
    d.transport = Some(Protocol::Tcp);
    let ports = take_ports(d, span)?;
    d.found(Protocol::Tcp);
    let header = usize::from(span.u8(12)? >> 4) * 4;
    d.tcp_flags = span.u8(13)?;
    if header < 20 {
        return d.broken();
    }
    let rest = span.skip(header)?;
    d.payload = u32::try_from(rest.wire).unwrap_or(u32::MAX);
    if rest.bytes.is_empty() {
        return None;
    }
    Some((Layer::Content(ports::tcp(ports, rest)?), rest))
}

pub(super) fn udp<'p>(d: &mut Dissection<'p>, span: Span<'p>) -> Next<'p> {
    d.transport = Some(Protocol::Udp);
    let ports = take_ports(d, span)?;
    d.found(Protocol::Udp);
    let length = usize::from(span.u16(4)?);
    // Zero is a datagram that is longer than the field can tell.
    if length != 0 && length < 8 {
        return d.broken();
    }
    let rest = span.skip(8)?;
    let rest = if length == 0 { rest } else { rest.limit(length - 8) };
    d.payload = u32::try_from(rest.wire).unwrap_or(u32::MAX);
    if rest.bytes.is_empty() {
        return None;
    }
    Some((Layer::Content(ports::udp(ports, rest)?), rest))
}

/// SCTP, DCCP and UDP-Lite: their ports stand where those of UDP do.
pub(super) fn with_ports<'p>(d: &mut Dissection<'p>, protocol: Protocol, span: Span<'p>) -> Next<'p> {
    d.transport = Some(protocol);
    // Below the header's size Wireshark takes none for SCTP.
    if protocol != Protocol::Sctp || span.bytes.len() >= SCTP_BYTES_MIN {
        d.found(protocol);
    }
    take_ports(d, span)?;
    d.payload = u32::try_from(span.wire.saturating_sub(12)).unwrap_or(u32::MAX);
    None
}

/// Filters see the ports of the first network header only where they follow it at once.
#[inline]
fn take_ports(d: &mut Dissection<'_>, span: Span<'_>) -> Option<(u16, u16)> {
    let ports = (span.u16(0)?, span.u16(2)?);
    d.ports = Some(ports);
    if d.oddities & super::TUNNELLED == 0
        && let Some(outer) = d.outer.as_mut().filter(|outer| matches!(outer.protocol, 6 | 17 | 132))
    {
        outer.ports = Some(ports);
    }
    Some(ports)
}

/// Notes where a name is told in the content.
pub(super) fn note_name<'p>(d: &mut Dissection<'p>, protocol: Protocol, rest: Span<'p>) {
    let stream = d.transport == Some(Protocol::Tcp);
    d.name = match protocol {
        Protocol::Dns | Protocol::Mdns | Protocol::Llmnr if stream => rest.bytes.get(2..).map(NameSource::Dns),
        Protocol::Dns | Protocol::Mdns | Protocol::Llmnr => Some(NameSource::Dns(rest.bytes)),
        Protocol::Tls => Some(NameSource::Tls(rest.bytes)),
        Protocol::Http => Some(NameSource::Http(rest.bytes)),
        _ => return,
    };
}
