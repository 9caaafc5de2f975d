//! Finds the others on the LAN and lets them find us: mDNS service discovery, `_sharekaro._udp.local.`.
//!
//! mdns-sd is named here and nowhere else. What it hears proves nothing: a sighting is an address worth a try. Its
//! thread is started anew where its subscription breaks or it has swallowed a flood, as nothing else empties its cache.

mod sightings;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    sync::Arc,
    time::{Duration, Instant},
};

use mdns_sd::{IfKind, IfPredicate, Receiver, ResolvedService, ScopedIp, ServiceDaemon, ServiceEvent, ServiceInfo};
use sharekaro_proto::{DeviceId, wire::NAME_MAX};
use tokio::time::{sleep, sleep_until, timeout};

use self::sightings::{Instance, Sightings};
use super::links::{LinkChange, Links};
use crate::interfaces::{is_lan, is_on_our_link};

const SERVICE: &str = "_sharekaro._udp.local.";

/// The port of multicast DNS (RFC 6762).
const MDNS_PORT: u16 = 5353;

/// Characters of the id in our host name: 60 bits, so that no two devices of a LAN have the same.
const LABEL: usize = 12;

/// mdns-sd looks for new addresses by itself this often; we tell it when the kernel tells us.
const LOOK: u32 = 60;

/// How long it looks every second after the kernel has told.
const LOOK_CLOSELY: Duration = Duration::from_secs(3);

/// The first and the longest wait before it is started anew.
const AGAIN_MIN: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_secs(60);

/// Announcements that found no place: then its cache has as many, and only a new start gives the memory back.
const FLOOD: usize = 4096;

/// For taking back what we announced.
const GOODBYE: Duration = Duration::from_secs(1);

/// Ports below are other services', which a forged announcement could make us talk to.
const PORT_MIN: u16 = 1024;

/// What is announced, and where.
#[derive(Clone)]
pub struct Options {
    /// Our id.
    pub id: DeviceId,
    /// What we call ourselves; at most `NAME_MAX` bytes of it are told.
    pub name: String,
    /// Our UDP port.
    pub port: u16,
    /// Several daemons on one machine find each other over lo.
    pub loopback: bool,
    /// Another port than 5353 makes a world of its own.
    pub mdns_port: u16,
    /// Whom we know: there is always a place for these.
    pub known: Arc<dyn Fn(&DeviceId) -> bool + Send + Sync>,
}

impl Default for Options {
    fn default() -> Self {
        let id = DeviceId::from_bytes([0; 32]);
        Self { id, name: String::new(), port: 0, loopback: false, mdns_port: MDNS_PORT, known: Arc::new(|_| false) }
    }
}

/// What discovery noticed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sighting {
    /// A device is announced, or announced otherwise than before: this is all of it.
    Seen {
        /// Who it says it is.
        id: DeviceId,
        /// What it calls itself.
        name: String,
        /// Where it may be; the likeliest first, link-local ones with their scope.
        addresses: Vec<SocketAddr>,
    },
    /// It is not announced any more. It may be there all the same.
    Gone {
        /// Who.
        id: DeviceId,
    },
    /// Nobody came or went, but the health is another.
    Nothing,
}

/// Why discovery could not start.
#[derive(Debug, thiserror::Error)]
#[error("cannot start mDNS on UDP port {port}")]
pub struct Error {
    /// The port of mDNS.
    pub port: u16,
    /// What mdns-sd said.
    source: mdns_sd::Error,
}

/// Whether discovery works.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Health {
    /// Interfaces that it uses.
    pub interfaces: usize,
    /// What is wrong, if anything is.
    pub problem: Option<&'static str>,
}

/// There is an interface, and mdns-sd cannot use it: most often avahi with `disallow-other-stacks=yes`.
const NO_INTERFACES: &str = "no interface can be used; another mDNS service may keep port 5353 to itself";

/// mdns-sd has ended, or closed its channel as we read too slowly.
const ENDED: &str = "the mDNS service ended; it is being started anew";

/// A running discovery. Dropping it takes back what was announced, without waiting.
pub struct Discovery {
    options: Options,
    daemon: Option<Running>,
    sightings: Sightings,
    links: Links,
    health: Health,
    health_told: Health,
    homeless: usize,
    again: Duration,
    again_at: Option<Instant>,
    calm_at: Option<Instant>,
}

/// mdns-sd's thread and our subscription to it.
struct Running {
    service: ServiceDaemon,
    events: Receiver<ServiceEvent>,
}

impl Discovery {
    /// Announces us and begins to listen. To be called inside a tokio runtime.
    ///
    /// # Errors
    /// Where no thread can be had or the options are no announcement. What fails later is retried and shown in `health`.
    pub fn start(options: Options) -> Result<Self, Error> {
        let daemon = Running::start(&options).map_err(|source| Error { port: options.mdns_port, source })?;
        Ok(Self {
            options,
            daemon: Some(daemon),
            sightings: Sightings::default(),
            links: Links::start(),
            health: Health::default(),
            health_told: Health::default(),
            homeless: 0,
            again: AGAIN_MIN,
            again_at: None,
            calm_at: None,
        })
    }

    /// The next news. May be dropped and called again without losing any.
    pub async fn next(&mut self) -> Sighting {
        loop {
            if let Some(sighting) = self.sightings.due(Instant::now()) {
                return sighting;
            }
            if self.health.problem != self.health_told.problem {
                self.health_told = self.health;
                return Sighting::Nothing;
            }
            let wake = [self.sightings.next_due(), self.again_at, self.calm_at].into_iter().flatten().min();
            tokio::select! {
                event = next_event(self.daemon.as_ref()) => match event {
                    Some(event) => self.take(event),
                    None => self.restart_later(ENDED),
                },
                change = self.links.next() => self.relink(change),
                () = until(wake) => self.act(Instant::now()),
            }
        }
    }

    /// Whether it works.
    pub fn health(&self) -> Health {
        self.health
    }

    /// Takes back what was announced, and waits a moment until that is said.
    pub async fn shutdown(mut self) {
        let Some(running) = self.daemon.take() else { return };
        let goodbye = async {
            loop {
                match running.service.shutdown() {
                    Ok(done) => break drop(done.recv_async().await),
                    Err(mdns_sd::Error::Again) => sleep(Duration::from_millis(50)).await,
                    Err(_) => break,
                }
            }
        };
        let _ = timeout(GOODBYE, goodbye).await;
    }

    fn take(&mut self, event: ServiceEvent) {
        match event {
            ServiceEvent::SearchStarted(text) => self.judge(interfaces_in(&text)),
            ServiceEvent::ServiceResolved(found) => self.found(&found),
            ServiceEvent::ServiceRemoved(_, fullname) => self.sightings.gone(&fullname),
            _ => {}
        }
    }

    fn found(&mut self, found: &ResolvedService) {
        let Some(instance) = instance(found, self.options.loopback) else { return self.sightings.gone(&found.fullname) };
        if instance.id == self.options.id {
            return;
        }
        let known = (self.options.known)(&instance.id);
        if self.sightings.seen(&found.fullname, instance, known).is_err() {
            self.homeless += 1;
            if self.homeless >= FLOOD {
                tracing::warn!(announcements = self.homeless, "the LAN is flooded with announcements; starting mDNS anew");
                self.restart_later(ENDED);
            }
        }
    }

    /// Without an interface there is nothing to complain of; with one that mdns-sd does not use, there is.
    fn judge(&mut self, interfaces: usize) {
        self.health.interfaces = interfaces;
        if interfaces > 0 {
            self.health.problem = None;
            self.again = AGAIN_MIN;
        } else if has_interface(self.options.loopback) {
            self.restart_later(NO_INTERFACES);
        }
    }

    /// What runs now ends; another begins after a while, each time a longer one.
    fn restart_later(&mut self, problem: &'static str) {
        self.daemon = None;
        self.homeless = 0;
        self.health = Health { interfaces: 0, problem: Some(problem) };
        self.again_at = Some(Instant::now() + self.again);
        self.again = (self.again * 2).min(AGAIN_MAX);
    }

    fn restart(&mut self) {
        self.again_at = None;
        match Running::start(&self.options) {
            Ok(running) => {
                self.daemon = Some(running);
                // Whoever is still there answers within moments; the pause between sightings hides that.
                self.sightings.forget();
            }
            Err(error) => {
                tracing::warn!(%error, "cannot start mDNS");
                self.restart_later(ENDED);
            }
        }
    }

    /// Our addresses changed: mdns-sd is to look for them now. After sleep, it is to ask who is there.
    fn relink(&mut self, change: LinkChange) {
        if let Some(running) = &mut self.daemon {
            let resubscribed = match change {
                LinkChange::Resumed => running.subscribe(),
                LinkChange::Addresses => running.service.set_ip_check_interval(1),
            };
            self.calm_at = Some(Instant::now() + LOOK_CLOSELY);
            if resubscribed.is_err() {
                self.restart_later(ENDED);
            }
        }
    }

    fn act(&mut self, now: Instant) {
        if self.again_at.is_some_and(|at| at <= now) {
            self.restart();
        }
        if self.calm_at.is_some_and(|at| at <= now) {
            self.calm_at = None;
            // The number of interfaces is told with a new subscription only.
            let calmed = self.daemon.as_mut().map(|running| running.service.set_ip_check_interval(LOOK).and_then(|()| running.subscribe()));
            if matches!(calmed, Some(Err(_))) {
                self.restart_later(ENDED);
            }
        }
    }
}

impl Running {
    fn start(options: &Options) -> Result<Self, mdns_sd::Error> {
        let service = ServiceDaemon::new_with_port(options.mdns_port)?;
        let loopback = options.loopback;
        service.set_ip_check_interval(LOOK)?;
        service.disable_interface(IfKind::Predicate(IfPredicate::new(move |interface| !is_used(&interface.name, loopback))))?;
        service.register(announcement(options)?)?;
        let events = service.browse(SERVICE)?;
        Ok(Self { service, events })
    }

    /// Asks the LAN again; what is in the cache is told again.
    fn subscribe(&mut self) -> Result<(), mdns_sd::Error> {
        self.events = self.service.browse(SERVICE)?;
        Ok(())
    }
}

impl Drop for Running {
    /// Its thread ends and says goodbye by itself; after `shutdown`, it has already.
    fn drop(&mut self) {
        let _ = self.service.shutdown();
    }
}

async fn next_event(running: Option<&Running>) -> Option<ServiceEvent> {
    match running {
        Some(running) => running.events.recv_async().await.ok(),
        None => std::future::pending().await,
    }
}

async fn until(wake: Option<Instant>) {
    match wake {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

fn is_used(interface: &str, loopback: bool) -> bool {
    is_lan(interface) || loopback && interface == "lo"
}

fn has_interface(loopback: bool) -> bool {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    interfaces.iter().any(|interface| is_used(&interface.name, loopback) && interface.is_oper_up())
}

fn announcement(options: &Options) -> Result<ServiceInfo, mdns_sd::Error> {
    let id = options.id.to_string();
    let label: String = id.chars().take(LABEL).collect();
    let name = options.name.get(..options.name.floor_char_boundary(NAME_MAX)).unwrap_or_default();
    let properties = [("v", "1"), ("id", &id), ("n", name)];
    let host = format!("{label}.local.");
    Ok(ServiceInfo::new(SERVICE, &label, &host, "", options.port, &properties[..])?.enable_addr_auto())
}

/// mdns-sd tells it only as text: `TYPE on N interfaces [...]`.
fn interfaces_in(text: &str) -> usize {
    let count = text.split(" on ").nth(1).and_then(|rest| rest.split(' ').next());
    count.and_then(|count| count.parse().ok()).unwrap_or(0)
}

// ---- what others announce ---------------------------------------------------------------------------

fn instance(found: &ResolvedService, loopback: bool) -> Option<Instance> {
    let text = |key| found.get_property_val(key).flatten().map(String::from_utf8_lossy);
    let id: DeviceId = text("id").filter(|id| id.len() == 52)?.parse().ok()?;
    let name = text("n").unwrap_or_default().into_owned();
    let mut addresses: Vec<SocketAddr> = found
        .get_addresses()
        .iter()
        .filter_map(|ip| address(ip, found.get_port()))
        .filter(|address| is_plausible(address, loopback))
        .collect();
    addresses.sort_by_key(|address| (rank(&address.ip()), *address));
    (!addresses.is_empty()).then(|| Instance { id, name: shortened(name), addresses })
}

fn shortened(mut name: String) -> String {
    name.truncate(name.floor_char_boundary(NAME_MAX));
    name
}

fn address(ip: &ScopedIp, port: u16) -> Option<SocketAddr> {
    match ip {
        ScopedIp::V4(v4) => Some((*v4.addr(), port).into()),
        ScopedIp::V6(v6) => {
            let scope = if v6.addr().is_unicast_link_local() { v6.scope_id().index } else { 0 };
            Some(SocketAddrV6::new(*v6.addr(), port, 0, scope).into())
        }
        _ => None,
    }
}

/// A forged announcement must not make us talk to whom it likes.
fn is_plausible(address: &SocketAddr, loopback: bool) -> bool {
    let ip = match address {
        SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() && v6.scope_id() == 0 => return false,
        _ => address.ip().to_canonical(),
    };
    let broadcast = ip == IpAddr::from(Ipv4Addr::BROADCAST);
    address.port() >= PORT_MIN
        && !ip.is_multicast()
        && !ip.is_unspecified()
        && !broadcast
        && (loopback || !ip.is_loopback())
        && is_near(&ip)
}

/// Private addresses may be behind a router of ours that repeats mDNS; public ones must be on a link of ours.
fn is_near(ip: &IpAddr) -> bool {
    let private = match ip {
        // 100.64.0.0/10 is for carriers' and overlays' own use (RFC 6598).
        IpAddr::V4(v4) => v4.is_private() || v4.is_link_local() || v4.is_loopback() || v4.to_bits() >> 22 == 0x6440_0000 >> 22,
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_loopback(),
    };
    private || is_on_our_link(ip)
}

/// What works most often, first.
fn rank(ip: &IpAddr) -> u8 {
    match ip {
        IpAddr::V4(v4) if !v4.is_loopback() && !v4.is_link_local() => 0,
        IpAddr::V6(v6) if !v6.is_loopback() && !v6.is_unicast_link_local() => 1,
        IpAddr::V6(v6) if *v6 != Ipv6Addr::LOCALHOST => 2,
        _ => 3,
    }
}

#[cfg(test)]
#[path = "discovery/tests.rs"]
mod tests;
