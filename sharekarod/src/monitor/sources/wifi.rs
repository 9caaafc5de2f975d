//! What nl80211 tells a plain user of Wi-Fi (linux/nl80211.h): what happens to the association, what others' scans found,
//! and the station's second. Nothing is sent on the air, and no scan is begun: that would need a privilege.

use std::{collections::BTreeMap, io, sync::Arc};

use super::{
    elements,
    netlink::{Heard, Netlink, attribute, attributes, u16_of, u32_of},
};
use crate::monitor::{
    detect::rules::event::{AccessPoint, Event, Radio},
    mac::Mac,
};

/// `NETLINK_GENERIC`, its controller, and what that is asked (linux/genetlink.h).
const GENERIC: isize = 16;
const CONTROLLER: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
const GROUPS: u16 = 7;
const WANTED: [&str; 3] = ["config", "scan", "mlme"];

/// Commands of nl80211.
mod command {
    pub(super) const GET_INTERFACE: u8 = 5;
    pub(super) const NEW_INTERFACE: u8 = 7;
    pub(super) const DEL_INTERFACE: u8 = 8;
    pub(super) const GET_STATION: u8 = 17;
    pub(super) const NEW_STATION: u8 = 19;
    pub(super) const GET_SCAN: u8 = 32;
    pub(super) const NEW_SCAN_RESULTS: u8 = 34;
    pub(super) const DEAUTHENTICATE: u8 = 39;
    pub(super) const DISASSOCIATE: u8 = 40;
    pub(super) const CONNECT: u8 = 46;
    pub(super) const ROAM: u8 = 47;
    pub(super) const DISCONNECT: u8 = 48;
    pub(super) const NOTIFY_CQM: u8 = 64;
    pub(super) const UNPROTECTED_DEAUTHENTICATE: u8 = 70;
    pub(super) const UNPROTECTED_DISASSOCIATE: u8 = 71;
    pub(super) const CHANNEL_SWITCHED: u8 = 88;
    pub(super) const CHANNEL_SWITCH_STARTED: u8 = 110;
}

/// Attributes of nl80211.
mod attr {
    pub(super) const INDEX: u16 = 3;
    pub(super) const NAME: u16 = 4;
    pub(super) const KIND: u16 = 5;
    pub(super) const MAC: u16 = 6;
    pub(super) const STATION: u16 = 21;
    pub(super) const FREQUENCY: u16 = 38;
    pub(super) const BSS: u16 = 47;
    pub(super) const FRAME: u16 = 51;
    pub(super) const REASON: u16 = 54;
    pub(super) const BY_ACCESS_POINT: u16 = 71;
    pub(super) const QUALITY: u16 = 94;
}

/// A station, and no access point or monitor.
const STATION_KIND: u32 = 2;
const BEACON_LOSS: u16 = 8;
/// 802.11's reason of a station that gave up on a silent access point.
const INACTIVE: u16 = 4;
/// More access points than a hall has.
const MOST_POINTS: usize = 1024;

#[derive(Debug)]
struct Station {
    name: Arc<str>,
    mac: Option<Mac>,
}

/// What the station counted so far, at which access point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Totals {
    point: Mac,
    sent: u32,
    retries: u32,
    failed: u32,
    beacons: Option<u64>,
}

/// The machine's Wi-Fi.
pub(super) struct Wifi {
    socket: Netlink,
    family: u16,
    stations: BTreeMap<u32, Station>,
    watched: Option<u32>,
    totals: Option<Totals>,
    /// Where we are, as it was told.
    here: Option<AccessPoint>,
    /// Seconds since an access point threw us out by a frame.
    thrown_out: u32,
}

/// What a message asks for.
#[derive(Default)]
struct Due {
    interfaces: bool,
    scan: bool,
}

impl Wifi {
    /// Where the machine has Wi-Fi at all.
    pub(super) fn open() -> io::Result<Option<Self>> {
        let mut socket = Netlink::open(GENERIC)?;
        let body = [&[GET_FAMILY, 1, 0, 0][..], &attribute(FAMILY_NAME, b"nl80211\0")].concat();
        socket.ask(CONTROLLER, &body)?;
        let (mut family, mut groups) = (None, Vec::new());
        socket.hear(|_, content| (family, groups) = families(content))?;
        let Some(family) = family else { return Ok(None) };
        groups.iter().try_for_each(|group| socket.join(*group))?;
        let mut wifi = Self { socket, family, stations: BTreeMap::new(), watched: None, totals: None, here: None, thrown_out: u32::MAX };
        wifi.ask_interfaces()?;
        Ok(Some(wifi))
    }

    /// The first station for which this holds.
    pub(super) fn station(&self, holds: impl Fn(&str) -> bool) -> Option<&str> {
        self.stations.values().map(|station| &*station.name).find(|name| holds(name))
    }

    /// What happened to this interface in the last second.
    pub(super) fn second(&mut self, watched: Option<u32>) -> io::Result<Vec<Event>> {
        let watched = watched.filter(|index| self.stations.contains_key(index));
        let (mut told, mut due) = self.hear(watched)?;
        if self.watched != watched {
            (self.watched, self.totals, self.here, told) = (watched, None, None, Vec::new());
            due.scan = true;
        }
        if due.interfaces {
            self.ask_interfaces()?;
        }
        if let Some(index) = watched {
            if due.scan {
                told.extend(self.points(index)?);
            }
            // What the second was like comes first: whether beacons stayed out says what a farewell means.
            told.splice(0..0, self.radio(index)?);
        }
        Ok(told)
    }

    fn hear(&mut self, watched: Option<u32>) -> io::Result<(Vec<Event>, Due)> {
        let Self { socket, family, stations, here, thrown_out, .. } = self;
        let (mut told, mut due) = (Vec::new(), Due::default());
        let own = watched.and_then(|index| stations.get(&index)).and_then(|station| station.mac);
        *thrown_out = thrown_out.saturating_add(1);
        let heard = socket.hear(|kind, content| {
            let Some(message) = Message::read(content).filter(|_| kind == *family) else { return };
            due.interfaces |= matches!(message.command, command::NEW_INTERFACE | command::DEL_INTERFACE);
            if message.index.is_some() && message.index == watched {
                let moved = matches!(message.command, command::CONNECT | command::ROAM | command::DISCONNECT);
                if moved {
                    *here = None;
                }
                due.scan |= moved || message.command == command::NEW_SCAN_RESULTS;
                message.tell(own, thrown_out, &mut told);
            }
        })?;
        if heard == Heard::Lost {
            due = Due { interfaces: true, scan: true };
        }
        Ok((told, due))
    }

    fn request(&mut self, command: u8, index: Option<u32>) -> io::Result<()> {
        let index = index.map(|index| attribute(attr::INDEX, &index.to_ne_bytes())).unwrap_or_default();
        self.socket.dump(self.family, &[&[command, 0, 0, 0][..], &index].concat())
    }

    fn ask_interfaces(&mut self) -> io::Result<()> {
        self.request(command::GET_INTERFACE, None)?;
        let mut stations = BTreeMap::new();
        self.socket.hear(|_, content| {
            if let Some((index, station)) = Message::read(content).and_then(|message| message.station()) {
                stations.insert(index, station);
            }
        })?;
        self.stations = stations;
        Ok(())
    }

    /// Every access point that a scan found, ours last, and only if that is news.
    fn points(&mut self, index: u32) -> io::Result<Vec<Event>> {
        self.request(command::GET_SCAN, Some(index))?;
        let (mut told, mut ours) = (Vec::new(), None);
        self.socket.hear(|_, content| {
            let Some((point, associated)) = Message::read(content).and_then(|message| message.point()) else { return };
            if associated {
                ours = Some(point);
            } else if told.len() < MOST_POINTS && !point.name.as_str().is_empty() {
                told.push(Event::Heard(point));
            }
        })?;
        if let Some(point) = ours.filter(|point| self.here.as_ref() != Some(point)) {
            self.here = Some(point.clone());
            told.push(Event::Connected(point));
        }
        Ok(told)
    }

    fn radio(&mut self, index: u32) -> io::Result<Option<Event>> {
        self.request(command::GET_STATION, Some(index))?;
        let mut found = None;
        self.socket.hear(|_, content| {
            found = Message::read(content).and_then(|message| message.radio()).or(found);
        })?;
        let Some((mut radio, now)) = found else {
            self.totals = None;
            return Ok(None);
        };
        let Some(before) = self.totals.replace(now).filter(|before| before.point == now.point) else { return Ok(None) };
        // Totals of 32 bits wrap.
        radio.sent = now.sent.wrapping_sub(before.sent).into();
        radio.retries = now.retries.wrapping_sub(before.retries).into();
        radio.failed = now.failed.wrapping_sub(before.failed).into();
        radio.beacons = now.beacons.zip(before.beacons).map(|(now, before)| now.saturating_sub(before));
        Ok(Some(Event::Radio(radio)))
    }
}

/// The number of nl80211 and of its groups that we want to hear.
fn families(content: &[u8]) -> (Option<u16>, Vec<u32>) {
    let (mut family, mut groups) = (None, Vec::new());
    for (kind, value) in attributes(content.get(4..).unwrap_or_default()) {
        match kind {
            FAMILY_ID => family = u16_of(value),
            GROUPS => groups.extend(attributes(value).filter_map(|(_, group)| wanted_group(group))),
            _ => {}
        }
    }
    (family, groups)
}

fn wanted_group(group: &[u8]) -> Option<u32> {
    let (mut wanted, mut number) = (false, None);
    for (kind, value) in attributes(group) {
        match kind {
            1 => wanted = WANTED.iter().any(|name| value.strip_suffix(b"\0") == Some(name.as_bytes())),
            2 => number = u32_of(value),
            _ => {}
        }
    }
    number.filter(|_| wanted)
}

/// A message of nl80211.
struct Message<'m> {
    command: u8,
    index: Option<u32>,
    content: &'m [u8],
}

impl<'m> Message<'m> {
    fn read(content: &'m [u8]) -> Option<Self> {
        let (command, content) = (*content.first()?, content.get(4..)?);
        let mut message = Self { command, index: None, content };
        message.index = message.get(attr::INDEX).and_then(u32_of);
        Some(message)
    }

    fn get(&self, wanted: u16) -> Option<&'m [u8]> {
        attributes(self.content).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
    }

    /// What happened to the association.
    fn tell(&self, own: Option<Mac>, thrown_out: &mut u32, told: &mut Vec<Event>) {
        match self.command {
            command::DEAUTHENTICATE | command::DISASSOCIATE => {
                if let Some(event) = self.get(attr::FRAME).and_then(|frame| farewell(frame, own)) {
                    *thrown_out = 0;
                    told.push(event);
                }
            }
            command::UNPROTECTED_DEAUTHENTICATE | command::UNPROTECTED_DISASSOCIATE => told.push(Event::Forged),
            command::DISCONNECT => self.disconnected(*thrown_out, told),
            command::NOTIFY_CQM => {
                let quality = self.get(attr::QUALITY).unwrap_or_default();
                told.extend(attributes(quality).any(|(kind, _)| kind == BEACON_LOSS).then_some(Event::BeaconsLost));
            }
            command::CHANNEL_SWITCHED | command::CHANNEL_SWITCH_STARTED => {
                told.extend(self.get(attr::FREQUENCY).and_then(u32_of).map(|frequency| Event::ChannelSwitch { frequency }));
            }
            _ => {}
        }
    }

    /// Drivers that associate in their firmware tell no frame, only the end and who wanted it.
    fn disconnected(&self, thrown_out: u32, told: &mut Vec<Event>) {
        let reason = self.get(attr::REASON).and_then(u16_of).unwrap_or_default();
        let by_access_point = self.get(attr::BY_ACCESS_POINT).is_some();
        if by_access_point && thrown_out > 1 {
            told.push(Event::Deauthenticated { reason, broadcast: false });
        }
        if !by_access_point && reason == INACTIVE {
            told.push(Event::BeaconsLost);
        }
        told.push(Event::Disconnected);
    }

    fn station(&self) -> Option<(u32, Station)> {
        (self.get(attr::KIND).and_then(u32_of)? == STATION_KIND).then_some(())?;
        let name = std::str::from_utf8(self.get(attr::NAME)?).ok()?.trim_end_matches('\0');
        Some((self.index?, Station { name: name.into(), mac: self.get(attr::MAC).and_then(Mac::from_slice) }))
    }

    /// An access point of a scan, and whether it is ours.
    fn point(&self) -> Option<(AccessPoint, bool)> {
        let (mut address, mut capability, mut found, mut associated) = (None, 0, None, false);
        for (kind, value) in attributes(self.get(attr::BSS)?) {
            match kind {
                1 => address = Mac::from_slice(value),
                5 => capability = u16_of(value).unwrap_or_default(),
                // What it answered when it was asked; before that, what its beacons say.
                6 => found = Some(value),
                9 => associated = u32_of(value) == Some(1),
                11 => found = found.or(Some(value)),
                _ => {}
            }
        }
        let (name, security) = elements::read(found?, capability);
        Some((AccessPoint { name, address: address?, security: Some(security) }, associated))
    }

    /// The station's totals; the amounts of the second are not known yet.
    fn radio(&self) -> Option<(Radio, Totals)> {
        (self.command == command::NEW_STATION).then_some(())?;
        let mut radio = Radio::default();
        let mut totals = Totals { point: self.get(attr::MAC).and_then(Mac::from_slice)?, sent: 0, retries: 0, failed: 0, beacons: None };
        for (kind, value) in attributes(self.get(attr::STATION)?) {
            match kind {
                7 => radio.signal = value.first().map(|signal| i32::from(signal.cast_signed())),
                8 => radio.send_rate = bit_rate(value),
                10 => totals.sent = u32_of(value).unwrap_or_default(),
                11 => totals.retries = u32_of(value).unwrap_or_default(),
                12 => totals.failed = u32_of(value).unwrap_or_default(),
                29 => totals.beacons = value.first_chunk().copied().map(u64::from_ne_bytes),
                _ => {}
            }
        }
        Some((radio, totals))
    }
}

/// Units of 100 kbit/s, of 32 bits where 16 are not enough.
fn bit_rate(value: &[u8]) -> Option<u64> {
    let (mut short, mut long) = (None, None);
    for (kind, value) in attributes(value) {
        match kind {
            1 => short = u16_of(value).map(u32::from),
            5 => long = u32_of(value),
            _ => {}
        }
    }
    long.or(short).map(|rate| u64::from(rate) * 100_000)
}

/// A deauthentication or disassociation (802.11, 9.3.3): only one that came, in the access point's name.
fn farewell(frame: &[u8], own: Option<Mac>) -> Option<Event> {
    let address = |at: usize| frame.get(at..at + 6).and_then(Mac::from_slice);
    let (to, from, point) = (address(4)?, address(10)?, address(16)?);
    let reason = frame.get(24..)?.first_chunk().copied().map(u16::from_le_bytes)?;
    (from == point && Some(from) != own).then_some(Event::Deauthenticated { reason, broadcast: to == Mac([0xff; 6]) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::monitor::detect::rules::event::{Name, Security};

    const OWN: Mac = Mac([2, 0, 0, 0, 0, 5]);
    const POINT: Mac = Mac([2, 0, 0, 0, 1, 0]);

    fn message(command: u8, parts: &[Vec<u8>]) -> Vec<u8> {
        [&[command, 1, 0, 0][..], &attribute(attr::INDEX, &3_u32.to_ne_bytes()), &parts.concat()].concat()
    }

    fn said(command: u8, parts: &[Vec<u8>]) -> Vec<Event> {
        let (content, mut told, mut thrown_out) = (message(command, parts), Vec::new(), 9);
        Message::read(&content).expect("a message").tell(Some(OWN), &mut thrown_out, &mut told);
        told
    }

    fn frame(to: [u8; 6], from: Mac) -> Vec<u8> {
        [&[0xc0, 0, 0, 0][..], &to, &from.0, &POINT.0, &[0, 0, 7, 0]].concat()
    }

    #[test]
    fn what_ends_the_association_is_told_apart() {
        let deauth = |frame: Vec<u8>| said(command::DEAUTHENTICATE, &[attribute(attr::FRAME, &frame)]);
        assert_eq!(deauth(frame(OWN.0, POINT)), [Event::Deauthenticated { reason: 7, broadcast: false }]);
        assert_eq!(deauth(frame([0xff; 6], POINT)), [Event::Deauthenticated { reason: 7, broadcast: true }]);
        // Our own farewell.
        assert_eq!(deauth(frame(POINT.0, OWN)), []);
        assert_eq!(said(command::UNPROTECTED_DEAUTHENTICATE, &[]), [Event::Forged]);

        let reason = |reason: u16| attribute(attr::REASON, &reason.to_ne_bytes());
        let by_point = [reason(2), attribute(attr::BY_ACCESS_POINT, &[])];
        assert_eq!(said(command::DISCONNECT, &by_point), [Event::Deauthenticated { reason: 2, broadcast: false }, Event::Disconnected]);
        assert_eq!(said(command::DISCONNECT, &[reason(4)]), [Event::BeaconsLost, Event::Disconnected]);
        assert_eq!(said(command::DISCONNECT, &[reason(3)]), [Event::Disconnected]);
    }

    #[test]
    fn lost_beacons_and_another_channel_are_told() {
        let quality = attribute(attr::QUALITY, &attribute(BEACON_LOSS, &[]));
        let switch = said(command::CHANNEL_SWITCH_STARTED, &[attribute(attr::FREQUENCY, &2437_u32.to_ne_bytes())]);

        assert_eq!(said(command::NOTIFY_CQM, &[quality]), [Event::BeaconsLost]);
        assert_eq!(switch, [Event::ChannelSwitch { frequency: 2437 }]);
    }

    #[test]
    fn a_scan_tells_name_address_and_protection() {
        let ies = [&[0, 4][..], b"Home", &[48, 20, 1, 0, 0, 15, 172, 4, 1, 0, 0, 15, 172, 4, 1, 0, 0, 15, 172, 2, 0, 0]].concat();
        let bss = [attribute(1, &POINT.0), attribute(5, &0x11_u16.to_ne_bytes()), attribute(6, &ies), attribute(9, &1_u32.to_ne_bytes())];
        let content = message(command::NEW_SCAN_RESULTS, &[attribute(attr::BSS, &bss.concat())]);

        let found = Message::read(&content).and_then(|message| message.point());

        let point = AccessPoint { name: Name::new(b"Home"), address: POINT, security: Some(Security::Wpa2) };
        assert_eq!(found, Some((point, true)));
    }

    #[test]
    fn the_stations_second_is_read() {
        let info = [
            attribute(7, &(-52_i8).to_ne_bytes()),
            attribute(8, &attribute(5, &7200_u32.to_ne_bytes())),
            attribute(10, &100_u32.to_ne_bytes()),
            attribute(11, &7_u32.to_ne_bytes()),
            attribute(29, &90_u64.to_ne_bytes()),
        ];
        let content = message(command::NEW_STATION, &[attribute(attr::MAC, &POINT.0), attribute(attr::STATION, &info.concat())]);

        let (radio, totals) = Message::read(&content).and_then(|message| message.radio()).expect("a station");

        assert_eq!((radio.signal, radio.send_rate), (Some(-52), Some(720_000_000)));
        assert_eq!(totals, Totals { point: POINT, sent: 100, retries: 7, failed: 0, beacons: Some(90) });
    }

    #[test]
    fn a_machine_without_wifi_says_so_and_with_it_is_heard() {
        if let Ok(Some(mut wifi)) = Wifi::open() {
            assert!(wifi.second(None).is_ok());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_none(content: Vec<u8>) {
            let _ = families(&content);
            if let Some(message) = Message::read(&content) {
                let _ = (message.point(), message.radio(), message.station());
                message.tell(Some(OWN), &mut 0, &mut Vec::new());
            }
            let _ = farewell(&content, None);
        }
    }
}
