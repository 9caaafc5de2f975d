//! Filters in the words of pcap-filter(7): which packets are meant.
//!
//! `tcp and src net 10.0.0.0/8 and not port 22`. As there, `and` and `or` bind equally, from left to right; addresses,
//! ports and the protocols of IP are looked for in the outermost IP packet. Unlike there, tags, labels and sessions before
//! that packet are passed, as the kernel has often taken them off; and any protocol that we tell apart is a word, which
//! looks into tunnels. Names of hosts are refused: looking them up would send packets.

mod bpf;
mod lex;
mod notable;
mod parse;

use std::{fmt, net::IpAddr};

use super::dissect::{Dissection, address::Address, protocol::Protocol};

pub use self::{
    bpf::{Instruction, KernelFilter},
    notable::notable,
};

/// A longer text is not a person's.
pub const FILTER_BYTES_MAX: usize = 4096;

/// Which packets are meant.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter(Node);

/// A text that is no filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot understand the filter at character {place}: {what}")]
pub struct FilterError {
    /// Which character, counted from 1.
    pub place: usize,
    /// What is wrong there.
    pub what: String,
}

/// A part of a filter.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Test(Test),
}

/// One question about a packet.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Test {
    /// The outermost network header is of this Ethernet type.
    Kind(u16),
    /// The outermost IP header is followed by this protocol.
    Carries(u8, Versions),
    /// The protocol is somewhere in it.
    Holds(Protocol),
    /// One of the addresses is within.
    Within(Side, Net, Kinds),
    /// One of the ports is within, of these protocols.
    Port(Side, u16, u16, Carriers),
    /// Its length on the wire.
    Length(u32, u32),
}

/// Which IP versions are asked.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Versions {
    Four,
    Six,
    Both,
}

/// Which of the two addresses or ports.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Side {
    Source,
    Destination,
    Either,
    Both,
}

/// Which headers are asked for addresses: `None` is all that have some.
type Kinds = Option<u16>;

/// Which protocols are asked for ports: `None` is all that have some.
type Carriers = Option<u8>;

/// Addresses with a common beginning.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Net {
    address: IpAddr,
    prefix: u8,
}

const V4: u16 = 0x0800;
const V6: u16 = 0x86dd;
const ARP: u16 = 0x0806;
const RARP: u16 = 0x8035;

impl Filter {
    /// The filter that this text is; an empty one means every packet.
    ///
    /// # Errors
    /// Where it is none, with the place.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        if text.len() > FILTER_BYTES_MAX {
            return Err(FilterError { place: FILTER_BYTES_MAX, what: format!("it is longer than {FILTER_BYTES_MAX} bytes") });
        }
        parse::parse(&lex::tokens(text)?, text.chars().count() + 1).map(Self)
    }

    /// Whether the packet is meant.
    #[inline]
    pub fn matches(&self, dissection: &Dissection<'_>, length: u32) -> bool {
        self.0.matches(dissection, length)
    }
}

impl Node {
    fn matches(&self, d: &Dissection<'_>, length: u32) -> bool {
        match self {
            Self::All(nodes) => nodes.iter().all(|node| node.matches(d, length)),
            Self::Any(nodes) => nodes.iter().any(|node| node.matches(d, length)),
            Self::Not(node) => !node.matches(d, length),
            Self::Test(test) => test.matches(d, length),
        }
    }
}

impl Test {
    #[inline]
    fn matches(self, d: &Dissection<'_>, length: u32) -> bool {
        let Some(outer) = &d.outer else {
            return match self {
                Self::Holds(protocol) => d.protocols.contains(protocol),
                Self::Length(min, max) => (min..=max).contains(&length),
                _ => false,
            };
        };
        match self {
            Self::Kind(kind) => outer.kind == kind,
            Self::Carries(number, versions) => {
                let four = outer.kind == V4 && versions != Versions::Six && outer.protocol == number;
                let six = outer.kind == V6 && versions != Versions::Four;
                four || six && (outer.protocol == number || outer.fragment_of == Some(number))
            }
            Self::Holds(protocol) => d.protocols.contains(protocol),
            Self::Within(side, net, kinds) => {
                kinds.is_none_or(|kind| kind == outer.kind) && side.holds(net.holds(outer.source), || net.holds(outer.destination))
            }
            Self::Port(side, from, to, carriers) => {
                carriers.is_none_or(|number| number == outer.protocol)
                    && outer.ports.is_some_and(|(source, destination)| {
                        side.holds((from..=to).contains(&source), || (from..=to).contains(&destination))
                    })
            }
            Self::Length(min, max) => (min..=max).contains(&length),
        }
    }
}

impl Side {
    #[inline]
    fn holds(self, source: bool, destination: impl FnOnce() -> bool) -> bool {
        match self {
            Self::Source => source,
            Self::Destination => destination(),
            Self::Either => source || destination(),
            Self::Both => source && destination(),
        }
    }
}

impl Net {
    #[inline]
    fn holds(self, address: Address) -> bool {
        match (self.address, address.ip()) {
            (IpAddr::V4(net), Some(IpAddr::V4(address))) => (net.to_bits() ^ address.to_bits()) & self.mask_4() == 0,
            (IpAddr::V6(net), Some(IpAddr::V6(address))) => (net.to_bits() ^ address.to_bits()) & self.mask_6() == 0,
            _ => false,
        }
    }

    fn mask_4(self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix.min(32))).unwrap_or(0)
    }

    fn mask_6(self) -> u128 {
        u128::MAX.checked_shl(128 - u32::from(self.prefix.min(128))).unwrap_or(0)
    }
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests;
