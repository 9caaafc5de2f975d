//! A device that this network did not have: a note, once the network is learnt. Many of them at once are one note: whoever
//! invents addresses must not fill the list of what happened.

use jiff::Timestamp;
use sharekaro_proto::control::net::{AnomalyKind, Severity};

use super::{Lately, Profiles, event::Event, finding};
use crate::monitor::{detect::finding::Finding, mac::Mac};

/// More new devices than this in a minute are told together: a class that comes in is fewer, or is one anyway.
const SINGLY: usize = 20;
const MINUTE: i64 = 60;

#[derive(Clone, Debug, Default)]
pub(super) struct Devices {
    lately: Lately,
    /// Those that are told together.
    together: u64,
}

impl Devices {
    pub(super) fn push(&mut self, profiles: &mut Profiles, event: &Event, now: Timestamp) -> Option<Finding> {
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
        Some(self.note(mac, &address, network.devices.len() - 1, now))
    }

    fn note(&mut self, mac: Mac, address: &str, known: usize, now: Timestamp) -> Finding {
        self.lately.push(now);
        if self.lately.within(now, MINUTE) <= SINGLY {
            self.together = 0;
            let explanation = format!("{mac} with {address} was not seen on this network before; {known} devices were");
            return finding(now, AnomalyKind::NewDevice, Severity::Info, mac, explanation);
        }
        self.together += 1;
        let explanation = format!(
            "{} devices, and {SINGLY} before them, were not seen on this network before; the latest is {mac} with {address}. So many at \
             once are a crowd that came in, or somebody who invents addresses",
            self.together
        );
        finding(now, AnomalyKind::NewDevice, Severity::Info, "", explanation).weighing(self.together as f64)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{IpAddr, Ipv4Addr},
        sync::Arc,
    };

    use super::super::{Rules, testing::*};
    use super::*;
    use crate::monitor::detect::incidents::{Change, Incidents};

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

    #[test]
    fn a_flood_of_invented_devices_is_one_note_with_their_number() {
        let (mut rules, mut incidents, eth0) = (Rules::default(), Incidents::default(), Arc::from("eth0"));
        kinds(&mut rules, [(0, Event::Gateway(ip(1))), (1, Event::Neighbour(ip(1), mac(1)))]);

        let mut told = 0;
        for number in 0..9000_u16 {
            let [a, b] = number.to_be_bytes();
            let now = at(15_000 + i64::from(number) * 10);
            for finding in rules.push(&Event::Claim(ip(7), Mac([2, 7, 7, 7, a, b])), now) {
                told += usize::from(!matches!(incidents.push(&eth0, finding), Change::Lasts));
            }
        }

        let devices: Vec<_> = incidents.iter().filter(|anomaly| anomaly.kind == AnomalyKind::NewDevice).collect();
        assert_eq!(devices.len(), SINGLY + 1, "{told} were told");
        assert!(devices[SINGLY].explanation.starts_with("8980 devices, and 20 before them"), "{}", devices[SINGLY].explanation);

        let later = at(400_000);
        let one = rules.push(&Event::Claim(ip(8), Mac([2, 8, 8, 8, 8, 8])), later);
        assert!(one.iter().any(|finding| finding.subject == "02:08:08:08:08:08"), "{one:?}");
    }
}
