//! A device that this network did not have: a note, once the network is learnt.

use jiff::Timestamp;
use sharekaro_proto::control::net::{AnomalyKind, Severity};

use super::{Profiles, event::Event, finding};
use crate::monitor::detect::finding::Finding;

pub(super) fn judge(profiles: &mut Profiles, event: &Event, now: Timestamp) -> Option<Finding> {
    // Before the gateway was heard nobody knows whose network this is, and who is new to it.
    if profiles.gateway().is_some() && profiles.here_for(now).is_none() {
        return None;
    }
    let (address, mac) = match event {
        Event::Neighbour(address, mac) | Event::Claim(address, mac) | Event::DhcpServer(address, mac) => (address.to_string(), *mac),
        Event::OurAddress(_, mac) => {
            profiles.here(now).meet(*mac, now);
            return None;
        }
        _ => return None,
    };
    let network = profiles.here(now);
    if !mac.is_single() || !network.meet(mac, now) || !network.is_learnt(now) {
        return None;
    }
    let known = network.devices.len() - 1;
    let explanation = format!("{mac} with {address} was not seen on this network before; {known} devices were");
    Some(finding(now, AnomalyKind::NewDevice, Severity::Info, mac, explanation))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::super::{Rules, testing::*};
    use super::*;

    fn ip(last: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, last).into()
    }

    #[test]
    fn a_device_is_new_once_and_only_after_the_network_is_learnt() {
        let mut rules = Rules::default();
        let start = [(0, Event::Gateway(ip(1))), (1, Event::Neighbour(ip(1), mac(1))), (5_000, Event::Neighbour(ip(2), mac(2)))];
        assert_eq!(kinds(&mut rules, start), []);

        assert_eq!(kinds(&mut rules, [(15_000, Event::Neighbour(ip(7), mac(7)))]), [(AnomalyKind::NewDevice, Severity::Info)]);
        let again = [
            (16_000, Event::Neighbour(ip(7), mac(7))),
            (17_000, Event::Neighbour(ip(2), mac(2))),
            (18_000, Event::Neighbour(ip(9), mac(7))),
        ];
        assert_eq!(kinds(&mut rules, again), []);
    }
}
