//! Somebody tries our ports: many different ones from one address, or, where nobody sees addresses, a burst of refusals.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use jiff::Timestamp;
use sharekaro_proto::control::net::{AnomalyKind, Severity};

use super::{event::Event, finding};
use crate::monitor::detect::finding::Finding;

/// So many ports of ours from one address in five minutes: Zeek's default for one host.
const PORTS: usize = 15;
const WINDOW: i64 = 300;
/// Addresses that are remembered; a flood of invented ones pushes the table out, not the memory up.
const MOST_SOURCES: usize = 1024;
const MOST_PORTS: usize = 1024;
/// Refusals a second, and so many times the largest second of the last hours.
const REFUSED: f64 = 20.0;
const TIMES: f64 = 3.0;
/// The largest second fades to a third in an hour.
const FORGETTING: f64 = 1.0 / 3600.0;

#[derive(Clone, Debug)]
struct Source {
    since: Timestamp,
    ports: HashSet<u16>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Scan {
    sources: HashMap<IpAddr, Source>,
    most_refused: f64,
}

impl Scan {
    pub(super) fn push(&mut self, event: &Event, now: Timestamp) -> Option<Finding> {
        match event {
            Event::Tried(source, port) => self.tried(*source, *port, now),
            Event::Refused(count) => self.refused(*count as f64, now),
            _ => None,
        }
    }

    fn tried(&mut self, address: IpAddr, port: u16, now: Timestamp) -> Option<Finding> {
        if self.sources.len() >= MOST_SOURCES && !self.sources.contains_key(&address) {
            self.sources.retain(|_, source| now.duration_since(source.since).as_secs() < WINDOW);
            if self.sources.len() >= MOST_SOURCES {
                self.sources.clear();
            }
        }
        let source = self.sources.entry(address).or_insert_with(|| Source { since: now, ports: HashSet::new() });
        if now.duration_since(source.since).as_secs() >= WINDOW {
            *source = Source { since: now, ports: HashSet::new() };
        }
        let new = source.ports.len() < MOST_PORTS && source.ports.insert(port);
        let (count, seconds) = (source.ports.len(), now.duration_since(source.since).as_secs_f64().max(1.0));
        (new && count >= PORTS).then(|| {
            let explanation = format!("{address} tried {count} different ports of ours in {seconds:.0} s");
            finding(now, AnomalyKind::PortScan, Severity::High, "", explanation).weighing(1e6 + count as f64)
        })
    }

    fn refused(&mut self, count: f64, now: Timestamp) -> Option<Finding> {
        let usual = self.most_refused;
        self.most_refused = usual.max(count) * (1.0 - FORGETTING);
        (count >= REFUSED && count >= usual * TIMES).then(|| {
            let explanation = format!("we refused {count:.0} connections in a second; the most in the last hours was {usual:.0}");
            finding(now, AnomalyKind::PortScan, Severity::Medium, "", explanation).weighing(count)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Rules, testing::*};
    use super::*;

    const MALLORY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 66));

    #[test]
    fn many_ports_from_one_address_are_a_scan() {
        let found = kinds(&mut Rules::default(), (1..=15).map(|port| (i64::from(port) * 10, Event::Tried(MALLORY, port))));

        assert_eq!(found, [(AnomalyKind::PortScan, Severity::High)]);
    }

    #[test]
    fn the_same_ports_again_and_slow_ones_are_none() {
        let same = (0..500).map(|number| (number * 10, Event::Tried(MALLORY, 1 + (number % 10) as u16)));
        assert_eq!(kinds(&mut Rules::default(), same), []);

        let slow = (0..100).map(|number| (number * 60_000, Event::Tried(MALLORY, number as u16)));
        assert_eq!(kinds(&mut Rules::default(), slow), []);
    }

    #[test]
    fn a_burst_of_refusals_is_a_scan_though_nobody_saw_the_source() {
        let calm = (0..60).map(|second| (second * 1000, Event::Refused(second as u64 % 4)));
        let mut rules = Rules::default();

        assert_eq!(kinds(&mut rules, calm), []);
        assert_eq!(kinds(&mut rules, [(60_000, Event::Refused(90))]), [(AnomalyKind::PortScan, Severity::Medium)]);
    }

    #[test]
    fn invented_addresses_do_not_fill_the_memory() {
        let mut scan = Scan::default();
        for number in 0..100_000u32 {
            scan.push(&Event::Tried(IpAddr::V4(number.into()), 80), at(i64::from(number)));
        }

        assert!(scan.sources.len() <= MOST_SOURCES);
    }
}
