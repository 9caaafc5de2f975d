//! Thrown out, forged, roaming to and fro, beacons lost, channel changed: what the link to the access point tells.
//!
//! Where management frames are protected, a frame without protection is proof. Without, a forged one is like a real
//! one; only that they come in numbers tells. An access point that begins anew forgets the protection, too: where its
//! beacons stayed out before such a frame, only a link that survives it is proof.

use jiff::Timestamp;
use sharekaro_proto::control::net::{AnomalyKind, Severity};

use super::{Lately, event::Event, finding};
use crate::monitor::{detect::finding::Finding, mac::Mac};

/// Twice in so many seconds, or five times in ten minutes, is no coincidence.
const BURST: (usize, i64) = (2, 10);
const SERIES: (usize, i64) = (5, 600);
const ROAMS: (usize, i64) = (4, 600);
/// There and back within this.
const RETURN: i64 = 60;
const SWITCHES: (usize, i64) = (3, 3600);
/// Seconds for which an access point that fell silent may have begun anew.
const SILENT: i64 = 10;
/// A station that asks its access point whether a farewell is meant (SA query) has given up after a second.
const SURVIVED: i64 = 3;

#[derive(Clone, Debug, Default)]
pub(super) struct Association {
    thrown_out: Lately,
    forged: Lately,
    /// Beacons of a usual second, and when they stayed out.
    beacons: u64,
    silent: Option<Timestamp>,
    /// Since when it is open whether somebody forges or the access point began anew.
    doubted: Option<Timestamp>,
    roams: Lately,
    switches: Lately,
    /// The access points of late, newest last.
    path: Vec<(Timestamp, Mac)>,
    connected: bool,
}

impl Association {
    pub(super) fn push(&mut self, event: &Event, now: Timestamp) -> Option<Finding> {
        match event {
            Event::Deauthenticated { reason, broadcast } => Some(self.deauthenticated(*reason, *broadcast, now)),
            Event::Forged => self.forged(now),
            Event::Connected(point) => self.connected(point.address, now),
            Event::Disconnected => {
                (self.connected, self.beacons) = (false, 0);
                self.doubted.take().map(|_| forgotten(now))
            }
            Event::BeaconsLost => {
                self.silent = Some(now);
                self.connected.then(|| beacons_lost(now))
            }
            Event::Radio(radio) => self.second(radio.beacons, now),
            Event::ChannelSwitch { frequency } => Some(self.switched(*frequency, now)),
            _ => None,
        }
    }

    fn deauthenticated(&mut self, reason: u16, broadcast: bool, now: Timestamp) -> Finding {
        self.thrown_out.push(now);
        if broadcast {
            // One that is meant for everybody is what attackers send.
            self.thrown_out.push(now);
        }
        let (burst, series) = (self.thrown_out.within(now, BURST.1), self.thrown_out.within(now, SERIES.1));
        let many = burst >= BURST.0 || series >= SERIES.0;
        let severity = if many { Severity::High } else { Severity::Low };
        let whom = if broadcast { "everybody was" } else { "we were" };
        let explanation =
            format!("{whom} thrown out in the access point's name, reason {reason}: {burst} times in 10 s, {series} in 10 min");
        finding(now, AnomalyKind::Deauthentication, severity, "", explanation).weighing(series as f64)
    }

    fn forged(&mut self, now: Timestamp) -> Option<Finding> {
        self.forged.push(now);
        if self.silent.is_some_and(|since| now.duration_since(since).as_secs() < SILENT) {
            self.doubted.get_or_insert(now);
            return None;
        }
        Some(self.proof(now))
    }

    /// The link still stands.
    fn second(&mut self, beacons: Option<u64>, now: Timestamp) -> Option<Finding> {
        let beacons = beacons.unwrap_or(self.beacons);
        self.beacons = self.beacons.max(beacons);
        // Three of ten: a restart can be that short, and a busy second loses one.
        if beacons * 4 < self.beacons * 3 {
            self.silent = Some(now);
        }
        self.doubted.take_if(|since| now.duration_since(*since).as_secs() >= SURVIVED).map(|_| self.proof(now))
    }

    fn proof(&self, now: Timestamp) -> Finding {
        let count = self.forged.within(now, SERIES.1);
        let explanation =
            format!("{count} deauthentication frames in 10 min without the protection that our access point uses: somebody forges them");
        finding(now, AnomalyKind::ForgedDeauthentication, Severity::Critical, "", explanation).weighing(count as f64)
    }

    fn connected(&mut self, address: Mac, now: Timestamp) -> Option<Finding> {
        self.connected = true;
        if self.path.last().is_some_and(|(_, last)| *last == address) {
            return None;
        }
        let first = self.path.is_empty();
        self.path.push((now, address));
        if self.path.len() > 4 {
            self.path.remove(0);
        }
        if first {
            return None;
        }
        self.roams.push(now);
        let count = self.roams.within(now, ROAMS.1);
        let returned = self.returned(now);
        (returned || count >= ROAMS.0).then(|| {
            let explanation = format!("{count} changes of the access point in 10 min, the last to {address}");
            finding(now, AnomalyKind::RoamFlapping, Severity::Medium, "", explanation).weighing(count as f64)
        })
    }

    /// A, B, A, B within a minute.
    fn returned(&self, now: Timestamp) -> bool {
        let [(since, a), (_, b), (_, c), (_, d)] = self.path[..] else { return false };
        a == c && b == d && now.duration_since(since).as_secs() <= RETURN
    }

    fn switched(&mut self, frequency: u32, now: Timestamp) -> Finding {
        // The announcement and the switch itself are one.
        if self.switches.within(now, 3) == 0 {
            self.switches.push(now);
        }
        let count = self.switches.within(now, SWITCHES.1);
        let severity = if count >= SWITCHES.0 { Severity::Medium } else { Severity::Info };
        let explanation = format!("the access point goes to {frequency} MHz; {count} switches in the last hour");
        finding(now, AnomalyKind::ChannelSwitch, severity, "", explanation).weighing(count as f64)
    }
}

fn forgotten(now: Timestamp) -> Finding {
    let explanation = "the access point fell silent, and then it knew nothing of us any more: it began anew".to_owned();
    finding(now, AnomalyKind::Deauthentication, Severity::Low, "", explanation)
}

fn beacons_lost(now: Timestamp) -> Finding {
    let explanation = "no beacon of our access point is heard any more (it sends ten a second)".to_owned();
    finding(now, AnomalyKind::BeaconLoss, Severity::Medium, "", explanation)
}

#[cfg(test)]
mod tests {
    use super::super::{Rules, event::*, testing::*};
    use super::*;

    const OUT: Event = Event::Deauthenticated { reason: 7, broadcast: false };

    #[test]
    fn one_deauthentication_is_odd_and_two_are_an_attack() {
        let mut rules = Rules::default();

        assert_eq!(kinds(&mut rules, [(0, OUT)]), [(AnomalyKind::Deauthentication, Severity::Low)]);
        assert_eq!(kinds(&mut rules, [(400, OUT)]), [(AnomalyKind::Deauthentication, Severity::High)]);
        let broadcast = Event::Deauthenticated { reason: 7, broadcast: true };
        assert_eq!(kinds(&mut Rules::default(), [(0, broadcast)]), [(AnomalyKind::Deauthentication, Severity::High)]);
    }

    #[test]
    fn one_frame_without_protection_is_proof() {
        assert_eq!(kinds(&mut Rules::default(), [(0, Event::Forged)]), [(AnomalyKind::ForgedDeauthentication, Severity::Critical)]);
    }

    #[test]
    fn an_access_point_that_begins_anew_forges_nothing() {
        let second = |beacons| Event::Radio(Radio { beacons: Some(beacons), ..Radio::default() });
        let restart = [(0, second(10)), (1_000, second(10)), (2_000, second(1)), (2_500, Event::Forged), (2_600, Event::Forged)];

        let mut rules = Rules::default();
        assert_eq!(kinds(&mut rules, restart.clone()), []);
        assert_eq!(kinds(&mut rules, [(3_600, Event::Disconnected)]), [(AnomalyKind::Deauthentication, Severity::Low)]);

        // Whoever uses a silence to forge is found by the link that stands.
        let mut rules = Rules::default();
        assert_eq!(kinds(&mut rules, restart), []);
        let standing = [(3_000, second(10)), (5_600, second(10)), (6_600, second(10))];
        assert_eq!(kinds(&mut rules, standing), [(AnomalyKind::ForgedDeauthentication, Severity::Critical)]);
    }

    #[test]
    fn to_and_fro_is_flapping_and_a_walk_through_the_house_is_not() {
        let to = |last| Event::Connected(home(last, Security::Wpa2));
        let mut rules = Rules::default();
        kinds(&mut rules, [(0, to(1)), (600_000, to(2)), (1_200_000, to(1))]);

        let back = kinds(&mut rules, [(2_400_000, to(2)), (2_410_000, to(1)), (2_420_000, to(2)), (2_430_000, to(1))]);
        assert!(back.contains(&(AnomalyKind::RoamFlapping, Severity::Medium)));

        let mut walk = Rules::default();
        let steps = [(0, to(1)), (300_000, to(2)), (900_000, to(1)), (1_500_000, to(2))];
        assert!(!kinds(&mut walk, steps).iter().any(|(kind, _)| *kind == AnomalyKind::RoamFlapping));
    }

    #[test]
    fn lost_beacons_are_told_while_connected_only() {
        let mut rules = Rules::default();

        assert_eq!(kinds(&mut rules, [(0, Event::BeaconsLost)]), []);
        let found = kinds(&mut rules, [(1, Event::Connected(home(1, Security::Wpa2))), (9_000, Event::BeaconsLost)]);
        assert_eq!(found, [(AnomalyKind::BeaconLoss, Severity::Medium)]);
    }

    #[test]
    fn a_channel_switch_is_a_note_and_three_in_an_hour_are_not() {
        let switch = |minute: i64| (minute * 60_000, Event::ChannelSwitch { frequency: 2437 });
        let found = kinds(&mut Rules::default(), [switch(0), (400, Event::ChannelSwitch { frequency: 2437 }), switch(10), switch(20)]);

        assert_eq!(
            found.iter().map(|(_, severity)| *severity).collect::<Vec<_>>(),
            [Severity::Info, Severity::Info, Severity::Info, Severity::Medium]
        );
    }
}
