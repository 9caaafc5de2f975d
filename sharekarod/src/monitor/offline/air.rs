//! Frames of 802.11 from a card in monitor mode, as the same events that the kernel tells of a live station.
//!
//! Such a card hears everybody, so "we" are all stations. That an access point throws one out happens; that it does so to
//! the same one again at once, or to everybody, is what is told. Whoever has a radio writes all of this.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::monitor::{
    detect::rules::event::{AccessPoint, Event},
    mac::Mac,
    packets::captures::Packet,
    sources::elements,
};

const WLAN: u32 = 105;
const RADIOTAP: u32 = 127;
const PPI: u32 = 192;

/// Types and subtypes of frames (802.11, 9.2.4.1), as the first byte has them.
const PROBE_RESPONSE: u8 = 0x50;
const BEACON: u8 = 0x80;
const DISASSOCIATION: u8 = 0xa0;
const DEAUTHENTICATION: u8 = 0xc0;
const DATA: u8 = 0x08;
const KIND: u8 = 0x0c;
/// Flags: sent again, and encrypted.
const RETRY: u8 = 0x08;
const PROTECTED: u8 = 0x40;
const HEADER: usize = 24;
/// Time stamp, interval and capabilities before a beacon's elements.
const FIXED: usize = 12;
/// Once more to the same station within so many seconds is no coincidence.
const AGAIN: i64 = 10;
/// A station that sent or got encrypted data so lately is associated.
const LATELY: i64 = 60;
/// Whoever invents stations fills these tables, and no more.
const MOST: usize = 4096;

type Pair = (Mac, Mac);

/// What was heard of stations and access points.
#[derive(Default)]
pub(super) struct Air {
    /// Whether an access point demands that management frames are protected.
    demands: BTreeMap<Mac, bool>,
    /// When an access point and a station exchanged encrypted data last.
    data: BTreeMap<Pair, Timestamp>,
    thrown_out: BTreeMap<Pair, Timestamp>,
}

impl Air {
    /// What a frame tells.
    pub(super) fn events(&mut self, packet: &Packet<'_>, at: Timestamp) -> Vec<Event> {
        frame(packet).and_then(|frame| self.frame(frame, at)).unwrap_or_default()
    }

    fn frame(&mut self, frame: &[u8], at: Timestamp) -> Option<Vec<Event>> {
        let (kind, flags) = (*frame.first()?, *frame.get(1)?);
        let [to, from, third] = [4, 10, 16].map(|place| frame.get(place..place + 6).and_then(Mac::from_slice));
        let (to, from) = (to?, from?);
        match kind {
            BEACON | PROBE_RESPONSE => self.beacon(third?, frame.get(HEADER..)?),
            DEAUTHENTICATION | DISASSOCIATION if Some(from) == third && flags & RETRY == 0 => {
                self.thrown_out(from, to, flags & PROTECTED != 0, frame.get(HEADER..)?, at)
            }
            kind if kind & KIND == DATA && flags & PROTECTED != 0 => {
                note(&mut self.data, (from, to), at);
                note(&mut self.data, (to, from), at);
                None
            }
            _ => None,
        }
    }

    fn beacon(&mut self, address: Mac, body: &[u8]) -> Option<Vec<Event>> {
        let capability = u16::from_le_bytes(*body.get(FIXED - 2..)?.first_chunk()?);
        let content = body.get(FIXED..)?;
        let (name, security) = elements::read(content, capability);
        if self.demands.len() < MOST || self.demands.contains_key(&address) {
            self.demands.insert(address, elements::demands_protection(content));
        }
        let point = AccessPoint { name, address, security: Some(security) };
        let heard = (!point.name.as_str().is_empty()).then_some(Event::Heard(point));
        let switch = elements::channel_switch(content).map(|frequency| Event::ChannelSwitch { frequency });
        Some(heard.into_iter().chain(switch).collect())
    }

    fn thrown_out(&mut self, point: Mac, station: Mac, protected: bool, body: &[u8], at: Timestamp) -> Option<Vec<Event>> {
        let reason = u16::from_le_bytes(*body.first_chunk()?);
        let broadcast = !station.is_single();
        let recent = |table: &BTreeMap<Pair, Timestamp>, seconds| {
            table.get(&(point, station)).is_some_and(|last| at.duration_since(*last).as_secs() < seconds)
        };
        // A station that is not associated may be told so without protection; one that is may not.
        let checked = protected || broadcast && elements::is_checked(body.get(2..).unwrap_or_default());
        let demanded = self.demands.get(&point).is_some_and(|demands| *demands);
        let forged = demanded && !checked && (broadcast || recent(&self.data, LATELY));
        let again = recent(&self.thrown_out, AGAIN);
        note(&mut self.thrown_out, (point, station), at);
        let told = Event::Deauthenticated { reason, broadcast };
        match (forged, broadcast, again) {
            (true, _, _) => Some(vec![Event::Forged]),
            (false, true, _) => Some(vec![told]),
            // The first one was not told.
            (false, false, true) => Some(vec![told.clone(), told]),
            (false, false, false) => None,
        }
    }
}

fn note(table: &mut BTreeMap<Pair, Timestamp>, pair: Pair, at: Timestamp) {
    if table.len() < MOST || table.contains_key(&pair) {
        table.insert(pair, at);
    }
}

/// The frame behind what capturing puts before it, whose length stands in its third and fourth byte.
fn frame<'p>(packet: &Packet<'p>) -> Option<&'p [u8]> {
    let length = || packet.data.get(2..)?.first_chunk().map(|length| usize::from(u16::from_le_bytes(*length)));
    match packet.link {
        WLAN => Some(packet.data),
        RADIOTAP => packet.data.get(length()?..),
        PPI if packet.data.get(4..8)? == WLAN.to_le_bytes() => packet.data.get(length()?..),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const POINT: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const STATION: [u8; 6] = [2, 0, 0, 0, 0, 2];
    const ALL: [u8; 6] = [0xff; 6];

    fn management(kind: u8, to: [u8; 6], body: &[u8]) -> Vec<u8> {
        [&[kind, 0, 0, 0][..], &to, &POINT, &POINT, &[0, 0], body].concat()
    }

    /// A beacon of WPA2, with or without the demand for protected management frames.
    fn beacon(demands: bool) -> Vec<u8> {
        let rsn = [48, 20, 1, 0, 0, 15, 172, 4, 1, 0, 0, 15, 172, 4, 1, 0, 0, 15, 172, 2, if demands { 0x40 } else { 0 }, 0];
        management(BEACON, ALL, &[&[0; 10][..], &[0x11, 0], &[0, 4], b"Home", &rsn].concat())
    }

    fn told(frames: &[(i64, Vec<u8>)]) -> Vec<Event> {
        let mut air = Air::default();
        let heard = |(second, data): &(i64, Vec<u8>)| {
            let tapped = [&[0, 0, 8, 0, 0, 0, 0, 0][..], data].concat();
            let at = Timestamp::constant(1_750_000_000, 0) + Duration::from_secs(*second as u64);
            air.events(&Packet { time: 0, link: RADIOTAP, big_endian: false, length: 99, data: &tapped }, at)
        };
        frames.iter().flat_map(heard).filter(|event| !matches!(event, Event::Heard(_))).collect()
    }

    #[test]
    fn one_station_thrown_out_is_ordinary_and_again_or_all_of_them_is_not() {
        let out = |to| management(DEAUTHENTICATION, to, &[7, 0]);
        let event = |broadcast| Event::Deauthenticated { reason: 7, broadcast };

        assert_eq!(told(&[(0, out(STATION)), (30, out(STATION))]), []);
        assert_eq!(told(&[(0, out(STATION)), (1, out(STATION))]), [event(false), event(false)]);
        assert_eq!(told(&[(0, out(ALL))]), [event(true)]);
        let mut again = out(STATION);
        again[1] = RETRY;
        assert_eq!(told(&[(0, out(STATION)), (1, again)]), []);
    }

    #[test]
    fn without_the_protection_that_is_demanded_it_is_forged() {
        let out = |to, body: &[u8]| management(DEAUTHENTICATION, to, &[&[7, 0][..], body].concat());
        let mut data = management(DATA, STATION, &[0; 40]);
        data[1] = PROTECTED;
        let check = [&[76, 16][..], &[0; 16]].concat();

        assert_eq!(told(&[(0, beacon(true)), (1, data.clone()), (2, out(STATION, &[]))]), [Event::Forged]);
        assert_eq!(told(&[(0, beacon(true)), (2, out(STATION, &[]))]), []);
        assert_eq!(told(&[(0, beacon(true)), (2, out(ALL, &[]))]), [Event::Forged]);
        assert_eq!(told(&[(0, beacon(true)), (2, out(ALL, &check))]), [Event::Deauthenticated { reason: 7, broadcast: true }]);
        assert_eq!(told(&[(0, beacon(false)), (1, data), (2, out(STATION, &[]))]), []);
    }

    #[test]
    fn a_switch_of_the_channel_is_told_with_its_frequency() {
        let body = |channel| [&[0; 10][..], &[0x11, 0], &[0, 4], b"Home", &[37, 3, 1, channel, 4]].concat();

        for (channel, frequency) in [(6, 2437), (14, 2484), (36, 5180)] {
            assert_eq!(told(&[(0, management(BEACON, ALL, &body(channel)))]), [Event::ChannelSwitch { frequency }]);
        }
    }

    proptest! {
        #[test]
        fn noise_never_panics(link in proptest::sample::select(vec![WLAN, RADIOTAP, PPI]), data: Vec<u8>) {
            Air::default().events(&Packet { time: 0, link, big_endian: false, length: 0, data: &data }, Timestamp::UNIX_EPOCH);
        }
    }
}
