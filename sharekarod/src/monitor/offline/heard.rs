//! A capture judged as if its packets had been heard live: the same rules, in the capture's time.
//!
//! Whose machine captured, and which gateway it has, a capture does not say: everybody's ports count as ours, and who
//! carries packets to the world outside is the gateway.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use sharekaro_proto::control::net::{AnomalyKind, Counters, Finding as Reply, Severity};

use super::air::Air;
use crate::monitor::{
    detect::{
        finding::{Finding, Lesson},
        incidents::Incidents,
        rules::{Rules, event::Event},
        traffic::TrafficDetector,
    },
    frames,
    mac::Mac,
    packets::captures::Packet,
    sample::Sample,
};

const ETHERNET: u32 = 1;
/// Both forms of Linux's cooked captures.
const COOKED: u32 = 113;
const COOKED_2: u32 = 276;
const SECOND: i64 = 1_000_000_000;
/// Whoever invents addresses fills this table, and no more.
const MOST_CLAIMS: usize = 4096;
/// A pause without packets is judged second by second, up to this; a longer one is a gap.
const LONGEST_PAUSE: i64 = 3600;

/// What was heard so far.
#[derive(Default)]
pub(super) struct Heard {
    rules: Rules,
    traffic: TrafficDetector,
    incidents: Incidents,
    air: Air,
    claims: BTreeMap<IpAddr, Mac>,
    gateway: Option<Mac>,
    /// The second that is heard now, and what came in it.
    second: Option<i64>,
    amounts: Counters,
    broadcasts: u64,
}

impl Heard {
    pub(super) fn new() -> Self {
        Self { incidents: Incidents::of_a_file(), ..Self::default() }
    }

    pub(super) fn packet(&mut self, packet: &Packet<'_>, warm_up: Duration) {
        let second = packet.time.div_euclid(SECOND);
        let current = *self.second.get_or_insert(second);
        if second > current {
            self.end_seconds(current, second, warm_up);
        }
        self.amounts.packets_received += 1;
        self.amounts.bytes_received = self.amounts.bytes_received.saturating_add(packet.length.into());
        let at = Timestamp::from_nanosecond(packet.time.into()).unwrap_or_default();
        if packet.link == ETHERNET {
            self.broadcasts += u64::from(frames::is_broadcast(packet.data));
            self.find_gateway(packet.data, at);
        }
        if let Some(event) = lan_event(packet) {
            self.conflict(&event, at);
            self.judge(&event, at);
        }
        for event in self.air.events(packet, at) {
            if let Event::Heard(point) = &event {
                self.rules.presume(point);
            }
            self.judge(&event, at);
        }
    }

    pub(super) fn findings(mut self, warm_up: Duration) -> Vec<Reply> {
        if let Some(current) = self.second {
            self.end_seconds(current, current + 1, warm_up);
        }
        let reply = |anomaly: &sharekaro_proto::control::net::Anomaly| Reply {
            at: anomaly.at,
            until: anomaly.until,
            kind: anomaly.kind,
            severity: anomaly.severity,
            explanation: anomaly.explanation.clone(),
        };
        self.incidents.iter().map(reply).collect()
    }

    /// Judges what came in a second, and the pause after it, if there is one.
    fn end_seconds(&mut self, current: i64, next: i64, warm_up: Duration) {
        let (amounts, broadcasts) = (std::mem::take(&mut self.amounts), std::mem::take(&mut self.broadcasts));
        let pause = next - current > LONGEST_PAUSE;
        let end = if pause { current + 1 } else { next };
        for second in current..end {
            let at = Timestamp::from_second(second + 1).unwrap_or_default();
            let amounts = if second == current { amounts } else { Counters::default() };
            let sample = Sample { interface: Arc::from(""), at, seconds: 1.0, amounts, own: Counters::default(), gap: false };
            self.sample(&sample, warm_up);
            let heard = if second == current { broadcasts } else { 0 };
            self.judge(&Event::Broadcasts(heard, amounts.packets_received), at);
        }
        if pause {
            let at = Timestamp::from_second(next).unwrap_or_default();
            let (amounts, own) = Default::default();
            let gap = Sample { interface: Arc::from(""), at, seconds: 1.0, amounts, own, gap: true };
            self.sample(&gap, warm_up);
        }
        self.second = Some(next);
    }

    fn sample(&mut self, sample: &Sample, warm_up: Duration) {
        let found = self.traffic.push(sample, warm_up.as_secs_f64());
        self.record(found);
    }

    fn judge(&mut self, event: &Event, at: Timestamp) {
        let found = self.rules.push(event, at);
        self.record(found);
    }

    fn record(&mut self, findings: Vec<Finding>) {
        let interface = Arc::from("");
        findings.into_iter().for_each(|finding| drop(self.incidents.push(&interface, finding)));
    }

    /// Two machines that say of themselves that they have one address.
    fn conflict(&mut self, event: &Event, at: Timestamp) {
        let Event::Claim(address, mac) = *event else { return };
        let Some(known) = self.claims.get(&address).copied() else {
            if self.claims.len() < MOST_CLAIMS {
                self.claims.insert(address, mac);
            }
            return;
        };
        if known != mac {
            let explanation = format!("{known} and {mac} both say that they have {address}");
            let (kind, severity, subject) = (AnomalyKind::AddressConflict, Severity::High, address.to_string());
            self.record(vec![Finding { at, kind, severity, subject, explanation, weight: 0.0, lesson: Lesson::None }]);
        }
    }

    /// Who takes packets to public addresses, and has said which address it has itself.
    fn find_gateway(&mut self, frame: &[u8], at: Timestamp) {
        let Some(carrier) = carrier(frame).filter(|_| self.gateway.is_none()) else { return };
        let own = self.claims.iter().find(|(address, mac)| address.is_ipv4() && **mac == carrier);
        if let Some((address, mac)) = own.map(|(address, mac)| (*address, *mac)) {
            self.gateway = Some(mac);
            self.judge(&Event::Gateway(address), at);
            self.judge(&Event::Neighbour(address, mac), at);
        }
    }
}

/// What a packet tells of the LAN: in a frame of Ethernet, or as Linux cooks those of any interface.
fn lan_event(packet: &Packet<'_>) -> Option<Event> {
    let data = packet.data;
    let (kind, sender, rest) = match packet.link {
        ETHERNET => return frames::event(data, |_| true),
        COOKED => (14, 6, 16),
        COOKED_2 => (0, 12, 20),
        _ => return None,
    };
    let kind = u16::from_be_bytes(*data.get(kind..)?.first_chunk()?);
    frames::packet(kind, Mac::from_slice(data.get(sender..sender + 6)?)?, data.get(rest..)?, |_| true)
}

/// To whom a frame goes whose packet goes to a public address.
fn carrier(frame: &[u8]) -> Option<Mac> {
    (frame.get(12..14)? == [8, 0]).then_some(())?;
    let address = Ipv4Addr::from(*frame.get(30..)?.first_chunk::<4>()?);
    let local = address.is_private() || address.is_link_local() || address.is_loopback() || address.is_unspecified();
    let outside = !local && !address.is_multicast() && !address.is_broadcast();
    Mac::from_slice(frame.get(..6)?).filter(|mac| outside && mac.is_single())
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn mac(last: u8) -> [u8; 6] {
        [2, 0, 0, 0, 0, last]
    }

    fn arp(sender: u8, address: u8) -> Vec<u8> {
        let body = [&[0, 1, 8, 0, 6, 4, 0, 2][..], &mac(sender), &[10, 0, 0, address], &[0; 6], &[10, 0, 0, 7]].concat();
        [&[0xff; 6][..], &mac(sender), &[8, 6], &body].concat()
    }

    fn syn(port: u8) -> Vec<u8> {
        let ip = [&[0x45, 0, 0, 0, 0, 7, 0, 0, 64, 6, 0, 0][..], &[10, 0, 0, 66], &[10, 0, 0, 7]].concat();
        [&mac(7)[..], &mac(66), &[8, 0], &ip, &[0, 99, 0, port, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0]].concat()
    }

    fn out_to(carrier: u8) -> Vec<u8> {
        let ip = [&[0x45, 0, 0, 0, 0, 7, 0, 0, 64, 17, 0, 0][..], &[10, 0, 0, 7], &[93, 184, 216, 34]].concat();
        [&mac(carrier)[..], &mac(7), &[8, 0], &ip, &[0; 16]].concat()
    }

    fn kinds(frames: impl IntoIterator<Item = (i64, Vec<u8>)>) -> Vec<AnomalyKind> {
        kinds_on(ETHERNET, frames)
    }

    fn kinds_on(link: u32, frames: impl IntoIterator<Item = (i64, Vec<u8>)>) -> Vec<AnomalyKind> {
        let mut heard = Heard::default();
        for (millis, data) in frames {
            let length = u32::try_from(data.len()).expect("short");
            let time = 1_750_000_000 * SECOND + millis * 1_000_000;
            heard.packet(&Packet { time, link, big_endian: false, length, data: &data }, Duration::from_secs(3600));
        }
        heard.findings(Duration::from_secs(3600)).into_iter().map(|finding| finding.kind).collect()
    }

    #[test]
    fn what_a_capture_shows_is_named_and_calm_is_not() {
        assert_eq!(kinds([(0, arp(1, 1)), (10, arp(2, 2)), (20_000, arp(1, 1)), (30_000, syn(22))]), []);
        assert_eq!(kinds([(0, arp(1, 1)), (10, arp(2, 1))]), [AnomalyKind::AddressConflict]);
        assert_eq!(kinds((1..=20).map(|port| (i64::from(port), syn(port)))), [AnomalyKind::PortScan]);
        let storm = (0..3000).map(|number| (number, [&[0xff; 6][..], &mac(66), &[8, 0], &[0; 50]].concat()));
        assert_eq!(kinds(storm), [AnomalyKind::BroadcastStorm]);
    }

    #[test]
    fn the_gateway_is_who_carries_packets_outside() {
        let found = kinds([(0, arp(1, 1)), (10, out_to(1)), (9_000, arp(66, 1))]);

        assert!(found.contains(&AnomalyKind::GatewayChanged) && found.contains(&AnomalyKind::AddressConflict), "{found:?}");
    }

    #[test]
    fn a_pause_of_days_takes_no_time() {
        assert_eq!(kinds([(0, arp(1, 1)), (40 * 86_400_000, arp(1, 1))]), []);
    }

    #[test]
    fn a_capture_of_any_interface_is_judged_too() {
        let cooked = |frame: Vec<u8>| [&[0, 0, 0, 1, 0, 6][..], &frame[6..12], &[0, 0], &frame[12..]].concat();
        let cooked_2 = |frame: Vec<u8>| [&frame[12..14], &[0, 0, 0, 0, 0, 1, 0, 1, 0, 6], &frame[6..12], &[0, 0], &frame[14..]].concat();

        let scan = || (1..=20).map(|port| (i64::from(port), syn(port)));
        assert_eq!(kinds_on(COOKED, scan().map(|(at, frame)| (at, cooked(frame)))), [AnomalyKind::PortScan]);
        assert_eq!(kinds_on(COOKED_2, scan().map(|(at, frame)| (at, cooked_2(frame)))), [AnomalyKind::PortScan]);
        assert_eq!(kinds_on(COOKED, [(0, cooked(arp(1, 1))), (10, cooked(arp(2, 1)))]), [AnomalyKind::AddressConflict]);
    }

    #[test]
    fn a_capture_in_monitor_mode_shows_floods_and_twins() {
        let frame =
            |kind: u8, from: u8, to: [u8; 6], body: &[u8]| [&[kind, 0, 0, 0][..], &to, &mac(from), &mac(from), &[0, 0], body].concat();
        let rsn = [48, 20, 1, 0, 0, 15, 172, 4, 1, 0, 0, 15, 172, 4, 1, 0, 0, 15, 172, 2, 0, 0];
        let beacon = |from, capability: u8, more: &[u8]| {
            frame(0x80, from, [0xff; 6], &[&[0; 10][..], &[capability, 0], &[0, 4], b"Home", more].concat())
        };
        let (home, open) = (beacon(1, 0x11, &rsn), beacon(9, 1, &[]));
        let flood = (0..20).map(|number| (number * 100, frame(0xc0, 1, mac(5), &[7, 0])));

        assert_eq!(kinds_on(105, [(0, home.clone()), (100, beacon(2, 0x11, &rsn)), (200, home.clone())]), []);
        assert_eq!(kinds_on(105, flood), [AnomalyKind::Deauthentication]);
        assert_eq!(kinds_on(105, [(0, home.clone()), (100, open.clone())]), [AnomalyKind::EvilTwin]);
        assert_eq!(kinds_on(105, [(0, open.clone()), (100, home), (200, open)]), [AnomalyKind::EvilTwin]);
    }
}
