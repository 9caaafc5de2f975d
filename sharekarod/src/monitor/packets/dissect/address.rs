//! Who sends and who receives: an IP address where there is one, otherwise that of the link.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// An address in a packet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, PartialOrd, Ord)]
pub struct Address {
    kind: Kind,
    bits: u128,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, PartialOrd, Ord)]
#[repr(u8)]
enum Kind {
    #[default]
    None,
    Mac,
    V4,
    V6,
}

impl Address {
    #[inline]
    pub(crate) fn v4(bytes: [u8; 4]) -> Self {
        Self { kind: Kind::V4, bits: u128::from(u32::from_be_bytes(bytes)) }
    }

    #[inline]
    pub(crate) fn v6(bytes: [u8; 16]) -> Self {
        Self { kind: Kind::V6, bits: u128::from_be_bytes(bytes) }
    }

    #[inline]
    pub(crate) fn mac(bytes: [u8; 6]) -> Self {
        let [a, b, c, d, e, f] = bytes;
        Self { kind: Kind::Mac, bits: u128::from(u64::from_be_bytes([0, 0, a, b, c, d, e, f])) }
    }

    /// Whether the packet has no address at all here.
    pub fn is_none(self) -> bool {
        self.kind == Kind::None
    }

    /// As the standard library has it; `None` where it is no IP address.
    pub fn ip(self) -> Option<IpAddr> {
        match self.kind {
            Kind::V4 => Some(IpAddr::V4(Ipv4Addr::from_bits(self.v4_bits()))),
            Kind::V6 => Some(IpAddr::V6(Ipv6Addr::from_bits(self.bits))),
            Kind::None | Kind::Mac => None,
        }
    }

    /// A number that is equal for equal addresses and differs for most others.
    #[inline]
    pub(crate) fn folded(self) -> u64 {
        let (high, low) = ((self.bits >> 64) as u64, self.bits as u64);
        high.rotate_left(29) ^ low ^ (self.kind as u64) << 56
    }

    fn v4_bits(self) -> u32 {
        u32::try_from(self.bits).unwrap_or_default()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.ip(), self.kind) {
            (Some(address), _) => write!(f, "{address}"),
            (None, Kind::Mac) => {
                let [_, _, a, b, c, d, e, g] = u64::try_from(self.bits).unwrap_or_default().to_be_bytes();
                write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
            }
            (None, _) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_usual() {
        assert_eq!(Address::v4([10, 0, 0, 1]).to_string(), "10.0.0.1");
        assert_eq!(Address::v6([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]).to_string(), "fd00::1");
        assert_eq!(Address::mac([2, 0, 0, 0, 0, 0xab]).to_string(), "02:00:00:00:00:ab");
        assert_eq!(Address::default().to_string(), "");
    }
}
