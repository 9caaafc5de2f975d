//! Who else says what only one should: our own address, DHCP, name servers.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use jiff::Timestamp;
use sharekaro_proto::control::net::{AnomalyKind, Severity};

use super::{Belonging, Profiles, event::Event, finding, profile::SETTLING};
use crate::monitor::{detect::finding::Finding, mac::Mac};

/// An interface has a handful of addresses.
const MOST_ADDRESSES: usize = 64;

#[derive(Clone, Debug, Default)]
pub(super) struct Claims {
    ours: BTreeMap<IpAddr, Mac>,
}

impl Claims {
    pub(super) fn push(&mut self, profiles: &mut Profiles, event: &Event, now: Timestamp) -> Option<Finding> {
        match event {
            Event::OurAddress(address, mac) => {
                if self.ours.len() >= MOST_ADDRESSES {
                    self.ours.clear();
                }
                self.ours.insert(*address, *mac);
                None
            }
            Event::LinkUp => {
                self.ours.clear();
                None
            }
            Event::Claim(address, mac) => self.claimed(*address, *mac, now),
            Event::DhcpServer(server, mac) => dhcp(profiles, *server, *mac, now),
            Event::NameServers(servers) => dns(profiles, servers, now),
            _ => None,
        }
    }

    fn claimed(&self, address: IpAddr, mac: Mac, now: Timestamp) -> Option<Finding> {
        let ours = self.ours.get(&address).filter(|ours| **ours != mac && !address.is_unspecified())?;
        let explanation = format!("{mac} says that it has our address {address}; we are {ours}");
        Some(finding(now, AnomalyKind::AddressConflict, Severity::High, address, explanation))
    }
}

fn dhcp(profiles: &mut Profiles, server: IpAddr, mac: Mac, now: Timestamp) -> Option<Finding> {
    let network = profiles.here(now);
    if network.dhcp_servers.is_empty() {
        network.dhcp_servers.insert(server);
    }
    if network.dhcp_servers.contains(&server) {
        return None;
    }
    let known = list(&network.dhcp_servers);
    let explanation = format!("{server} ({mac}) answers for DHCP; this network's server was {known}");
    let belonging = Belonging::DhcpServer(network.id, server);
    Some(finding(now, AnomalyKind::SecondDhcpServer, Severity::Critical, server, explanation).teaching(belonging))
}

/// Told only when we are here for a while: the file of name servers and the route change one after the other.
fn dns(profiles: &mut Profiles, servers: &[IpAddr], now: Timestamp) -> Option<Finding> {
    profiles.here_for(now).filter(|seconds| *seconds >= SETTLING)?;
    let network = profiles.here(now);
    let servers: BTreeSet<IpAddr> = servers.iter().copied().collect();
    if network.name_servers.is_empty() {
        network.name_servers = servers;
        return None;
    }
    let new: BTreeSet<IpAddr> = servers.difference(&network.name_servers).copied().collect();
    if new.is_empty() {
        return None;
    }
    let explanation = format!("names are asked at {}; this network's servers were {}", list(&new), list(&network.name_servers));
    let belonging = Belonging::NameServers(network.id, servers);
    Some(finding(now, AnomalyKind::DnsChanged, Severity::High, list(&new), explanation).teaching(belonging))
}

fn list(addresses: &BTreeSet<IpAddr>) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::{Rules, testing::*};
    use super::*;

    const fn v4(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, last)
    }

    fn ip(last: u8) -> IpAddr {
        v4(last).into()
    }

    fn settled() -> Rules {
        let mut rules = Rules::default();
        let start =
            [(0, Event::LinkUp), (1, Event::Gateway(ip(1))), (2, Event::Neighbour(ip(1), mac(1))), (3, Event::OurAddress(ip(5), mac(5)))];
        assert_eq!(kinds(&mut rules, start), []);
        rules
    }

    #[test]
    fn our_address_at_another_machine_is_a_conflict() {
        let found = kinds(&mut settled(), [(9_000, Event::Claim(ip(5), mac(6)))]);

        assert_eq!(found, [(AnomalyKind::AddressConflict, Severity::High)]);
        assert_eq!(
            kinds(&mut settled(), [(9_000, Event::Claim(ip(5), mac(5))), (9_001, Event::Claim(Ipv4Addr::UNSPECIFIED.into(), mac(6)))]),
            []
        );
    }

    #[test]
    fn the_first_dhcp_server_is_learnt_and_the_second_is_critical() {
        let mut rules = settled();

        assert_eq!(kinds(&mut rules, [(1_000, Event::DhcpServer(ip(1), mac(1))), (2_000, Event::DhcpServer(ip(1), mac(1)))]), []);
        let found = kinds(&mut rules, [(2_200, Event::DhcpServer(ip(66), mac(66)))]);
        assert_eq!(found, [(AnomalyKind::SecondDhcpServer, Severity::Critical)]);
    }

    #[test]
    fn names_asked_elsewhere_are_told_once_the_network_is_known() {
        let mut rules = settled();
        let asked = |millis, last| (millis, Event::NameServers(vec![ip(last)]));

        assert_eq!(kinds(&mut rules, [asked(5_000, 200), asked(15_000, 1), asked(20_000, 1)]), []);
        assert_eq!(kinds(&mut rules, [asked(25_000, 66)]), [(AnomalyKind::DnsChanged, Severity::High)]);
    }

    #[test]
    fn name_servers_that_somebody_approves_belong_to_the_network_beside_those_before() {
        let mut rules = settled();
        let asked = |millis, last| (millis, Event::NameServers(vec![ip(last)]));
        kinds(&mut rules, [asked(15_000, 1)]);
        let found = rules.push(&asked(0, 66).1, at(20_000));
        let super::super::Lesson::Belongs(belonging) = &found[0].lesson else { panic!("{found:?}") };

        rules.accept(belonging);

        assert_eq!(kinds(&mut rules, [asked(25_000, 66), asked(30_000, 1), asked(35_000, 66)]), []);
        assert_eq!(kinds(&mut rules, [asked(40_000, 99)]), [(AnomalyKind::DnsChanged, Severity::High)]);
    }

    #[test]
    fn another_network_has_its_own_name_servers() {
        let mut rules = settled();
        kinds(&mut rules, [(15_000, Event::NameServers(vec![ip(1)]))]);

        let cafe = [
            (30_000, Event::LinkUp),
            (30_001, Event::Gateway(ip(254))),
            (30_002, Event::Neighbour(ip(254), mac(99))),
            (31_000, Event::NameServers(vec![ip(1)])),
            (45_000, Event::NameServers(vec![ip(254)])),
        ];

        assert_eq!(kinds(&mut rules, cafe), []);
    }
}
