//! Whose hardware address has the gateway? Each network remembers it, as the kernel forgets it with every disconnect.

use jiff::Timestamp;
use sharekaro_proto::control::net::{AnomalyKind, Severity};

use super::{Belonging, Lately, Profiles, event::Event, finding};
use crate::monitor::{detect::finding::Finding, mac::Mac};

/// There and back within so many seconds is two machines that answer.
const FLIP_FLOP: i64 = 60;

#[derive(Clone, Debug, Default)]
pub(super) struct Gateway {
    last: Option<Mac>,
    changes: Lately,
}

impl Gateway {
    pub(super) fn push(&mut self, profiles: &mut Profiles, event: &Event, now: Timestamp) -> Vec<Finding> {
        let (address, mac) = match event {
            Event::Neighbour(address, mac) | Event::Claim(address, mac) => (*address, *mac),
            Event::LinkUp | Event::Gateway(_) => {
                self.last = None;
                return Vec::new();
            }
            _ => return Vec::new(),
        };
        if profiles.gateway() != Some(address) || !mac.is_single() || profiles.here_for(now).is_none() {
            return Vec::new();
        }
        if self.last.replace(mac).is_some_and(|last| last != mac) {
            self.changes.push(now);
        }
        let network = profiles.here(now);
        if network.gateways.is_empty() {
            network.gateways.insert(mac);
        }
        if network.gateways.contains(&mac) {
            return Vec::new();
        }
        let known = network.gateways.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let belonging = Belonging::Gateway(network.id, mac);
        let turns = self.changes.within(now, FLIP_FLOP);
        let explanation = format!("the gateway {address} answers with {mac}; it was {known}; {turns} changes in the last minute");
        let changed = finding(now, AnomalyKind::GatewayChanged, Severity::Critical, "", explanation).weighing(turns as f64);
        let twin = twin(profiles, mac, now);
        if let Some((name, point)) = twin.is_some().then(|| profiles.stranger(now)).flatten().map(|(point, name)| (name.clone(), point)) {
            profiles.forget_point(&name, point);
        }
        std::iter::once(changed.teaching(belonging)).chain(twin).collect()
    }
}

/// An unknown access point, and behind it another gateway: somebody built this network a second time.
fn twin(profiles: &Profiles, gateway: Mac, now: Timestamp) -> Option<Finding> {
    let (point, name) = profiles.stranger(now)?;
    let explanation = format!("{:?} stands at {point}, a new access point, and behind it another gateway ({gateway})", name.as_str());
    let belonging = Belonging::AccessPoint(name.clone(), point, None);
    Some(finding(now, AnomalyKind::EvilTwin, Severity::Critical, point, explanation).weighing(1.0).teaching(belonging))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::super::{Rules, event::*, testing::*};
    use super::*;

    const V4: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
    const GATEWAY: IpAddr = IpAddr::V4(V4);

    fn settled() -> Rules {
        let mut rules = Rules::default();
        let start = [
            (0, Event::LinkUp),
            (1, Event::Gateway(GATEWAY)),
            (2, Event::Neighbour(GATEWAY, mac(1))),
            (3_000, Event::Neighbour(GATEWAY, mac(1))),
        ];
        assert_eq!(kinds(&mut rules, start), []);
        rules
    }

    #[test]
    fn another_hardware_address_within_one_association_is_critical() {
        let found = kinds(&mut settled(), [(9_000, Event::Neighbour(GATEWAY, mac(2)))]);
        assert_eq!(found, [(AnomalyKind::GatewayChanged, Severity::Critical)]);

        let found = kinds(&mut settled(), [(9_000, Event::Claim(GATEWAY, mac(2)))]);
        assert_eq!(found, [(AnomalyKind::GatewayChanged, Severity::Critical)]);
    }

    #[test]
    fn flip_flop_is_counted_in_the_explanation() {
        let mut rules = settled();
        let turns = [(0, 2), (300, 1), (600, 2), (900, 1), (1200, 2)];

        let last = turns.iter().flat_map(|(millis, last)| rules.push(&Event::Neighbour(GATEWAY, mac(*last)), at(9_000 + millis))).last();

        assert!(last.is_some_and(|finding| finding.explanation.contains("5 changes")));
    }

    #[test]
    fn the_same_gateway_forgotten_and_found_again_is_silent() {
        let again = [(9_000, Event::LinkUp), (9_100, Event::Gateway(GATEWAY)), (9_200, Event::Neighbour(GATEWAY, mac(1)))];

        assert_eq!(kinds(&mut settled(), again), []);
        assert_eq!(kinds(&mut settled(), [(9_000, Event::Neighbour(IpAddr::V4(Ipv4Addr::new(10, 9, 0, 7)), mac(1)))]), []);
    }

    #[test]
    fn a_twin_with_the_right_key_betrays_itself_by_its_gateway() {
        let mut rules = Rules::default();
        let start = [(0, Event::Connected(home(1, Security::Wpa2))), (1, Event::Gateway(GATEWAY)), (2, Event::Neighbour(GATEWAY, mac(1)))];
        kinds(&mut rules, start);

        let twin = [
            (60_000, Event::Disconnected),
            (61_000, Event::Connected(home(2, Security::Wpa2))),
            (61_001, Event::LinkUp),
            (61_002, Event::Gateway(GATEWAY)),
            (62_000, Event::Neighbour(GATEWAY, mac(2))),
        ];

        let found = kinds(&mut rules, twin);
        assert!(found.contains(&(AnomalyKind::EvilTwin, Severity::Critical)), "{found:?}");
        assert!(found.contains(&(AnomalyKind::GatewayChanged, Severity::Critical)), "{found:?}");

        // It was taken for a further access point at first; by now it is none of ours.
        let again = kinds(&mut rules, [(90_000, Event::Disconnected), (91_000, Event::Connected(home(2, Security::Wpa2)))]);
        assert_eq!(again, [(AnomalyKind::EvilTwin, Severity::Info)]);
    }
}
