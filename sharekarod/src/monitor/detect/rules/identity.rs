//! Is the access point whose it says? A known name at a new access point, or with weaker protection than before.

use jiff::Timestamp;
use sharekaro_proto::control::net::{AnomalyKind, Severity};

use super::{
    Belonging, Profiles,
    event::{AccessPoint, Event},
    finding,
};
use crate::monitor::detect::finding::Finding;

#[derive(Clone, Debug, Default)]
pub(super) struct Identity {
    /// With what we are associated, as it was when we came.
    ours: Option<AccessPoint>,
}

impl Identity {
    pub(super) fn push(&mut self, profiles: &mut Profiles, event: &Event, now: Timestamp) -> Vec<Finding> {
        match event {
            Event::Connected(point) if self.ours.as_ref().is_some_and(|ours| ours.address == point.address && ours.name == point.name) => {
                // One access point cannot be two: whoever says something else under its address is another.
                self.heard(profiles, point, now).into_iter().collect()
            }
            Event::Connected(point) => {
                self.ours = Some(point.clone());
                connected(profiles, point, now)
            }
            Event::Disconnected => {
                self.ours = None;
                Vec::new()
            }
            Event::Heard(point) => self.heard(profiles, point, now).into_iter().collect(),
            _ => Vec::new(),
        }
    }

    /// Only what a scan shows of a name that we know: another protection is what a twin betrays itself by, while ours
    /// stands. Without ours, a known access point may have changed.
    fn heard(&self, profiles: &Profiles, point: &AccessPoint, now: Timestamp) -> Option<Finding> {
        let explanation = weaker(profiles, point)?;
        let known = profiles.air(&point.name).is_some_and(|air| air.points.contains(&point.address));
        let ours = self.ours.as_ref().filter(|ours| ours.name == point.name);
        Some(match ours {
            Some(ours) if known => copy(point, ours, now),
            None if known => downgrade(point, explanation, now),
            _ => twin(point, true, false, 0, now),
        })
    }
}

fn connected(profiles: &mut Profiles, point: &AccessPoint, now: Timestamp) -> Vec<Finding> {
    let Some(air) = profiles.air(&point.name) else {
        profiles.learn_point(&point.name, point.address, point.security);
        return Vec::new();
    };
    let downgrade = weaker(profiles, point).map(|explanation| downgrade(point, explanation, now));
    if air.points.contains(&point.address) {
        return downgrade.into_iter().collect();
    }
    let same_maker = air.points.iter().any(|known| known.maker() == point.address.maker());
    let twin = twin(point, downgrade.is_some(), same_maker, air.points.len(), now);
    profiles.note_stranger(point.address, now);
    if twin.severity == Severity::Info {
        profiles.learn_point(&point.name, point.address, point.security);
    }
    std::iter::once(twin).chain(downgrade).collect()
}

fn weaker(profiles: &Profiles, point: &AccessPoint) -> Option<String> {
    let (before, now) = (profiles.air(&point.name)?.security?, point.security?);
    (now < before).then(|| format!("{:?} at {} has {}; it had {} before", point.name.as_str(), point.address, now.name(), before.name()))
}

fn downgrade(point: &AccessPoint, explanation: String, now: Timestamp) -> Finding {
    let belonging = Belonging::AccessPoint(point.name.clone(), point.address, point.security);
    finding(now, AnomalyKind::SecurityDowngrade, Severity::High, point.address, explanation).teaching(belonging)
}

/// Under an address that we know, while we are associated with what it should be.
fn copy(point: &AccessPoint, ours: &AccessPoint, now: Timestamp) -> Finding {
    let (name, address) = (point.name.as_str(), point.address);
    let security = |point: &AccessPoint| point.security.map_or("unknown protection", super::event::Security::name);
    let (says, has) = (security(point), security(ours));
    let explanation = format!("{name:?} stands at {address} with {says}, while ours stands at {} with {has}", ours.address);
    let belonging = Belonging::AccessPoint(point.name.clone(), address, point.security);
    finding(now, AnomalyKind::EvilTwin, Severity::High, address, explanation).teaching(belonging)
}

fn twin(point: &AccessPoint, weaker: bool, same_maker: bool, known: usize, now: Timestamp) -> Finding {
    let (name, address) = (point.name.as_str(), point.address);
    let (severity, explanation) = match (weaker, same_maker) {
        (true, _) => {
            let security = point.security.map_or("unknown protection", super::event::Security::name);
            (Severity::High, format!("{name:?} stands at {address}, an access point that was never its own, with {security}"))
        }
        (false, true) => {
            (Severity::Info, format!("{name:?} has a new access point {address}, of the same maker as the {known} known ones"))
        }
        (false, false) => {
            (Severity::Medium, format!("{name:?} stands at {address}, of another maker than the {known} known access points"))
        }
    };
    let belonging = Belonging::AccessPoint(point.name.clone(), address, point.security);
    finding(now, AnomalyKind::EvilTwin, severity, address, explanation).teaching(belonging)
}

#[cfg(test)]
mod tests {
    use super::super::{Rules, event::*, testing::*};
    use super::*;
    use crate::monitor::mac::Mac;

    fn at_home() -> Rules {
        let mut rules = Rules::default();
        assert_eq!(kinds(&mut rules, [(0, Event::Connected(home(1, Security::Wpa2)))]), []);
        rules
    }

    #[test]
    fn an_open_twin_is_told_when_a_scan_shows_it() {
        let found = kinds(&mut at_home(), [(9_000, Event::Heard(home(2, Security::Open)))]);

        assert_eq!(found, [(AnomalyKind::EvilTwin, Severity::High)]);
    }

    #[test]
    fn our_own_access_point_with_weaker_protection_is_a_downgrade() {
        let found = kinds(&mut at_home(), [(8_000, Event::Disconnected), (9_000, Event::Heard(home(1, Security::Open)))]);
        assert_eq!(found, [(AnomalyKind::SecurityDowngrade, Severity::High)]);

        let found = kinds(&mut at_home(), [(8_000, Event::Disconnected), (9_000, Event::Connected(home(1, Security::Wpa)))]);
        assert_eq!(found, [(AnomalyKind::SecurityDowngrade, Severity::High)]);
    }

    #[test]
    fn the_address_of_our_access_point_with_weaker_protection_is_a_twin_while_ours_stands() {
        let found = kinds(&mut at_home(), [(9_000, Event::Heard(home(1, Security::Open)))]);
        assert_eq!(found, [(AnomalyKind::EvilTwin, Severity::High)]);

        // On the same channel the kernel takes both for one.
        let found = kinds(&mut at_home(), [(9_000, Event::Connected(home(1, Security::Open)))]);
        assert_eq!(found, [(AnomalyKind::EvilTwin, Severity::High)]);
    }

    #[test]
    fn connecting_to_an_open_twin_is_both() {
        let found = kinds(&mut at_home(), [(9_000, Event::Disconnected), (9_100, Event::Connected(home(2, Security::Open)))]);

        assert_eq!(found, [(AnomalyKind::EvilTwin, Severity::High), (AnomalyKind::SecurityDowngrade, Severity::High)]);
    }

    #[test]
    fn a_new_access_point_of_the_same_maker_is_a_note_and_then_known() {
        let mut rules = at_home();

        assert_eq!(kinds(&mut rules, [(600_000, Event::Connected(home(2, Security::Wpa2)))]), [(AnomalyKind::EvilTwin, Severity::Info)]);
        assert_eq!(kinds(&mut rules, [(1_800_000, Event::Connected(home(1, Security::Wpa2)))]), []);
        assert_eq!(kinds(&mut rules, [(3_600_000, Event::Connected(home(2, Security::Wpa2)))]), []);

        let other = AccessPoint { address: Mac([0x30, 1, 2, 3, 4, 5]), ..home(2, Security::Wpa2) };
        let found = kinds(&mut rules, [(9_000_000, Event::Connected(other))]);
        assert_eq!(found, [(AnomalyKind::EvilTwin, Severity::Medium)]);
    }

    #[test]
    fn neighbours_networks_and_further_access_points_in_a_scan_are_silent() {
        let neighbour = AccessPoint { name: Name::new(b"Cafe"), address: mac(7), security: Some(Security::Open) };

        let heard = [(1, Event::Heard(home(2, Security::Wpa2))), (2, Event::Heard(home(3, Security::Wpa3))), (3, Event::Heard(neighbour))];

        assert_eq!(kinds(&mut at_home(), heard), []);
    }

    #[test]
    fn what_somebody_approves_is_not_told_again() {
        let mut rules = at_home();
        let found = rules.push(&Event::Heard(home(2, Security::Open)), at(1));
        let super::super::Lesson::Belongs(belonging) = &found[0].lesson else { panic!("{found:?}") };

        rules.accept(belonging);

        assert_eq!(kinds(&mut rules, [(2, Event::Heard(home(2, Security::Open)))]), []);
    }
}
