//! Where events come from, besides the counters. Each source is looked at once a second and never waited for, so that a
//! second of the monitor wakes the machine once. One that the kernel does not permit says so in a sentence, and the
//! others go on.

mod lan;
mod netlink;
mod probe;
mod proc;

use std::sync::Arc;

use self::{lan::Lan, probe::Probe};
use super::{detect::rules::event::Event, run::Notice, sample::Reading};

/// All of them.
pub(super) struct Sources {
    lan: Option<Lan>,
    probe: Probe,
    troubles: Vec<Notice>,
}

impl Sources {
    pub(super) fn open() -> Self {
        let mut sources = Self { lan: None, probe: Probe::default(), troubles: Vec::new() };
        match Lan::open() {
            Ok(lan) => sources.lan = Some(lan),
            Err(error) => sources.trouble("lan_unavailable", "cannot ask the kernel for links and neighbours", &error),
        }
        sources
    }

    /// The interface to watch: the Wi-Fi one, otherwise the default route's, otherwise the one that was watched so far,
    /// otherwise the first that is up and no loopback.
    pub(super) fn watched(&self, readings: &[Reading], so_far: Option<&str>) -> Option<Arc<str>> {
        let named = |name: &str| readings.iter().find(|reading| &*reading.interface == name);
        let route = self.lan.as_ref().and_then(Lan::default_interface);
        let others = || readings.iter().filter(|reading| &*reading.interface != "lo");
        let chosen = route.and_then(named).or_else(|| so_far.and_then(named));
        let chosen = chosen.or_else(|| others().find(|reading| reading.up)).or_else(|| others().next());
        chosen.map(|reading| reading.interface.clone())
    }

    /// Whether each of these can carry packets.
    pub(super) fn mark(&self, readings: &mut [Reading]) {
        let Some(lan) = &self.lan else { return };
        readings.iter_mut().for_each(|reading| reading.up = lan.is_up(&reading.interface));
    }

    /// What happened on the watched interface in the last second.
    pub(super) fn second(&mut self, watched: Option<&str>) -> Vec<Event> {
        let mut told = Vec::new();
        if let Some(lan) = &mut self.lan {
            match lan.second(watched) {
                Ok(events) => told.extend(events),
                Err(error) => self.trouble("lan_unavailable", "cannot hear the kernel tell of links and neighbours", &error),
            }
        }
        told.extend(self.probe.second(self.lan.as_ref().and_then(Lan::gateway)));
        told
    }

    /// What is in the way since the last call, or no more.
    pub(super) fn troubles(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.troubles)
    }

    fn trouble(&mut self, code: &'static str, what: &str, error: &std::io::Error) {
        self.troubles.push(Notice::Trouble { code, message: format!("{what}: {error}"), hint: "" });
    }
}
