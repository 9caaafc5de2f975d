//! What a packet is: its headers one by one, tunnels included, under the names that Wireshark gives them.
//!
//! Nothing is reassembled. What an ICMP error quotes is not looked into, as it is not in the packet. A header that is cut
//! off ends the walk; every walk ends after `LAYERS_MAX` headers, however cleverly they are nested.

pub mod address;
mod content;
mod ethernet;
mod ip;
mod link;
pub mod names;
mod ports;
mod ppp;
pub mod protocol;
mod span;
mod transport;
mod tunnel;
mod wifi;

use self::{address::Address, names::NameSource, protocol::Protocol, protocol::ProtocolSet, span::Span};
use super::captures::Packet;

/// Real packets have up to some fifteen headers.
const LAYERS_MAX: usize = 64;

/// What a packet is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dissection<'p> {
    /// Every protocol in it.
    pub protocols: ProtocolSet,
    /// The innermost one.
    pub last: Option<Protocol>,
    /// The network header that stands first: what filters look at.
    pub outer: Option<Outer>,
    /// Who sent the innermost packet.
    pub source: Address,
    /// To whom.
    pub destination: Address,
    /// The protocol that carries the content: TCP, UDP, ICMP, or ARP and the like.
    pub transport: Option<Protocol>,
    /// Source and destination port of it.
    pub ports: Option<(u16, u16)>,
    /// Its content in bytes, as on the wire.
    pub payload: u32,
    /// Flags of TCP.
    pub tcp_flags: u8,
    /// Hops it may still make.
    pub ttl: u8,
    /// A part of a larger packet, or with options: both are rare.
    pub oddities: u8,
    /// Where a name is told in it.
    pub name: Option<NameSource<'p>>,
}

/// Set in `Dissection::oddities` of a fragment.
pub const FRAGMENT: u8 = 1;
/// Set in `Dissection::oddities` of a packet with IP options or extension headers.
pub const OPTIONS: u8 = 2;
/// Set in `Dissection::oddities` of a packet in a tunnel.
pub const TUNNELLED: u8 = 4;
/// Set in `Dissection::oddities` of a packet of which a header is cut off or cannot be.
pub const BROKEN: u8 = 8;

/// The first network header of a packet.
#[derive(Clone, Copy, Debug)]
pub struct Outer {
    /// Its Ethernet type.
    pub kind: u16,
    /// Who sends: for ARP the protocol address.
    pub source: Address,
    /// To whom.
    pub destination: Address,
    /// The protocol in it, after the first header and nothing else.
    pub protocol: u8,
    /// For a fragment of IPv6: the protocol that it is of.
    pub fragment_of: Option<u8>,
    /// Ports, where they follow at once.
    pub ports: Option<(u16, u16)>,
}

/// What comes next in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layer {
    /// Ethernet's own header.
    Ethernet,
    /// Anything that an Ethernet type names.
    EtherType(u16),
    /// Logical link control.
    Llc,
    /// IP of the version that its first bits tell.
    IpByVersion,
    /// Anything that an IP protocol number names, with whether IPv6 is around it.
    IpProtocol(u8, Family),
    /// PPP from its protocol field on, or from its address field on.
    Ppp,
    /// A frame of 802.11.
    Wlan,
    /// Cisco's HDLC.
    Chdlc,
    /// Labels.
    Mpls,
    /// The content of a datagram or a segment.
    Content(Protocol),
}

/// Around which IP header something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

type Next<'p> = Option<(Layer, Span<'p>)>;

impl<'p> Dissection<'p> {
    /// What this packet is.
    pub fn of(packet: &Packet<'p>) -> Self {
        let mut this = Self::default();
        let span = Span::new(packet.data, usize::try_from(packet.length).unwrap_or(usize::MAX));
        let mut next = link::begin(&mut this, packet, span);
        for _ in 0..LAYERS_MAX {
            let Some((layer, rest)) = next else { break };
            next = this.step(layer, rest);
        }
        this
    }

    #[inline]
    fn step(&mut self, layer: Layer, rest: Span<'p>) -> Next<'p> {
        match layer {
            Layer::Ethernet => ethernet::ethernet(self, rest),
            Layer::EtherType(0x0800) => ip::version_4(self, rest),
            Layer::EtherType(0x86dd) => ip::version_6(self, rest),
            Layer::IpByVersion => ip::by_version(self, rest),
            Layer::IpProtocol(6, _) => transport::tcp(self, rest),
            Layer::IpProtocol(17, _) => transport::udp(self, rest),
            Layer::EtherType(kind) => ethernet::by_type(self, kind, rest),
            Layer::Llc => ethernet::llc(self, rest),
            Layer::IpProtocol(number, family) => ip::by_protocol(self, number, family, rest),
            Layer::Ppp => ppp::ppp(self, rest),
            Layer::Wlan => wifi::wlan(self, rest),
            Layer::Chdlc => ppp::chdlc(self, rest),
            Layer::Mpls => ethernet::mpls(self, rest),
            Layer::Content(protocol) => tunnel::content(self, protocol, rest),
        }
    }

    #[inline]
    fn found(&mut self, protocol: Protocol) {
        self.protocols.insert(protocol);
        self.last = Some(protocol);
    }

    /// Ends the walk at a header that cannot be.
    fn broken(&mut self) -> Next<'p> {
        self.oddities |= BROKEN;
        None
    }

    /// A network header was met: the first is what filters see, the last is who talks.
    #[inline]
    fn network(&mut self, kind: u16, protocol: u8, source: Address, destination: Address) {
        if self.outer.is_none() {
            self.outer = Some(Outer { kind, source, destination, protocol, fragment_of: None, ports: None });
        } else {
            self.oddities |= TUNNELLED;
        }
        (self.source, self.destination) = (source, destination);
        (self.transport, self.ports, self.payload, self.tcp_flags) = (None, None, 0, 0);
    }
}

#[cfg(test)]
mod tests;
