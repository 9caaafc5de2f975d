//! Our own network interfaces, as the kernel has them right now: which lead to a LAN, with which addresses, over what.
//!
//! Questions only; `watchers/links.rs` notices when the answers change.

pub(crate) mod netlink;
mod wifi;

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

pub use wifi::wifi_networks;

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
    default_route_in_v4(routes).map(|(name, _)| name)
}

fn default_route_in_v4(routes: &str) -> Option<(&str, &str)> {
    routes.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        let name = fields.next()?;
        (fields.next()? == "00000000").then_some((name, fields.next().unwrap_or_default()))
    })
}

/// The way out of our LAN: the gateway of the default route, IPv4.
pub fn gateway() -> Option<Ipv4Addr> {
    gateway_in(&fs::read_to_string("/proc/net/route").unwrap_or_default())
}

/// Addresses stand there as the machine's own number of the four bytes.
fn gateway_in(routes: &str) -> Option<Ipv4Addr> {
    let (_, gateway) = default_route_in_v4(routes)?;
    let number = u32::from_str_radix(gateway, 16).ok().filter(|number| *number != 0)?;
    Some(Ipv4Addr::from(number.to_ne_bytes()))
}

/// The hardware address of a neighbour, lower-case, where the kernel knows it.
pub fn hardware(address: Ipv4Addr) -> Option<String> {
    hardware_in(&fs::read_to_string("/proc/net/arp").unwrap_or_default(), address)
}

/// Address, kind, flags, hardware address, and so on; without the flag 2 it is none.
fn hardware_in(table: &str, address: Ipv4Addr) -> Option<String> {
    neighbour_in(table, address).filter(|known| *known)?;
    let line = table.lines().skip(1).find(|line| line.split_whitespace().next().is_some_and(|ip| ip.parse() == Ok(address)))?;
    line.split_whitespace().nth(3).map(str::to_lowercase)
}

/// Whether the kernel knows the hardware address of a neighbour, or lately did; `None` where it never asked.
pub fn neighbour(address: Ipv4Addr) -> Option<bool> {
    neighbour_in(&fs::read_to_string("/proc/net/arp").unwrap_or_default(), address)
}

/// Address, hardware type, flags, and so on; flag 2 is ATF_COM of linux/if_arp.h: the hardware address is known.
fn neighbour_in(table: &str, address: Ipv4Addr) -> Option<bool> {
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        let of_it = fields.next()?.parse() == Ok(address);
        let flags = u32::from_str_radix(fields.nth(1)?.trim_start_matches("0x"), 16).ok()?;
        of_it.then_some(flags & 2 != 0)
    })
}

/// Whether an address is on a link of ours, so that no router is between.
pub fn is_on_our_link(ip: &IpAddr) -> bool {
    let link_local = matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
    link_local || if_addrs::get_if_addrs().unwrap_or_default().iter().any(|interface| is_on(&interface.addr, ip))
}

fn is_on(link: &if_addrs::IfAddr, ip: &IpAddr) -> bool {
    match (link, ip) {
        (if_addrs::IfAddr::V4(link), IpAddr::V4(ip)) => link.ip.to_bits() & link.netmask.to_bits() == ip.to_bits() & link.netmask.to_bits(),
        (if_addrs::IfAddr::V6(link), IpAddr::V6(ip)) => link.ip.to_bits() & link.netmask.to_bits() == ip.to_bits() & link.netmask.to_bits(),
        _ => false,
    }
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
    fn the_gateway_and_a_neighbour_are_found_in_what_the_kernel_prints() {
        let gateway = u32::from_ne_bytes([10, 0, 0, 1]);
        let routes = format!("Iface\tDestination\tGateway\tFlags\neth0\t0000000A\t00000000\t0001\neth0\t00000000\t{gateway:08X}\t0003\n");
        let arp = "IP address       HW type     Flags       HW address            Mask     Device\n10.0.0.1         0x1         0x2         52:54:00:12:35:02     *        eth0\n10.0.0.9         0x1         0x0         00:00:00:00:00:00     *        eth0\n";

        assert_eq!(gateway_in(&routes), Some(Ipv4Addr::new(10, 0, 0, 1)));
        assert_eq!((gateway_in(""), gateway_in("x\neth0\t00000000\t00000000\n")), (None, None));
        assert_eq!(neighbour_in(arp, Ipv4Addr::new(10, 0, 0, 1)), Some(true));
        assert_eq!(neighbour_in(arp, Ipv4Addr::new(10, 0, 0, 9)), Some(false));
        assert_eq!(neighbour_in(arp, Ipv4Addr::new(10, 0, 0, 7)), None);
        assert_eq!(hardware_in(arp, Ipv4Addr::new(10, 0, 0, 1)).as_deref(), Some("52:54:00:12:35:02"));
        assert_eq!((hardware_in(arp, Ipv4Addr::new(10, 0, 0, 9)), hardware_in("", Ipv4Addr::LOCALHOST)), (None, None));
    }

    #[test]
    fn our_addresses_are_none_that_mean_nothing_elsewhere() {
        for ip in local_addresses() {
            assert!(!ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast(), "{ip}");
        }
    }
}
