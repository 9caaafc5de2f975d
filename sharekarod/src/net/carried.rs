//! How much our socket carried since the daemon began, as it is on the wire: whoever watches the network can tell our own
//! traffic from that of others. What never leaves the machine does not count.

use std::{
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering},
};

/// Headers of Ethernet and UDP before each packet's content; those of IP differ.
const HEADERS: usize = 14 + 8;
const HEADER_V4: usize = 20;
const HEADER_V6: usize = 40;

/// Totals, each way.
#[derive(Debug, Default)]
pub struct Carried {
    sent: Way,
    received: Way,
}

#[derive(Debug, Default)]
struct Way {
    bytes: AtomicU64,
    packets: AtomicU64,
}

impl Carried {
    /// Bytes and packets sent.
    pub fn sent(&self) -> (u64, u64) {
        self.sent.totals()
    }

    /// Bytes and packets received.
    pub fn received(&self) -> (u64, u64) {
        self.received.totals()
    }

    pub(super) fn add_sent(&self, to: IpAddr, bytes: usize, segment: usize) {
        self.sent.add(to, bytes, segment);
    }

    pub(super) fn add_received(&self, from: IpAddr, bytes: usize, segment: usize) {
        self.received.add(from, bytes, segment);
    }
}

impl Way {
    /// So many bytes in packets of at most `segment`.
    fn add(&self, other: IpAddr, bytes: usize, segment: usize) {
        if other.to_canonical().is_loopback() {
            return;
        }
        let packets = bytes.div_ceil(segment.max(1));
        let header = HEADERS + if other.to_canonical().is_ipv4() { HEADER_V4 } else { HEADER_V6 };
        self.bytes.fetch_add((bytes + packets * header) as u64, Ordering::Relaxed);
        self.packets.fetch_add(packets as u64, Ordering::Relaxed);
    }

    fn totals(&self) -> (u64, u64) {
        (self.bytes.load(Ordering::Relaxed), self.packets.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    #[test]
    fn each_packet_has_its_headers_and_loopback_is_no_network() {
        let carried = Carried::default();
        let v4 = Ipv4Addr::new(10, 0, 0, 2);

        carried.add_sent(v4.into(), 2500, 1200);
        carried.add_sent(v4.to_ipv6_mapped().into(), 100, 100);
        carried.add_sent(Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(), 5000, 1200);
        carried.add_received(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1).into(), 1200, 1200);

        assert_eq!(carried.sent(), (2600 + 4 * 42, 4));
        assert_eq!(carried.received(), (1200 + 62, 1));
    }
}
