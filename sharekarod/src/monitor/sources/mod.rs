//! Where events come from, besides the counters. Each source is looked at once a second and never waited for, so that a
//! second of the monitor wakes the machine once. One that the kernel does not permit says so in a sentence, and the
//! others go on.

pub(super) mod elements;
mod lan;
mod probe;
mod proc;
mod wifi;
mod wire;

use std::{io, net::IpAddr, sync::Arc};

use sharekaro_proto::ErrorBody;

use self::{
    lan::Lan,
    probe::Probe,
    wifi::Wifi,
    wire::{Place, Wire},
};
use super::{detect::rules::event::Event, packets::live::LiveError, run::Notice, sample::Reading};
use crate::interfaces::netlink;

/// For `status`: what only frames tell cannot be seen.
const NO_CAPTURE: &str = "capture_unavailable";

/// All of them.
pub(super) struct Sources {
    lan: Option<Lan>,
    wifi: Option<Wifi>,
    wire: Wire,
    probe: Probe,
    /// Interfaces that there were when Wi-Fi was looked for.
    interfaces: usize,
    received: Option<(Arc<str>, u64)>,
    notices: Vec<Notice>,
}

impl Sources {
    pub(super) fn open() -> Self {
        let wire = Wire::Closed(0);
        let mut sources = Self { lan: None, wifi: None, wire, probe: Probe::default(), interfaces: 0, received: None, notices: Vec::new() };
        match Lan::open() {
            Ok(lan) => sources.lan = Some(lan),
            Err(error) => sources.trouble("lan_unavailable", "cannot ask the kernel for links and neighbours", &error),
        }
        sources
    }

    /// The interface to watch: the Wi-Fi one that is associated, otherwise the default route's, otherwise the one that was
    /// watched so far, otherwise the first that is up and no loopback.
    pub(super) fn watched(&mut self, readings: &[Reading], so_far: Option<&str>) -> Option<Arc<str>> {
        self.look_for_wifi(readings.len());
        let named = |name: &str| readings.iter().find(|reading| &*reading.interface == name);
        let wifi = self.wifi.as_ref();
        let is_up = |name: &str| named(name).is_some_and(|reading| reading.up);
        let associated = wifi.and_then(|wifi| wifi.station(is_up));
        let route = self.lan.as_ref().and_then(Lan::default_interface);
        let others = || readings.iter().filter(|reading| &*reading.interface != "lo");
        let chosen = associated.or(route).and_then(named).or_else(|| so_far.and_then(named));
        let chosen = chosen.or_else(|| others().find(|reading| reading.up)).or_else(|| others().next());
        chosen.map(|reading| reading.interface.clone())
    }

    /// Whether each of these can carry packets.
    pub(super) fn mark(&self, readings: &mut [Reading]) {
        let Some(lan) = &self.lan else { return };
        readings.iter_mut().for_each(|reading| reading.up = lan.is_up(&reading.interface));
    }

    /// Our addresses on the watched interface.
    pub(super) fn addresses(&self, watched: Option<&str>) -> Vec<IpAddr> {
        self.lan.iter().zip(watched).flat_map(|(lan, name)| lan.addresses_of(name)).collect()
    }

    /// What happened on the watched interface in the last second.
    pub(super) fn second(&mut self, watched: Option<&Reading>) -> Vec<Event> {
        let name = watched.map(|reading| &*reading.interface);
        // Where we are associated comes before what stands behind it.
        let mut told = self.wifi_second(name);
        if let Some(lan) = &mut self.lan {
            match lan.second(name) {
                Ok(events) => told.extend(events),
                Err(error) => self.trouble("lan_unavailable", "cannot hear the kernel tell of links and neighbours", &error),
            }
        }
        told.extend(watched.into_iter().flat_map(|reading| self.wire_second(reading)).collect::<Vec<_>>());
        let link = name.and_then(|name| self.lan.as_ref()?.index_of(name)).unwrap_or_default();
        told.extend(self.probe.second(self.lan.as_ref().and_then(Lan::gateway), link));
        told
    }

    /// What is in the way since the last call, or no more.
    pub(super) fn notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Wi-Fi comes with an interface: without a new one it is not asked for again.
    fn look_for_wifi(&mut self, interfaces: usize) {
        if self.wifi.is_none() && interfaces != self.interfaces {
            match Wifi::open() {
                Ok(wifi) => self.wifi = wifi,
                Err(error) => self.trouble("wifi_unavailable", "cannot ask the kernel for Wi-Fi", &error),
            }
        }
        self.interfaces = interfaces;
    }

    fn wifi_second(&mut self, name: Option<&str>) -> Vec<Event> {
        let index = name.and_then(|name| self.lan.as_ref()?.index_of(name));
        match self.wifi.as_mut().map(|wifi| wifi.second(index)) {
            Some(Ok(events)) => events,
            Some(Err(error)) => {
                self.trouble("wifi_unavailable", "cannot hear the kernel tell of Wi-Fi", &error);
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    fn wire_second(&mut self, reading: &Reading) -> Vec<Event> {
        let Some(lan) = &self.lan else { return Vec::new() };
        let Some(index) = lan.index_of(&reading.interface).filter(|_| reading.up) else { return Vec::new() };
        let total = reading.counters.packets_received;
        let before = self.received.replace((reading.interface.clone(), total));
        let before = before.filter(|(name, _)| *name == reading.interface).map_or(total, |(_, before)| before);
        let place = Place { name: &reading.interface, index, received: total.saturating_sub(before) };
        let was_open = matches!(self.wire, Wire::Open(..));
        match self.wire.second(&place, |address| lan.is_ours(address), |mac| lan.is_own_mac(mac)) {
            Ok(events) => {
                if !was_open && matches!(self.wire, Wire::Open(..)) {
                    self.notices.push(Notice::Resolved { code: NO_CAPTURE });
                }
                events
            }
            Err(error) => {
                self.no_capture(error);
                Vec::new()
            }
        }
    }

    fn no_capture(&mut self, error: LiveError) {
        let error = ErrorBody::from(error);
        let message = format!("address conflicts, a second DHCP server and broadcast storms cannot be seen: {}", error.message);
        self.notices.push(Notice::Trouble { code: NO_CAPTURE, message, hint: error.hint });
    }

    fn trouble(&mut self, code: &'static str, what: &str, error: &io::Error) {
        self.notices.push(Notice::Trouble { code, message: format!("{what}: {error}"), hint: String::new() });
    }
}
