//! Our own network interfaces, as the kernel has them right now: which lead to a LAN, with which addresses, over what.
//!
//! Questions only; `watchers/links.rs` notices when the answers change.

use std::{fs, net::IpAddr, path::Path};

/// How the names of interfaces begin that lead to containers, machines inside this one, and tunnels.
const NOT_LAN: [&str; 8] = ["docker", "br-", "veth", "virbr", "cni", "tun", "tap", "wg"];

/// An address of ours: interface, address, and whether the interface works.
pub(crate) type Link = (String, IpAddr, bool);

/// Whether an interface of this name leads to a LAN. The name decides, not the kind: in a container, eth0 is of the
/// kind veth.
pub(crate) fn is_lan(name: &str) -> bool {
    name != "lo" && !NOT_LAN.iter().any(|prefix| name.starts_with(prefix))
}

/// Our addresses on LANs: those that others could use to reach us. Link-local IPv6 ones mean nothing elsewhere.
pub fn local_addresses() -> Vec<IpAddr> {
    let reachable = |ip: &IpAddr| match ip {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_unspecified(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unspecified() && !v6.is_unicast_link_local(),
    };
    links().into_iter().map(|(_, ip, _)| ip).filter(reachable).collect()
}

/// Whether the way out of this machine is a radio.
pub fn wireless() -> bool {
    default_interface().is_some_and(|name| Path::new("/sys/class/net").join(name).join("wireless").exists())
}

/// The interface of the default route: IPv4 first, then IPv6.
fn default_interface() -> Option<String> {
    let v4 = fs::read_to_string("/proc/net/route").unwrap_or_default();
    let v6 = fs::read_to_string("/proc/net/ipv6_route").unwrap_or_default();
    default_in_v4(&v4).or_else(|| default_in_v6(&v6)).map(str::to_owned)
}

/// Interface, destination, gateway, flags, and so on; destination 0 is everywhere.
fn default_in_v4(routes: &str) -> Option<&str> {
    routes.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        let name = fields.next()?;
        (fields.next()? == "00000000").then_some(name)
    })
}

/// Destination, its prefix length, and so on, the interface last. The kernel's own reject route is on lo.
fn default_in_v6(routes: &str) -> Option<&str> {
    routes.lines().find_map(|line| {
        let mut fields = line.split_whitespace();
        let everywhere = fields.next()?.bytes().all(|digit| digit == b'0') && fields.next()? == "00";
        fields.next_back().filter(|name| everywhere && *name != "lo")
    })
}

/// Every address on a LAN, sorted.
pub(crate) fn links() -> Vec<Link> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let lan = interfaces.into_iter().filter(|interface| is_lan(&interface.name));
    let mut links: Vec<Link> = lan.map(|interface| (interface.name.clone(), interface.ip(), interface.is_oper_up())).collect();
    links.sort();
    links
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_an_interface_tells_whether_it_leads_to_a_lan() {
        for lan in ["eth0", "enp3s0", "wlan0", "wlp2s0", "br0", "bond0", "usb0"] {
            assert!(is_lan(lan), "{lan}");
        }
        for other in ["lo", "docker0", "br-5f3a", "veth12ab", "virbr0", "cni0", "tun0", "tap1", "wg0"] {
            assert!(!is_lan(other), "{other}");
        }
    }

    #[test]
    fn the_default_route_is_found_in_what_the_kernel_prints() {
        let v4 = "Iface\tDestination\tGateway \tFlags\neth1\t0000A8C0\t00000000\t0001\nwlan0\t00000000\t0101A8C0\t0003\n";
        let zeros = "0".repeat(32);
        let v6 = format!(
            "fe80{0:0<28} 40 {zeros} 00 {zeros} 00000100 00000001 00000000 00000001 eth1\n{zeros} 00 {zeros} 00 fe80{0:0<28} 00000400 00000001 00000000 00000003 wlan0\n",
            ""
        );
        let reject = format!("{zeros} 00 {zeros} 00 {zeros} ffffffff 00000001 00000000 00200200       lo\n");

        assert_eq!(default_in_v4(v4), Some("wlan0"));
        assert_eq!(default_in_v6(&v6), Some("wlan0"));
        assert_eq!(default_in_v6(&reject), None);
        assert_eq!((default_in_v4(""), default_in_v4("\n\n x\n"), default_in_v6("x\n")), (None, None, None));
    }

    #[test]
    fn our_addresses_are_none_that_mean_nothing_elsewhere() {
        for ip in local_addresses() {
            assert!(!ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast(), "{ip}");
        }
    }
}
