//! Who is announced: a table of instances, and what of it has not been told yet.
//!
//! Anybody on the LAN can announce anything, as often as he likes. So the table is bounded, several announcements of one
//! device add up instead of replacing each other, and of one device there is at most one sighting a second.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    time::{Duration, Instant},
};

use sharekaro_proto::DeviceId;

use super::Sighting;

/// Devices that nobody knows, at most; those that are known always find a place.
pub(super) const UNKNOWN: usize = 256;

/// Announcements of one device, at most: it, and who pretends to be.
const PER_DEVICE: usize = 4;

/// Addresses of one announcement, at most.
const ADDRESSES: usize = 16;

/// Of one device, sightings are told no more often.
const PAUSE: Duration = Duration::from_secs(1);

/// What an announcement says, once it makes sense.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Instance {
    pub(super) id: DeviceId,
    pub(super) name: String,
    pub(super) addresses: Vec<SocketAddr>,
}

#[derive(Default)]
pub(super) struct Sightings {
    /// Full name of an announcement to whom it names.
    names: HashMap<String, DeviceId>,
    devices: BTreeMap<DeviceId, Device>,
}

#[derive(Default)]
struct Device {
    /// By full name; the first seen gives the name.
    instances: Vec<(String, Instance)>,
    known: bool,
    told: Option<Instance>,
    told_at: Option<Instant>,
    changed: bool,
}

/// There is no place for it.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Full;

impl Sightings {
    /// An announcement was seen. The same again changes nothing.
    ///
    /// # Errors
    /// `Full` where the table is, of devices that nobody knows.
    pub(super) fn seen(&mut self, fullname: &str, mut instance: Instance, known: bool) -> Result<(), Full> {
        instance.addresses.truncate(ADDRESSES);
        if self.names.get(fullname).is_some_and(|id| *id != instance.id) {
            self.gone(fullname);
        }
        let unknown = self.devices.values().filter(|device| !device.known).count();
        if !known && unknown >= UNKNOWN && !self.devices.contains_key(&instance.id) {
            return Err(Full);
        }
        let device = self.devices.entry(instance.id).or_default();
        device.known |= known;
        let crowded = device.instances.len() >= PER_DEVICE;
        match device.instances.iter_mut().find(|(name, _)| name == fullname) {
            Some((_, before)) if *before == instance => return Ok(()),
            Some((_, before)) => *before = instance,
            None if crowded => return Err(Full),
            None => {
                self.names.insert(fullname.to_owned(), instance.id);
                device.instances.push((fullname.to_owned(), instance));
            }
        }
        device.changed = true;
        Ok(())
    }

    /// An announcement was taken back or ran out.
    pub(super) fn gone(&mut self, fullname: &str) {
        let Some(id) = self.names.remove(fullname) else { return };
        if let Some(device) = self.devices.get_mut(&id) {
            device.instances.retain(|(name, _)| name != fullname);
            device.changed = true;
        }
    }

    /// All announcements are forgotten; who is not seen again is gone.
    pub(super) fn forget(&mut self) {
        self.names.clear();
        for device in self.devices.values_mut() {
            device.instances.clear();
            device.changed = true;
        }
    }

    /// What is to be told now.
    pub(super) fn due(&mut self, now: Instant) -> Option<Sighting> {
        loop {
            let (id, device) = self.devices.iter_mut().find(|(_, device)| device.due_at().is_some_and(|at| at <= now))?;
            let id = *id;
            device.changed = false;
            let (before, current) = (device.told.take(), device.current(id));
            device.told = current.clone();
            let Some(current) = current else {
                self.devices.remove(&id);
                // Who came and went in between was never told.
                if before.is_some() {
                    return Some(Sighting::Gone { id });
                }
                continue;
            };
            if before.as_ref() != Some(&current) {
                device.told_at = Some(now);
                return Some(Sighting::Seen { id, name: current.name, addresses: current.addresses });
            }
        }
    }

    /// When there will be something to tell.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.devices.values().filter_map(Device::due_at).min()
    }
}

impl Device {
    /// What was told a moment ago waits.
    fn due_at(&self) -> Option<Instant> {
        // Whoever was never told is due at once; any moment that is past will do.
        self.changed.then(|| self.told_at.map_or_else(past, |at| at + PAUSE))
    }

    /// All that is announced of it, together.
    fn current(&self, id: DeviceId) -> Option<Instance> {
        let (_, first) = self.instances.first()?;
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for address in self.instances.iter().flat_map(|(_, instance)| &instance.addresses) {
            if !addresses.contains(address) {
                addresses.push(*address);
            }
        }
        Some(Instance { id, name: first.name.clone(), addresses })
    }
}

/// The moment this process first asked: no later than any other that is asked about.
fn past() -> Instant {
    static PAST: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *PAST.get_or_init(Instant::now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(number: u16, address: &str) -> Instance {
        let mut id = [0; 32];
        id[..2].copy_from_slice(&number.to_be_bytes());
        Instance { id: DeviceId::from_bytes(id), name: format!("device {number}"), addresses: vec![address.parse().unwrap()] }
    }

    fn seen(instance: &Instance) -> Option<Sighting> {
        let Instance { id, name, addresses } = instance.clone();
        Some(Sighting::Seen { id, name, addresses })
    }

    #[test]
    fn the_same_announcement_again_is_told_once() {
        let (mut sightings, now) = (Sightings::default(), past());
        let alice = instance(1, "10.0.0.1:5000");

        for _ in 0..3 {
            sightings.seen("a", alice.clone(), false).unwrap();
        }

        assert_eq!(sightings.due(now), seen(&alice));
        sightings.seen("a", alice, false).unwrap();
        assert_eq!((sightings.due(now), sightings.next_due()), (None, None));
    }

    #[test]
    fn a_flapping_announcement_is_told_once_a_second() {
        let (mut sightings, now) = (Sightings::default(), past());
        let alice = instance(1, "10.0.0.1:5000");
        sightings.seen("a", alice.clone(), false).unwrap();
        assert_eq!(sightings.due(now), seen(&alice));

        for _ in 0..1000 {
            sightings.gone("a");
            sightings.seen("a", alice.clone(), false).unwrap();
        }
        sightings.gone("a");

        assert_eq!((sightings.due(now), sightings.next_due()), (None, Some(now + PAUSE)));
        assert_eq!(sightings.due(now + PAUSE), Some(Sighting::Gone { id: alice.id }));
        assert!(sightings.devices.is_empty() && sightings.names.is_empty());
    }

    #[test]
    fn who_pretends_to_be_another_adds_an_address_and_takes_none_away() {
        let (mut sightings, now) = (Sightings::default(), past());
        let alice = instance(1, "10.0.0.1:5000");
        sightings.seen("a", alice.clone(), true).unwrap();
        sightings.seen("evil", Instance { name: "Bank".to_owned(), ..instance(1, "10.0.0.66:5000") }, true).unwrap();

        let Some(Sighting::Seen { name, addresses, .. }) = sightings.due(now) else { panic!("nothing is told") };
        assert_eq!((name.as_str(), addresses.len()), ("device 1", 2));

        sightings.gone("evil");
        assert_eq!(sightings.due(now + PAUSE), seen(&alice));
    }

    #[test]
    fn a_flood_of_devices_fills_the_table_and_keeps_known_ones_in() {
        let mut sightings = Sightings::default();

        let full = (0..5000).filter(|i| sightings.seen(&format!("x{i}"), instance(*i, "10.0.0.1:5000"), false).is_err()).count();

        assert_eq!(full, 5000 - UNKNOWN);
        assert_eq!(sightings.seen("friend", instance(9999, "10.0.0.2:5000"), true), Ok(()));
        for i in 0..100 {
            let _ = sightings.seen(&format!("y{i}"), instance(9999, "10.0.0.2:5000"), true);
        }
        assert!(sightings.names.len() <= UNKNOWN + PER_DEVICE);
    }

    #[test]
    fn after_a_new_start_who_is_seen_again_is_not_told_again() {
        let (mut sightings, now) = (Sightings::default(), past());
        let (alice, bob) = (instance(1, "10.0.0.1:5000"), instance(2, "10.0.0.2:5000"));
        sightings.seen("a", alice.clone(), false).unwrap();
        sightings.seen("b", bob.clone(), false).unwrap();
        while sightings.due(now).is_some() {}

        sightings.forget();
        sightings.seen("a", alice, false).unwrap();

        let told: Vec<Sighting> = std::iter::from_fn(|| sightings.due(now + PAUSE)).collect();
        assert_eq!(told, [Sighting::Gone { id: bob.id }]);
    }
}
