//! How much our socket carried since the daemon began, as it is on the wire, by the address of ours that it went over:
//! whoever watches an interface can tell our own traffic from that of others. What never leaves the machine does not count.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Headers of Ethernet and UDP before each packet's content; those of IP differ.
const HEADERS: usize = 14 + 8;
const HEADER_V4: usize = 20;
const HEADER_V6: usize = 40;
/// Others of whom is known over which address of ours they are reached. Anybody can invent senders: beyond, it is found out
/// anew, by the next packet of each.
const OTHERS_MAX: usize = 1024;
/// Addresses of ours: with privacy extensions a new one every day.
const OURS_MAX: usize = 256;

/// Totals of each address of ours.
#[derive(Debug, Default)]
pub struct Carried(Mutex<Tables>);

#[derive(Debug, Default)]
struct Tables {
    totals: HashMap<IpAddr, Totals>,
    /// At which address of ours each other's packets arrive: what is sent to it leaves from there, unless the kernel is
    /// told otherwise, which nobody here does.
    reached: HashMap<IpAddr, IpAddr>,
}

/// What went over an address of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// What we sent.
    pub sent: Amount,
    /// What came.
    pub received: Amount,
}

/// Bytes, and the packets that they were in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Amount {
    /// With all headers.
    pub bytes: u64,
    /// On the wire.
    pub packets: u64,
}

impl Carried {
    /// What went over these addresses of ours together.
    pub fn over(&self, ours: &[IpAddr]) -> Totals {
        let tables = self.tables();
        let mut all = Totals::default();
        for totals in ours.iter().filter_map(|address| tables.totals.get(&address.to_canonical())) {
            all.sent.add(totals.sent);
            all.received.add(totals.received);
        }
        all
    }

    /// So many bytes went in packets of at most `segment`. Before anything came from there, nobody knows over which address.
    pub(super) fn add_sent(&self, to: IpAddr, bytes: usize, segment: usize) {
        let to = to.to_canonical();
        let Some(amount) = Amount::with_headers(to, bytes, segment) else { return };
        let mut tables = self.tables();
        if let Some(here) = tables.reached.get(&to).copied() {
            tables.of(here).sent.add(amount);
        }
    }

    /// So many bytes came in packets of at most `segment`, to this address of ours.
    pub(super) fn add_received(&self, from: IpAddr, here: IpAddr, bytes: usize, segment: usize) {
        let (from, here) = (from.to_canonical(), here.to_canonical());
        let Some(amount) = Amount::with_headers(from, bytes, segment) else { return };
        let mut tables = self.tables();
        if tables.reached.len() >= OTHERS_MAX && !tables.reached.contains_key(&from) {
            tables.reached.clear();
        }
        tables.reached.insert(from, here);
        tables.of(here).received.add(amount);
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    fn of(&mut self, here: IpAddr) -> &mut Totals {
        if self.totals.len() >= OURS_MAX && !self.totals.contains_key(&here) {
            self.totals.clear();
        }
        self.totals.entry(here).or_default()
    }
}

impl Amount {
    /// `None` for what stays on this machine.
    fn with_headers(other: IpAddr, bytes: usize, segment: usize) -> Option<Self> {
        let packets = bytes.div_ceil(segment.max(1));
        let header = HEADERS + if other.is_ipv4() { HEADER_V4 } else { HEADER_V6 };
        (!other.is_loopback()).then_some(Self { bytes: (bytes + packets * header) as u64, packets: packets as u64 })
    }

    const fn add(&mut self, more: Self) {
        self.bytes = self.bytes.saturating_add(more.bytes);
        self.packets = self.packets.saturating_add(more.packets);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const CABLE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    const AIR: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1));
    const ANNA: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    const BOB: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2));

    const fn amount(bytes: u64, packets: u64) -> Amount {
        Amount { bytes, packets }
    }

    #[test]
    fn each_packet_has_its_headers_and_loopback_is_no_network() {
        let (carried, here) = (Carried::default(), IpAddr::from(Ipv4Addr::LOCALHOST.to_ipv6_mapped()));

        carried.add_received(ANNA.to_ipv6_mapped().into(), CABLE, 100, 100);
        carried.add_sent(ANNA.into(), 2500, 1200);
        carried.add_received(here, here, 5000, 1200);
        carried.add_sent(here, 5000, 1200);
        carried.add_received(BOB, AIR, 1200, 1200);

        let all = carried.over(&[CABLE, AIR, here, Ipv4Addr::LOCALHOST.into()]);
        assert_eq!(all, Totals { sent: amount(2500 + 3 * 42, 3), received: amount(100 + 42 + 1200 + 62, 2) });
    }

    #[test]
    fn what_goes_over_one_address_is_not_told_of_another() {
        let carried = Carried::default();

        carried.add_sent(BOB, 7000, 1200);
        carried.add_received(BOB, AIR, 1200, 1200);
        carried.add_received(ANNA.into(), CABLE, 1200, 1200);
        carried.add_sent(BOB, 1000, 1200);

        assert_eq!(carried.over(&[AIR]), Totals { sent: amount(1062, 1), received: amount(1262, 1) });
        assert_eq!(carried.over(&[CABLE]), Totals { sent: Amount::default(), received: amount(1242, 1) });
        assert_eq!(carried.over(&[]), Totals::default());
    }

    #[test]
    fn invented_senders_push_each_other_out() {
        let carried = Carried::default();

        for number in 0..3 * OTHERS_MAX as u32 {
            carried.add_received(Ipv4Addr::from(0x0a00_0000 + number).into(), Ipv4Addr::from(number).into(), 10, 10);
        }

        let tables = carried.tables();
        assert!(tables.reached.len() <= OTHERS_MAX && tables.totals.len() <= OURS_MAX);
    }
}
