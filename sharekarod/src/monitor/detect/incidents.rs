//! Findings become incidents: what is said of one kind and subject, with pauses of at most a minute, is one.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use sharekaro_proto::control::net::{Anomaly, AnomalyKind};

use super::finding::{Finding, Lesson};

/// Findings of one kind closer than this belong together.
const PAUSE: Duration = Duration::from_secs(60);
/// Incidents kept while the network is watched.
const KEPT: usize = 1000;
/// Incidents of a file: a year of them, and what a reply may hold.
const KEPT_OF_A_FILE: usize = 10_000;

/// An incident with what else we know of it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Incident {
    /// What everybody is told.
    pub anomaly: Anomaly,
    subject: String,
    weight: f64,
    /// What `ack --normal` teaches.
    pub lesson: Lesson,
}

/// What a finding did to the table.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// A new incident.
    Began(Anomaly),
    /// One that is known got worse; the severity or the explanation differ.
    Worsened(Anomaly),
    /// It lasts.
    Lasts,
}

/// All incidents that are remembered, oldest first. When there are too many, the oldest of the least severe ones goes: a flood
/// of notes hides no alarm.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Incidents {
    table: VecDeque<Incident>,
    next: u64,
    #[serde(skip, default = "while_watching")]
    most: usize,
}

const fn while_watching() -> usize {
    KEPT
}

impl Default for Incidents {
    fn default() -> Self {
        Self { table: VecDeque::new(), next: 0, most: while_watching() }
    }
}

impl Incidents {
    /// Those of a file, which may be of a year.
    #[must_use]
    pub fn of_a_file() -> Self {
        Self { most: KEPT_OF_A_FILE, ..Self::default() }
    }

    /// Takes a finding in.
    pub fn push(&mut self, interface: &Arc<str>, finding: Finding) -> Change {
        let same = |incident: &&mut Incident| incident.takes(interface, &finding);
        if let Some(incident) = self.table.iter_mut().rev().find(same) {
            return incident.extend(finding);
        }
        self.next += 1;
        let incident = Incident::new(self.next.to_string(), interface, finding);
        let anomaly = incident.anomaly.clone();
        if self.table.len() >= self.most {
            let least = self.table.iter().enumerate().min_by_key(|(_, kept)| kept.anomaly.severity).map(|(place, _)| place);
            least.and_then(|place| self.table.remove(place));
        }
        self.table.push_back(incident);
        Change::Began(anomaly)
    }

    /// Marks an incident as normal and returns its interface, its kind and what to learn; already so is not an error.
    pub fn acknowledge(&mut self, id: &str) -> Option<(Anomaly, Lesson)> {
        let incident = self.table.iter_mut().find(|incident| incident.anomaly.id == id)?;
        incident.anomaly.acknowledged = true;
        Some((incident.anomaly.clone(), incident.lesson.clone()))
    }

    /// One incident.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Anomaly> {
        self.iter().find(|anomaly| anomaly.id == id)
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Anomaly> {
        self.table.iter().map(|incident| &incident.anomaly)
    }
}

impl Incident {
    fn new(id: String, interface: &Arc<str>, finding: Finding) -> Self {
        let Finding { at, kind, severity, subject, explanation, weight, lesson } = finding;
        let interface = interface.to_string();
        let anomaly = Anomaly { id, at, until: at, interface, kind, severity, explanation, acknowledged: false };
        Self { anomaly, subject, weight, lesson }
    }

    /// An acknowledged incident is closed: what comes after it is more than what was called normal.
    fn takes(&self, interface: &Arc<str>, finding: &Finding) -> bool {
        let near = finding.at.duration_since(self.anomaly.until).unsigned_abs() <= PAUSE;
        let same = self.anomaly.kind == finding.kind && self.subject == finding.subject && self.anomaly.interface == **interface;
        same && near && (!self.anomaly.acknowledged || finding.kind != AnomalyKind::Traffic)
    }

    fn extend(&mut self, finding: Finding) -> Change {
        self.anomaly.until = self.anomaly.until.max(finding.at);
        self.lesson.join(finding.lesson);
        let worse = finding.severity > self.anomaly.severity;
        self.anomaly.severity = self.anomaly.severity.max(finding.severity);
        let louder = finding.weight > self.weight;
        if louder {
            self.weight = finding.weight;
            self.anomaly.explanation = finding.explanation;
        }
        if worse { Change::Worsened(self.anomaly.clone()) } else { Change::Lasts }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use sharekaro_proto::control::net::Severity;

    use super::*;

    fn finding(second: i64, weight: f64, severity: Severity) -> Finding {
        let at = Timestamp::constant(1_750_000_000 + second, 0);
        let explanation = format!("weight {weight}");
        Finding { at, kind: AnomalyKind::Traffic, severity, subject: String::new(), explanation, weight, lesson: Lesson::None }
    }

    #[test]
    fn findings_close_to_each_other_are_one_incident_with_the_heaviest_words() {
        let (mut incidents, eth0) = (Incidents::default(), Arc::from("eth0"));

        assert!(matches!(incidents.push(&eth0, finding(0, 2.0, Severity::Low)), Change::Began(_)));
        assert!(matches!(incidents.push(&eth0, finding(50, 9.0, Severity::High)), Change::Worsened(_)));
        assert_eq!(incidents.push(&eth0, finding(100, 1.0, Severity::Low)), Change::Lasts);
        assert!(matches!(incidents.push(&eth0, finding(161, 1.0, Severity::Low)), Change::Began(_)));
        assert!(matches!(incidents.push(&Arc::from("eth1"), finding(161, 1.0, Severity::Low)), Change::Began(_)));

        let first = incidents.get("1").expect("the first");
        assert_eq!((first.severity, first.explanation.as_str()), (Severity::High, "weight 9"));
        assert_eq!(first.until.duration_since(first.at).as_secs(), 100);
    }

    #[test]
    fn a_flood_of_notes_pushes_out_notes_and_no_alarm() {
        let (mut incidents, eth0) = (Incidents::default(), Arc::from("eth0"));
        for (second, severity) in [(0, Severity::High), (100, Severity::Low), (200, Severity::Info)] {
            incidents.push(&eth0, finding(second, 1.0, severity));
        }

        for number in 0..9000 {
            let note = Finding { kind: AnomalyKind::NewDevice, subject: number.to_string(), ..finding(300, 1.0, Severity::Info) };
            assert!(matches!(incidents.push(&eth0, note), Change::Began(_)));
        }

        let kept: Vec<_> = incidents.iter().map(|anomaly| (anomaly.id.as_str(), anomaly.severity)).collect();
        assert_eq!(kept.len(), KEPT);
        assert_eq!(kept[..2], [("1", Severity::High), ("2", Severity::Low)]);
        assert_eq!((kept[2].0, kept[KEPT - 1].0), ("8006", "9003"));
    }

    #[test]
    fn of_a_file_thousands_are_told() {
        let (mut incidents, eth0) = (Incidents::of_a_file(), Arc::from("eth0"));

        (0..3000).for_each(|number| drop(incidents.push(&eth0, finding(number * 100, 1.0, Severity::Low))));

        assert_eq!(incidents.iter().map(|anomaly| anomaly.id.as_str()).next(), Some("1"));
        assert_eq!(incidents.iter().count(), 3000);
    }

    #[test]
    fn what_follows_an_acknowledged_incident_is_another_one() {
        let (mut incidents, eth0) = (Incidents::default(), Arc::from("eth0"));
        incidents.push(&eth0, finding(0, 2.0, Severity::Low));

        assert!(incidents.acknowledge("1").is_some() && incidents.acknowledge("1").is_some());
        assert!(incidents.acknowledge("no such id").is_none());

        assert!(matches!(incidents.push(&eth0, finding(5, 9.0, Severity::High)), Change::Began(_)));
    }
}
