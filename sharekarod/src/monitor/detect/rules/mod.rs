//! Rules over what happens on Wi-Fi and LAN: each is fed every event and knows nothing of the others. What a network's
//! profile has learnt decides between "as always" and "new".

mod association;
mod claims;
mod devices;
pub mod event;
mod gateway;
mod identity;
mod probes;
mod profile;
mod radio;
mod scan;
mod storm;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sharekaro_proto::control::net::{AnomalyKind, Severity};

use self::event::{AccessPoint, Event, Security};
pub use profile::{Belonging, NetworkId, Profile, Profiles};

use super::finding::{Finding, Lesson};

/// All rules of one interface. What they remember between events is short-lived; the profiles are what is kept.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    association: association::Association,
    claims: claims::Claims,
    devices: devices::Devices,
    gateway: gateway::Gateway,
    identity: identity::Identity,
    probes: probes::Probes,
    radio: radio::Weather,
    scan: scan::Scan,
    storm: storm::Storm,
    /// What belongs to which network.
    pub profiles: Profiles,
}

impl Rules {
    /// With what was learnt before.
    #[must_use]
    pub fn new(profiles: Profiles) -> Self {
        Self { profiles, ..Self::default() }
    }

    /// What is odd about this event.
    pub fn push(&mut self, event: &Event, now: Timestamp) -> Vec<Finding> {
        let mut findings = Vec::new();
        findings.extend(self.association.push(event, now));
        findings.extend(self.radio.push(event, now));
        findings.extend(self.probes.push(event, now));
        findings.extend(self.scan.push(event, now));
        findings.extend(self.storm.push(event, now));
        self.profiles.follow(event, now);
        findings.extend(self.identity.push(&mut self.profiles, event, now));
        findings.extend(self.gateway.push(&mut self.profiles, event, now));
        findings.extend(self.claims.push(&mut self.profiles, event, now));
        findings.extend(self.devices.push(&mut self.profiles, event, now));
        findings
    }

    /// Where nobody is connected, the first access point of a name stands for its network; one without encryption only
    /// until one with it is heard.
    pub fn presume(&mut self, point: &AccessPoint) {
        let known = self.profiles.air(&point.name).and_then(|air| air.security);
        if known.is_none_or(|known| known < Security::Wpa) && point.security >= Some(Security::Wpa) {
            self.profiles.forget_air(&point.name);
        }
        if self.profiles.air(&point.name).is_none() {
            self.profiles.learn_point(&point.name, point.address, point.security);
        }
    }

    /// What somebody calls normal belongs to the network from now on.
    pub fn accept(&mut self, belonging: &Belonging) {
        self.profiles.approve(belonging);
    }
}

/// A finding of a rule.
fn finding(at: Timestamp, kind: AnomalyKind, severity: Severity, subject: impl ToString, explanation: String) -> Finding {
    Finding { at, kind, severity, subject: subject.to_string(), explanation, weight: 0.0, lesson: Lesson::None }
}

impl Finding {
    fn weighing(self, weight: f64) -> Self {
        Self { weight, ..self }
    }

    fn teaching(self, belonging: Belonging) -> Self {
        Self { lesson: Lesson::Belongs(belonging), ..self }
    }
}

/// When things happened lately, at most so many of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Lately(std::collections::VecDeque<Timestamp>);

impl Lately {
    /// More are not needed by any rule.
    const MOST: usize = 64;

    fn push(&mut self, at: Timestamp) {
        self.0.push_back(at);
        if self.0.len() > Self::MOST {
            self.0.pop_front();
        }
    }

    fn within(&self, now: Timestamp, seconds: i64) -> usize {
        self.0.iter().rev().take_while(|at| now.duration_since(**at).as_secs() < seconds).count()
    }
}

#[cfg(test)]
mod testing {
    //! What the rules' tests share.

    use std::time::Duration;

    use super::{event::*, *};
    use crate::monitor::mac::Mac;

    pub(super) fn at(millis: i64) -> Timestamp {
        Timestamp::constant(1_750_000_000, 0) + Duration::from_millis(millis as u64)
    }

    pub(super) fn mac(last: u8) -> Mac {
        Mac([2, 0, 0, 0, 0, last])
    }

    pub(super) fn home(last: u8, security: Security) -> AccessPoint {
        AccessPoint { name: Name::new(b"HomeNet"), address: mac(last), security: Some(security) }
    }

    /// The kinds and severities that a sequence of (milliseconds, event) leads to.
    pub(super) fn kinds(rules: &mut Rules, events: impl IntoIterator<Item = (i64, Event)>) -> Vec<(AnomalyKind, Severity)> {
        let push = |(millis, event): (i64, Event)| rules.push(&event, at(millis));
        events.into_iter().flat_map(push).map(|finding| (finding.kind, finding.severity)).collect()
    }
}
