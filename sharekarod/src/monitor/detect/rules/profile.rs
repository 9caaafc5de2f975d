//! What belongs to which network: learnt when it is seen first, quietly; changed later only when somebody approves.
//!
//! On the air a network is its name. Behind it, it is the name and the gateway; on a wire, the gateway's address and
//! hardware address, as the same private addresses stand behind every second router.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::event::{Event, Name, Security};
use crate::monitor::mac::Mac;

/// Seconds after a network was first met in which everything on it is usual.
pub(super) const SETTLING: i64 = 10;
/// Bounds: whoever invents names or addresses pushes out the oldest, and fills nothing.
const MOST_NAMES: usize = 256;
const MOST_NETWORKS: usize = 128;
const MOST_DEVICES: usize = 4096;
const MOST_POINTS: usize = 1024;

/// Something that somebody approved of, with the network that it belongs to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Belonging {
    /// An access point, with what protects it.
    AccessPoint(Name, Mac, Option<Security>),
    /// A gateway's hardware address.
    Gateway(NetworkId, Mac),
    /// A DHCP server.
    DhcpServer(NetworkId, IpAddr),
    /// Name servers.
    NameServers(NetworkId, BTreeSet<IpAddr>),
}

/// The number of a network's profile.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub struct NetworkId(pub u64);

/// A network's name on the air.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Air {
    pub(super) points: BTreeSet<Mac>,
    pub(super) security: Option<Security>,
    /// Grows with each name that something is learnt of: the smallest is the one of longest ago.
    #[serde(default)]
    turn: u64,
}

/// What belongs to one network.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Profile {
    /// Its number, for approving and forgetting.
    pub id: NetworkId,
    /// Its name on the air; none on a wire.
    pub name: Option<Name>,
    /// The gateway's address.
    pub gateway: Option<IpAddr>,
    /// The gateway's hardware addresses.
    pub gateways: BTreeSet<Mac>,
    /// DHCP servers.
    pub dhcp_servers: BTreeSet<IpAddr>,
    /// Name servers.
    pub name_servers: BTreeSet<IpAddr>,
    /// Devices, and when each was seen last.
    pub devices: BTreeMap<Mac, Timestamp>,
    /// When it was met first.
    pub since: Timestamp,
}

impl Profile {
    fn new(id: NetworkId, name: Option<Name>, gateway: Option<IpAddr>, since: Timestamp) -> Self {
        let (gateways, dhcp_servers, name_servers, devices) = Default::default();
        Self { id, name, gateway, gateways, dhcp_servers, name_servers, devices, since }
    }

    /// Its first seconds are over: what is new now is new.
    pub(super) fn is_learnt(&self, now: Timestamp) -> bool {
        now.duration_since(self.since).as_secs() >= SETTLING
    }

    /// Whether the device was unknown here.
    pub(super) fn meet(&mut self, device: Mac, now: Timestamp) -> bool {
        if self.devices.len() >= MOST_DEVICES && !self.devices.contains_key(&device) {
            let oldest = self.devices.iter().min_by_key(|(_, seen)| **seen).map(|(mac, _)| *mac);
            oldest.and_then(|oldest| self.devices.remove(&oldest));
        }
        self.devices.insert(device, now).is_none()
    }
}

/// All profiles, and where we are.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Profiles {
    air: BTreeMap<Name, Air>,
    networks: Vec<Profile>,
    next: u64,
    #[serde(skip)]
    here: Here,
}

/// Where we are now; found out anew after each start.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Here {
    name: Option<Name>,
    gateway: Option<IpAddr>,
    network: Option<NetworkId>,
    joined: Option<Timestamp>,
    /// An access point that was not known when we came to it.
    stranger: Option<(Mac, Timestamp)>,
}

impl Profiles {
    /// Finds out where we are.
    pub(super) fn follow(&mut self, event: &Event, now: Timestamp) {
        match event {
            Event::Connected(point) if self.here.name.as_ref() != Some(&point.name) => {
                self.here = Here { name: Some(point.name.clone()), ..Here::default() };
            }
            // The link comes up right after we came to an access point: which one that was stays of interest.
            Event::LinkUp => self.here = Here { name: self.here.name.take(), stranger: self.here.stranger.take(), ..Here::default() },
            Event::Gateway(gateway) if self.here.gateway != Some(*gateway) => {
                self.here = Here { gateway: Some(*gateway), network: None, joined: None, ..self.here.clone() };
            }
            Event::Neighbour(address, mac) if self.here.gateway == Some(*address) && self.here.network.is_none() => self.join(*mac, now),
            _ => {}
        }
    }

    /// The gateway was heard for the first time here: now we know which network this is.
    fn join(&mut self, mac: Mac, now: Timestamp) {
        let (name, gateway) = (self.here.name.clone(), self.here.gateway);
        let same =
            |profile: &&Profile| profile.name == name && profile.gateway == gateway && (name.is_some() || profile.gateways.contains(&mac));
        let known = self.networks.iter().find(same).map(|profile| profile.id);
        let id = known.unwrap_or_else(|| self.create(name, gateway, now));
        (self.here.network, self.here.joined) = (Some(id), Some(now));
    }

    fn create(&mut self, name: Option<Name>, gateway: Option<IpAddr>, now: Timestamp) -> NetworkId {
        self.next += 1;
        let id = NetworkId(self.next);
        if self.networks.len() >= MOST_NETWORKS {
            self.networks.remove(0);
        }
        self.networks.push(Profile::new(id, name, gateway, now));
        id
    }

    /// The network that we are on; before its gateway was heard, one without.
    pub(super) fn here(&mut self, now: Timestamp) -> &mut Profile {
        let id = self.here.network.or_else(|| self.networks.iter().find(|profile| profile.gateway.is_none()).map(|profile| profile.id));
        let place = id.and_then(|id| self.networks.iter().position(|profile| profile.id == id));
        let place = place.unwrap_or_else(|| {
            self.create(None, None, now);
            self.networks.len() - 1
        });
        &mut self.networks[place]
    }

    /// The gateway's address, once there is a route.
    pub(super) const fn gateway(&self) -> Option<IpAddr> {
        self.here.gateway
    }

    /// How long we have been on this network.
    pub(super) fn here_for(&self, now: Timestamp) -> Option<i64> {
        self.here.joined.map(|joined| now.duration_since(joined).as_secs())
    }

    pub(super) fn air(&self, name: &Name) -> Option<&Air> {
        self.air.get(name)
    }

    pub(super) fn learn_point(&mut self, name: &Name, point: Mac, security: Option<Security>) {
        if self.air.len() >= MOST_NAMES && !self.air.contains_key(name) {
            let others = self.air.iter().filter(|(other, _)| self.here.name.as_ref() != Some(other));
            let oldest = others.min_by_key(|(_, air)| air.turn).map(|(name, _)| name.clone());
            oldest.and_then(|oldest| self.air.remove(&oldest));
        }
        let turn = self.air.values().map(|air| air.turn).max().unwrap_or_default() + 1;
        let air = self.air.entry(name.clone()).or_default();
        air.turn = turn;
        if air.points.len() < MOST_POINTS {
            air.points.insert(point);
        }
        air.security = air.security.max(security);
    }

    pub(super) fn forget_air(&mut self, name: &Name) {
        self.air.remove(name);
    }

    /// Takes back what was learnt too early.
    pub(super) fn forget_point(&mut self, name: &Name, point: Mac) {
        if let Some(air) = self.air.get_mut(name) {
            air.points.remove(&point);
        }
    }

    pub(super) fn note_stranger(&mut self, point: Mac, now: Timestamp) {
        self.here.stranger = Some((point, now));
    }

    /// The unknown access point to which we came within the last minute.
    pub(super) fn stranger(&self, now: Timestamp) -> Option<(Mac, &Name)> {
        let (point, since) = self.here.stranger?;
        (now.duration_since(since).as_secs() < 60).then_some(())?;
        self.here.name.as_ref().map(|name| (point, name))
    }

    /// Takes in what somebody calls normal.
    pub fn approve(&mut self, belonging: &Belonging) {
        match belonging {
            Belonging::AccessPoint(name, point, security) => {
                self.learn_point(name, *point, None);
                if let Some(air) = self.air.get_mut(name) {
                    air.security = security.or(air.security);
                }
            }
            Belonging::Gateway(id, mac) => self.change(*id, |profile| {
                profile.gateways.insert(*mac);
            }),
            Belonging::DhcpServer(id, server) => self.change(*id, |profile| {
                profile.dhcp_servers.insert(*server);
            }),
            Belonging::NameServers(id, servers) => self.change(*id, |profile| profile.name_servers.extend(servers)),
        }
    }

    fn change(&mut self, id: NetworkId, change: impl FnOnce(&mut Profile)) {
        if let Some(profile) = self.networks.iter_mut().find(|profile| profile.id == id) {
            change(profile);
        }
    }

    /// Forgets a network: it will be learnt anew. Whether it was known.
    pub fn forget(&mut self, id: NetworkId) -> bool {
        let known = self.networks.iter().any(|profile| profile.id == id);
        let name = self.networks.iter().find(|profile| profile.id == id).and_then(|profile| profile.name.clone());
        self.networks.retain(|profile| profile.id != id);
        if let Some(name) = name.filter(|name| self.networks.iter().all(|profile| profile.name.as_ref() != Some(name))) {
            self.air.remove(&name);
        }
        if self.here.network == Some(id) {
            self.here.network = None;
        }
        known
    }

    /// Every network that was learnt.
    #[must_use]
    pub fn networks(&self) -> &[Profile] {
        &self.networks
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Rules, testing::*};
    use super::*;

    const GATEWAY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    #[test]
    fn of_too_many_names_the_one_of_longest_ago_is_forgotten_and_never_ours() {
        let (mut profiles, name) = (Profiles::default(), |number: usize| Name::new(format!("{:03}", 999 - number).as_bytes()));
        let ours = super::super::AccessPoint { name: name(0), address: mac(1), security: None };
        profiles.follow(&Event::Connected(ours), at(0));

        for number in 0..MOST_NAMES {
            profiles.learn_point(&name(number), mac(1), None);
        }
        profiles.learn_point(&name(1), mac(2), None);
        for number in MOST_NAMES..MOST_NAMES + 10 {
            profiles.learn_point(&name(number), mac(1), None);
        }

        let known: Vec<usize> = (0..MOST_NAMES + 10).filter(|number| profiles.air(&name(*number)).is_some()).collect();
        assert_eq!(known, (0..2).chain(12..MOST_NAMES + 10).collect::<Vec<_>>());
    }

    #[test]
    fn another_wire_behind_the_same_private_address_is_another_network() {
        let mut rules = Rules::default();
        let office = [(0, Event::LinkUp), (1, Event::Gateway(GATEWAY)), (2, Event::Neighbour(GATEWAY, mac(1)))];
        let cafe = [(60_000, Event::LinkUp), (60_001, Event::Gateway(GATEWAY)), (60_002, Event::Neighbour(GATEWAY, mac(2)))];

        assert_eq!(kinds(&mut rules, office.clone()), []);
        assert_eq!(kinds(&mut rules, cafe), []);
        assert_eq!(kinds(&mut rules, office.map(|(millis, event)| (millis + 120_000, event))), []);

        assert_eq!(rules.profiles.networks().len(), 2);
    }

    #[test]
    fn what_is_learnt_survives_being_written_down() {
        let mut rules = Rules::default();
        let home = home(1, Security::Wpa2);
        kinds(&mut rules, [(0, Event::Connected(home)), (1, Event::Gateway(GATEWAY)), (2, Event::Neighbour(GATEWAY, mac(9)))]);

        let text = serde_json::to_string(&rules.profiles).expect("plain data");
        let back: Profiles = serde_json::from_str(&text).expect("the same");

        assert_eq!(back.networks(), rules.profiles.networks());
        assert_eq!(back.air, rules.profiles.air);
    }

    #[test]
    fn a_forgotten_network_is_learnt_anew() {
        let mut rules = Rules::default();
        kinds(&mut rules, [(0, Event::Gateway(GATEWAY)), (2, Event::Neighbour(GATEWAY, mac(1)))]);
        let id = rules.profiles.networks()[0].id;

        rules.profiles.forget(id);

        assert!(rules.profiles.networks().is_empty());
        assert_eq!(kinds(&mut rules, [(9_000, Event::Neighbour(GATEWAY, mac(7)))]), []);
    }

    #[test]
    fn invented_devices_push_each_other_out() {
        let mut profile = Profile::new(NetworkId(1), None, None, at(0));
        for number in 0..3 * MOST_DEVICES as u32 {
            let [a, b, c, d] = number.to_be_bytes();
            profile.meet(Mac([2, 0, a, b, c, d]), at(i64::from(number)));
        }

        assert_eq!(profile.devices.len(), MOST_DEVICES);
    }
}
