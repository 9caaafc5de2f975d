//! What others ask of the monitor: interfaces, history, anomalies, networks; and the few things that they tell it.

use std::{io, time::Duration};

use jiff::Timestamp;
use sharekaro_proto::{
    ErrorBody,
    control::{
        net::{Anomalies, Anomaly, History as HistoryReply, Interface, Interfaces, Network, Networks, Threshold},
        packets::Capture,
    },
};

use super::{
    detect::{
        finding::Lesson,
        rules::{NetworkId, Profile},
    },
    history::HistoryError,
    network_csv::Target,
    packets::Options,
    run::{Monitor, State},
    sample::Reading,
};

impl Monitor {
    /// Every interface with its totals.
    #[must_use]
    pub fn interfaces(&self) -> Interfaces {
        let state = self.state();
        Interfaces { interfaces: state.readings.iter().map(|reading| interface(reading, &state)).collect() }
    }

    /// What passed on an interface (the watched one where none is named) since then; `None` where it was never seen.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn history_of(&self, interface: Option<&str>, since: Timestamp) -> Result<Option<HistoryReply>, HistoryError> {
        let watched = self.state().watched.clone();
        let Some(interface) = interface.or(watched.as_deref()) else { return Ok(None) };
        let is_there = self.state().readings.iter().any(|reading| &*reading.interface == interface);
        let samples = self.history().since(interface, since, Timestamp::now())?;
        // In its first second an interface has no step behind it.
        let samples = samples.or_else(|| is_there.then(Vec::new));
        Ok(samples.map(|samples| HistoryReply { interface: interface.to_owned(), samples }))
    }

    /// All incidents, oldest first.
    #[must_use]
    pub fn anomalies(&self) -> Anomalies {
        Anomalies { anomalies: self.state().incidents.iter().cloned().collect() }
    }

    /// One incident.
    #[must_use]
    pub fn anomaly(&self, id: &str) -> Option<Anomaly> {
        self.state().incidents.get(id).cloned()
    }

    /// Takes an incident as normal: this level, this pause, this device; not more. `None` where there is no such one.
    #[must_use]
    pub fn acknowledge(&self, id: &str) -> Option<Anomaly> {
        let mut state = self.state();
        let (anomaly, lesson) = state.incidents.acknowledge(id)?;
        match &lesson {
            Lesson::Belongs(belonging) => state.rules.accept(belonging),
            lesson => {
                if let Some(detector) = state.detectors.get_mut(anomaly.interface.as_str()) {
                    detector.accept(lesson);
                }
            }
        }
        state.unsaved = true;
        Some(anomaly)
    }

    /// Writes `Network.csv` there from now on, and at once; without a target, no more.
    ///
    /// # Errors
    /// It cannot be written there; then nothing is written any more.
    pub fn write_csv(&self, target: Option<Target>) -> io::Result<()> {
        let mut guard = self.state();
        let state = &mut *guard;
        state.unsaved = true;
        let anomalies: Vec<Anomaly> = state.incidents.iter().cloned().collect();
        state.csv.write_to(target, &anomalies)
    }

    /// Begins a live capture. Blocks while the socket is opened.
    ///
    /// # Errors
    /// There is no such interface, no right to it, or no room for another capture.
    pub fn begin_capture(&self, interface: &str, options: Options, duration: Option<Duration>) -> Result<Capture, ErrorBody> {
        self.0.captures.begin(interface, options, duration)
    }

    /// What a live capture brought so far; `None` where there is none of this number.
    #[must_use]
    pub fn capture(&self, id: u64) -> Option<Capture> {
        self.0.captures.get(id)
    }

    /// Ends a live capture, and all that it brought. Blocks until that is written.
    #[must_use]
    pub fn end_capture(&self, id: u64) -> Option<Capture> {
        self.0.captures.end(id)
    }

    /// Every network that was learnt.
    #[must_use]
    pub fn networks(&self) -> Networks {
        Networks { networks: self.state().rules.profiles.networks().iter().map(network).collect() }
    }

    /// Forgets a network: it will be learnt anew. Whether it was known.
    #[must_use]
    pub fn forget_network(&self, id: u64) -> bool {
        let mut state = self.state();
        state.unsaved = true;
        state.rules.profiles.forget(NetworkId(id))
    }
}

fn interface(reading: &Reading, state: &State) -> Interface {
    let watched = state.watched.as_ref() == Some(&reading.interface);
    let detector = state.detectors.get(&reading.interface).filter(|_| watched);
    Interface {
        name: reading.interface.to_string(),
        up: reading.up,
        watched,
        counters: reading.counters,
        threshold: detector.map(|detector| {
            let ((bytes_sent, bytes_received), seconds) = (detector.threshold(), detector.watched());
            // Rates far below 2^53: nothing is lost.
            Threshold { bytes_sent: bytes_sent as u64, bytes_received: bytes_received as u64, watched_seconds: seconds as u64 }
        }),
    }
}

fn network(profile: &Profile) -> Network {
    let texts = |addresses: &std::collections::BTreeSet<std::net::IpAddr>| addresses.iter().map(ToString::to_string).collect();
    Network {
        id: profile.id.0,
        name: profile.name.as_ref().map(|name| name.as_str().to_owned()),
        gateway: profile.gateway.map(|gateway| gateway.to_string()),
        gateway_macs: profile.gateways.iter().map(ToString::to_string).collect(),
        dhcp_servers: texts(&profile.dhcp_servers),
        name_servers: texts(&profile.name_servers),
        devices: profile.devices.len(),
        since: profile.since,
    }
}
