//! What the kernel knows of the LAN, told by route netlink to a plain user: links, our addresses, the neighbours; and the
//! gateway, the refusals and the name servers from their small files.
//!
//! Everything is asked for once, then heard of as it changes: a neighbour that flips to and fro within a second is heard
//! of twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use super::{
    netlink::{Heard, Netlink, attributes, u16_of, u32_of},
    proc::{NameServers, Refusals, Routes},
};
use crate::monitor::{detect::rules::event::Event, mac::Mac};

/// `NETLINK_ROUTE`, and its groups and messages (`linux/rtnetlink.h`).
const ROUTE: isize = 0;
const GROUPS: [u32; 6] = [LINKS, NEIGHBOURS, V4_ADDRESSES, V4_ROUTES, V6_ADDRESSES, V6_ROUTES];
const LINKS: u32 = 1;
const NEIGHBOURS: u32 = 3;
const V4_ADDRESSES: u32 = 5;
const V4_ROUTES: u32 = 7;
const V6_ADDRESSES: u32 = 9;
const V6_ROUTES: u32 = 11;
const NEW_LINK: u16 = 16;
const DEL_LINK: u16 = 17;
const GET_LINK: u16 = 18;
const NEW_ADDRESS: u16 = 20;
const DEL_ADDRESS: u16 = 21;
const GET_ADDRESS: u16 = 22;
const NEW_ROUTE: u16 = 24;
const DEL_ROUTE: u16 = 25;
const NEW_NEIGHBOUR: u16 = 28;
const GET_NEIGHBOUR: u16 = 30;
/// Flags of a link: up, and able to carry packets.
const UP: u32 = 0x1;
const RUNNING: u32 = 0x40;
/// States of a neighbour whose hardware address the kernel believes (`linux/neighbour.h`): reachable, stale, delay, probe,
/// permanent.
const BELIEVED: u16 = 0x02 | 0x04 | 0x08 | 0x10 | 0x80;
/// Seconds after which the neighbours are told of again: rules that did not know yet where we are do now.
const AGAIN_EVERY: u64 = 10;
/// Whoever makes interfaces or addresses without end fills the kernel's tables, not ours.
const MOST_LINKS: usize = 1024;
const MOST_NEIGHBOURS: usize = 4096;

#[derive(Debug)]
struct Link {
    name: Arc<str>,
    up: bool,
    mac: Option<Mac>,
}

/// Where the watched interface stands.
#[derive(Debug, Default)]
struct Here {
    index: Option<u32>,
    up: bool,
    gateway: Option<IpAddr>,
}

/// The links, and what changes behind the watched one.
pub(super) struct Lan {
    socket: Netlink,
    links: BTreeMap<u32, Link>,
    addresses: Vec<(u32, IpAddr)>,
    /// The watched interface's.
    neighbours: BTreeMap<IpAddr, Mac>,
    routes: Routes,
    refusals: Refusals,
    name_servers: NameServers,
    here: Here,
    seconds: u64,
}

impl Lan {
    /// Everything that there is now.
    pub(super) fn open() -> io::Result<Self> {
        let socket = Netlink::open(ROUTE)?;
        GROUPS.iter().try_for_each(|group| socket.join(*group))?;
        let mut lan = Self {
            socket,
            links: BTreeMap::new(),
            addresses: Vec::new(),
            neighbours: BTreeMap::new(),
            routes: Routes::read(),
            refusals: Refusals::default(),
            name_servers: NameServers::default(),
            here: Here::default(),
            seconds: 0,
        };
        lan.ask_links()?;
        Ok(lan)
    }

    /// Whether an interface can carry packets; one that nobody told of yet can.
    pub(super) fn is_up(&self, name: &str) -> bool {
        self.links.values().find(|link| &*link.name == name).is_none_or(|link| link.up)
    }

    /// Whether an address is this machine's.
    pub(super) fn is_ours(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|(_, own)| *own == address)
    }

    /// Our addresses on an interface, in their order: that in which the kernel tells of them changes.
    pub(super) fn addresses_of(&self, name: &str) -> BTreeSet<IpAddr> {
        let index = self.index_of(name);
        self.addresses.iter().filter(|(at, _)| Some(*at) == index).map(|(_, address)| *address).collect()
    }

    /// Whether a hardware address is one of this machine's.
    pub(super) fn is_own_mac(&self, mac: Mac) -> bool {
        self.links.values().any(|link| link.mac == Some(mac))
    }

    /// The interface of the default route.
    pub(super) fn default_interface(&self) -> Option<&str> {
        self.routes.default_interface()
    }

    /// The default route's next hop on the watched interface.
    pub(super) const fn gateway(&self) -> Option<IpAddr> {
        self.here.gateway
    }

    /// The number of an interface.
    pub(super) fn index_of(&self, name: &str) -> Option<u32> {
        self.links.iter().find(|(_, link)| &*link.name == name).map(|(index, _)| *index)
    }

    /// What happened in the last second.
    pub(super) fn second(&mut self, watched: Option<&str>) -> io::Result<Vec<Event>> {
        let mut told = self.hear()?;
        let index = watched.and_then(|name| self.index_of(name));
        let up = index.and_then(|index| self.links.get(&index)).is_some_and(|link| link.up);
        let came_up = up && (!self.here.up || index != self.here.index);
        if index != self.here.index || up != self.here.up {
            self.here = Here { index, up, gateway: None };
            self.neighbours.clear();
            told.clear();
        }
        if came_up {
            told.push(Event::LinkUp);
            self.ask_neighbours()?;
        }
        // The gateway tells which network this is: whatever else is told comes after it.
        let gateway = watched.filter(|_| up).and_then(|name| self.routes.gateway(name));
        let elsewhere = gateway != self.here.gateway;
        if elsewhere {
            self.here.gateway = gateway;
            told.extend(gateway.map(Event::Gateway));
        }
        if came_up {
            told.extend(self.our_addresses());
        }
        self.seconds += 1;
        if came_up || elsewhere || self.seconds.is_multiple_of(AGAIN_EVERY) {
            told.extend(self.who_is_there());
        }
        told.extend(self.refusals.second());
        told.extend(self.name_servers.second());
        Ok(told)
    }

    /// The neighbours, the gateway first: it tells which network this is, and so whether the others are new to it.
    fn who_is_there(&self) -> impl Iterator<Item = Event> {
        let gateway = self.here.gateway.and_then(|gateway| self.neighbours.get_key_value(&gateway));
        gateway.into_iter().chain(&self.neighbours).map(|(address, mac)| Event::Neighbour(*address, *mac))
    }

    fn our_addresses(&self) -> Vec<Event> {
        let Some((index, mac)) = self.here.index.and_then(|index| Some((index, self.links.get(&index)?.mac?))) else { return Vec::new() };
        let ours = self.addresses.iter().filter(|(at, _)| *at == index);
        ours.map(|(_, address)| Event::OurAddress(*address, mac)).collect()
    }

    /// Links and addresses anew.
    fn ask_links(&mut self) -> io::Result<()> {
        (self.links, self.addresses) = (BTreeMap::new(), Vec::new());
        self.socket.dump(GET_LINK, &[0; 16])?;
        self.hear()?;
        self.socket.dump(GET_ADDRESS, &[0; 8])?;
        self.hear()?;
        Ok(())
    }

    /// The watched interface's neighbours anew; they are told of as they are heard.
    fn ask_neighbours(&mut self) -> io::Result<()> {
        self.socket.dump(GET_NEIGHBOUR, &[0; 12])?;
        self.hear().map(drop)
    }

    fn hear(&mut self) -> io::Result<Vec<Event>> {
        let Self { socket, links, addresses, neighbours, here, .. } = self;
        let (mut told, mut routes, mut ours) = (Vec::new(), false, false);
        let heard = socket.hear(|kind, content| match kind {
            NEW_LINK => _ = note_link(links, content),
            DEL_LINK => {
                if let Some(index) = content.get(4..).and_then(u32_of) {
                    links.remove(&index);
                }
            }
            NEW_ADDRESS | DEL_ADDRESS => {
                ours = true;
                let Some(found) = address(content) else { return };
                addresses.retain(|known| *known != found);
                if kind == NEW_ADDRESS && addresses.len() < MOST_LINKS {
                    addresses.push(found);
                }
            }
            NEW_ROUTE | DEL_ROUTE => routes = true,
            NEW_NEIGHBOUR => {
                let Some((index, address, mac)) = neighbour(content) else { return };
                if Some(index) == here.index {
                    if neighbours.len() < MOST_NEIGHBOURS || neighbours.contains_key(&address) {
                        neighbours.insert(address, mac);
                    }
                    told.push(Event::Neighbour(address, mac));
                }
            }
            _ => {}
        })?;
        if routes || ours {
            self.routes = Routes::read();
        }
        if ours {
            told.extend(self.our_addresses());
        }
        if heard == Heard::Lost {
            self.routes = Routes::read();
            self.ask_links()?;
            self.ask_neighbours()?;
        }
        Ok(told)
    }
}

/// `struct ifinfomsg` and its attributes.
fn note_link(links: &mut BTreeMap<u32, Link>, content: &[u8]) -> Option<()> {
    let (index, flags) = (u32_of(content.get(4..)?)?, u32_of(content.get(8..)?)?);
    let (mut name, mut mac) = (None, None);
    for (kind, value) in attributes(content.get(16..)?) {
        match kind {
            1 => mac = Mac::from_slice(value).filter(|mac| mac.is_single()),
            3 => name = std::str::from_utf8(value).ok().map(|name| name.trim_end_matches('\0')),
            _ => {}
        }
    }
    // What drivers tell of Wi-Fi in passing (IFLA_WIRELESS) has no address.
    mac = mac.or_else(|| links.get(&index)?.mac);
    if links.len() < MOST_LINKS || links.contains_key(&index) {
        links.insert(index, Link { name: name?.into(), up: flags & (UP | RUNNING) == UP | RUNNING, mac });
    }
    Some(())
}

/// `struct ifaddrmsg`: on a point-to-point link `IFA_ADDRESS` is the other end and `IFA_LOCAL` is ours; IPv6 has the first
/// alone.
fn address(content: &[u8]) -> Option<(u32, IpAddr)> {
    let index = u32_of(content.get(4..)?)?;
    let (mut local, mut address) = (None, None);
    for (kind, value) in attributes(content.get(8..)?) {
        match kind {
            1 => address = ip(value),
            2 => local = ip(value),
            _ => {}
        }
    }
    Some((index, local.or(address)?))
}

/// `struct ndmsg`: only what the kernel believes now: neither asked for in vain, nor groups.
fn neighbour(content: &[u8]) -> Option<(u32, IpAddr, Mac)> {
    let (index, state) = (u32_of(content.get(4..)?)?, u16_of(content.get(8..)?)?);
    let (mut address, mut mac) = (None, None);
    for (kind, value) in attributes(content.get(12..)?) {
        match kind {
            1 => address = ip(value),
            2 => mac = Mac::from_slice(value),
            _ => {}
        }
    }
    let address = address.filter(|address| !address.is_unspecified() && !address.is_multicast())?;
    (state & BELIEVED != 0).then_some((index, address, mac.filter(|mac| mac.is_single())?))
}

fn ip(value: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(value).map(|bytes| Ipv4Addr::from(bytes).into());
    v4.or_else(|_| <[u8; 16]>::try_from(value).map(|bytes| Ipv6Addr::from(bytes).into())).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::monitor::sources::netlink::attribute;

    #[test]
    fn the_kernel_tells_of_our_own_links() {
        let mut lan = Lan::open().expect("a netlink socket");

        assert!(lan.is_up("lo") && lan.index_of("lo").is_some());
        let first = lan.second(Some("lo")).expect("heard");
        assert!(first.contains(&Event::LinkUp), "{first:?}");
        assert!(!lan.second(Some("lo")).expect("heard").contains(&Event::LinkUp));
        assert!(lan.second(Some("nosuch0")).is_ok() && lan.gateway().is_none());
    }

    #[test]
    fn a_link_of_which_something_is_told_in_passing_keeps_its_address() {
        let header = [&[0; 4][..], &7_u32.to_ne_bytes(), &(UP | RUNNING).to_ne_bytes(), &[0; 4]].concat();
        let name = attribute(3, b"wlan0\0");
        let mut links = BTreeMap::new();

        note_link(&mut links, &[&header[..], &name, &attribute(1, &[2, 0, 0, 0, 0, 9])].concat());
        note_link(&mut links, &[&header[..], &name, &attribute(11, &[0; 20])].concat());

        assert_eq!(links.get(&7).and_then(|link| link.mac), Some(Mac([2, 0, 0, 0, 0, 9])));
    }

    #[test]
    fn a_neighbour_counts_while_the_kernel_believes_it() {
        let message = |state: u16| {
            let header = [&[2, 0, 0, 0][..], &7_u32.to_ne_bytes(), &state.to_ne_bytes(), &[0, 1]].concat();
            [header, attribute(1, &[10, 0, 0, 1]), attribute(2, &[2, 0, 0, 0, 0, 9])].concat()
        };

        assert_eq!(neighbour(&message(2)), Some((7, Ipv4Addr::new(10, 0, 0, 1).into(), Mac([2, 0, 0, 0, 0, 9]))));
        // Incomplete and failed.
        assert_eq!((neighbour(&message(1)), neighbour(&message(0x20))), (None, None));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_link_an_address_a_neighbour_or_nothing(content: Vec<u8>) {
            let mut links = BTreeMap::new();
            note_link(&mut links, &content);
            let _ = (address(&content), neighbour(&content));
            prop_assert!(links.len() <= 1);
        }
    }
}
