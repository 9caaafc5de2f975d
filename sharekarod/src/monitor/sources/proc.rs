//! Small files of the kernel and the system that a plain user may read: the default route, refused connections, name
//! servers. A file that is not there or reads oddly is simply nothing known.

use std::{
    fs::{self, File},
    io::{Read, Seek},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::unix::fs::MetadataExt,
};

use crate::monitor::detect::rules::event::Event;

/// No file here is longer.
const LARGEST: u64 = 256 << 10;

/// The default routes, as they stood when they were read.
#[derive(Debug, Default)]
pub(super) struct Routes {
    /// With the smallest metric first, those of IPv4 before those of IPv6.
    defaults: Vec<(String, Option<IpAddr>)>,
}

impl Routes {
    pub(super) fn read() -> Self {
        let text = |name| fs::read_to_string(name).unwrap_or_default();
        let mut defaults = v4_defaults(&text("/proc/self/net/route"));
        defaults.extend(v6_defaults(&text("/proc/self/net/ipv6_route")));
        Self { defaults }
    }

    pub(super) fn default_interface(&self) -> Option<&str> {
        self.defaults.first().map(|(name, _)| name.as_str())
    }

    pub(super) fn gateway(&self, interface: &str) -> Option<IpAddr> {
        self.defaults.iter().find(|(name, gateway)| name == interface && gateway.is_some()).and_then(|(_, gateway)| *gateway)
    }
}

/// `Iface Destination Gateway Flags RefCnt Use Metric Mask`: addresses are 32 bits in the machine's order.
fn v4_defaults(text: &str) -> Vec<(String, Option<IpAddr>)> {
    let routes = text.lines().skip(1).filter_map(|line| {
        let columns: Vec<&str> = line.split_ascii_whitespace().collect();
        let (name, destination, gateway) = (columns.first()?, columns.get(1)?, columns.get(2)?);
        let (metric, mask) = (columns.get(6)?, columns.get(7)?);
        let next = Ipv4Addr::from(u32::from_str_radix(gateway, 16).ok()?.to_ne_bytes());
        let everywhere = *destination == "00000000" && *mask == "00000000";
        everywhere.then_some((metric.parse::<u64>().ok()?, *name, (!next.is_unspecified()).then_some(next.into())))
    });
    by_metric(routes.collect())
}

/// Destination, its prefix length, source, its prefix length, next hop, metric, two counters, flags, interface. The
/// kernel's own reject route is on lo.
fn v6_defaults(text: &str) -> Vec<(String, Option<IpAddr>)> {
    let routes = text.lines().filter_map(|line| {
        let columns: Vec<&str> = line.split_ascii_whitespace().collect();
        let (destination, length, next, metric, name) =
            (columns.first()?, columns.get(1)?, columns.get(4)?, columns.get(5)?, columns.last()?);
        let everywhere = *length == "00" && destination.bytes().all(|digit| digit == b'0') && *name != "lo";
        let next = Ipv6Addr::from(u128::from_str_radix(next, 16).ok()?);
        everywhere.then_some((u64::from_str_radix(metric, 16).ok()?, *name, (!next.is_unspecified()).then_some(next.into())))
    });
    by_metric(routes.collect())
}

fn by_metric(mut routes: Vec<(u64, &str, Option<IpAddr>)>) -> Vec<(String, Option<IpAddr>)> {
    routes.sort();
    routes.into_iter().map(|(_, name, next)| (name.to_owned(), next)).collect()
}

/// Connections and datagrams to closed ports that we refused.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    file: Option<File>,
    before: Option<u64>,
}

impl Refusals {
    /// How many since the last call.
    pub(super) fn second(&mut self) -> Option<Event> {
        let now = self.total()?;
        let before = self.before.replace(now)?;
        Some(Event::Refused(now.saturating_sub(before)))
    }

    fn total(&mut self) -> Option<u64> {
        if self.file.is_none() {
            self.file = File::open("/proc/self/net/snmp").ok();
        }
        let file = self.file.as_mut()?;
        let mut text = String::new();
        file.rewind().ok()?;
        file.take(LARGEST).read_to_string(&mut text).ok()?;
        Some(counter(&text, "Tcp:", "OutRsts")? + counter(&text, "Udp:", "NoPorts")?)
    }
}

/// Each protocol has a line of names and below it a line of numbers.
fn counter(text: &str, protocol: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter(|line| line.starts_with(protocol));
    let place = lines.next()?.split_ascii_whitespace().position(|column| column == name)?;
    lines.next()?.split_ascii_whitespace().nth(place)?.parse().ok()
}

/// Who is asked for names.
#[derive(Debug, Default)]
pub(super) struct NameServers {
    version: Option<(u64, i64, i64, u64)>,
    servers: Vec<IpAddr>,
    seconds: u64,
}

const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Where the real servers stand while the file above names only systemd's own resolver.
const BEHIND_RESOLVED: &str = "/run/systemd/resolve/resolv.conf";
/// They are said again so often: the network that they belong to may have become known meanwhile.
const EVERY: u64 = 5;

impl NameServers {
    /// The servers, when they changed, and now and then.
    pub(super) fn second(&mut self) -> Option<Event> {
        let version = [RESOLV_CONF, BEHIND_RESOLVED].iter().find_map(|path| fs::metadata(path).ok());
        let version = version.map(|found| (found.ino(), found.mtime(), found.mtime_nsec(), found.size()));
        self.seconds += 1;
        let changed = version != self.version;
        if changed || self.seconds.is_multiple_of(EVERY) && self.is_stub() {
            self.version = version;
            self.servers = read_servers();
        }
        let due = changed || self.seconds.is_multiple_of(EVERY);
        (due && !self.servers.is_empty()).then(|| Event::NameServers(self.servers.clone()))
    }

    /// The first file does not change when the second does.
    fn is_stub(&self) -> bool {
        fs::exists(BEHIND_RESOLVED).unwrap_or(false)
    }
}

fn read_servers() -> Vec<IpAddr> {
    let read = |path| servers(&fs::read_to_string(path).unwrap_or_default());
    let direct = read(RESOLV_CONF);
    if !direct.iter().all(IpAddr::is_loopback) {
        return direct;
    }
    Some(read(BEHIND_RESOLVED)).filter(|behind| !behind.is_empty()).unwrap_or(direct)
}

fn servers(text: &str) -> Vec<IpAddr> {
    let server = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let address = words.next().filter(|word| *word == "nameserver").and(words.next())?;
        address.split('%').next()?.parse().ok()
    };
    text.lines().filter_map(server).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_route_with_the_smallest_metric_comes_first() {
        let bytes = u32::from_ne_bytes([192, 168, 1, 1]);
        let text = format!(
            "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\nslow0\t00000000\t{bytes:08X}\t0003\t0\t0\t600\t00000000\nwlan0\t00000000\t{bytes:08X}\t0003\t0\t0\t100\t00000000\neth2\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\n"
        );
        let gateway = Some(Ipv4Addr::new(192, 168, 1, 1).into());
        let zeros = "0".repeat(32);
        let v6 = format!("{zeros} 00 {zeros} 00 fe80{0:0<28} 00000400 00000001 00000000 00000003 wlan0\n", "");
        let reject = format!("{zeros} 00 {zeros} 00 {zeros} ffffffff 00000001 00000000 00200200       lo\n");

        let routes = Routes { defaults: v4_defaults(&text) };
        assert_eq!((routes.default_interface(), routes.gateway("slow0"), routes.gateway("eth2")), (Some("wlan0"), gateway, None));
        assert_eq!(v6_defaults(&v6), [("wlan0".to_owned(), Some("fe80::".parse().expect("an address")))]);
        assert_eq!((v6_defaults(&reject), v4_defaults("garbage\nmore garbage"), v4_defaults("")), (vec![], vec![], vec![]));
    }

    #[test]
    fn refusals_are_found_by_name() {
        let text = "Ip: A B\nIp: 1 2\nTcp: InSegs OutSegs OutRsts\nTcp: 10 20 30\nUdp: InDatagrams NoPorts\nUdp: 5 6\n";

        assert_eq!((counter(text, "Tcp:", "OutRsts"), counter(text, "Udp:", "NoPorts")), (Some(30), Some(6)));
        assert_eq!(counter(text, "Tcp:", "Nothing"), None);
        let mut refusals = Refusals::default();
        assert!(refusals.second().is_none() && refusals.second().is_some());
    }

    #[test]
    fn name_servers_are_read_and_the_rest_is_not() {
        let text = "# a note\nsearch lan\nnameserver 192.168.1.1\nnameserver fe80::1%wlan0\nnameserver nonsense\nnameserver";

        assert_eq!(servers(text), ["192.168.1.1".parse::<IpAddr>().expect("v4"), "fe80::1".parse().expect("v6")]);
    }
}
