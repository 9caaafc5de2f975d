//! Small files of the kernel and the system that a plain user may read: the default route, refused connections, name
//! servers. A file that is not there or reads oddly is simply nothing known.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
};

/// The default route's next hop on this interface, from `/proc/net/route`: addresses are 32 bits in the machine's order.
pub(super) fn gateway(interface: &str) -> Option<IpAddr> {
    next_hop(&fs::read_to_string("/proc/self/net/route").ok()?, interface)
}

fn next_hop(text: &str, interface: &str) -> Option<IpAddr> {
    let routes = text.lines().skip(1).filter_map(|line| {
        let columns: Vec<&str> = line.split_ascii_whitespace().collect();
        let (name, destination, gateway, metric) = (columns.first()?, columns.get(1)?, columns.get(2)?, columns.get(6)?);
        let wanted = *name == interface && *destination == "00000000" && *gateway != "00000000";
        let gateway = u32::from_str_radix(gateway, 16).ok()?;
        wanted.then_some((metric.parse::<u64>().ok()?, Ipv4Addr::from(gateway.to_ne_bytes())))
    });
    routes.min().map(|(_, gateway)| gateway.into())
}

/// How many connections and datagrams to closed ports we refused since the kernel started.
pub(super) fn refused() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/net/snmp").ok()?;
    Some(counter(&text, "Tcp:", "OutRsts")? + counter(&text, "Udp:", "NoPorts")?)
}

/// Each protocol has a line of names and below it a line of numbers.
fn counter(text: &str, protocol: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter(|line| line.split_ascii_whitespace().next() == Some(protocol));
    let place = lines.next()?.split_ascii_whitespace().position(|column| column == name)?;
    lines.next()?.split_ascii_whitespace().nth(place)?.parse().ok()
}

/// The servers in `/etc/resolv.conf`.
pub(super) fn name_servers() -> Vec<IpAddr> {
    servers(&fs::read_to_string("/etc/resolv.conf").unwrap_or_default())
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
    fn the_next_hop_of_the_interface_is_read() {
        let bytes = u32::from_ne_bytes([192, 168, 1, 1]);
        let text = format!(
            "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\nwlan0\t00000000\t{bytes:08X}\t0003\t0\t0\t600\t00000000\n"
        );

        assert_eq!(next_hop(&text, "wlan0"), Some(Ipv4Addr::new(192, 168, 1, 1).into()));
        assert_eq!(next_hop(&text, "eth0"), None);
        assert_eq!(next_hop("garbage\nmore garbage", "wlan0"), None);
    }

    #[test]
    fn refusals_are_found_by_name() {
        let text = "Ip: A B\nIp: 1 2\nTcp: InSegs OutSegs OutRsts\nTcp: 10 20 30\nUdp: InDatagrams NoPorts\nUdp: 5 6\n";

        assert_eq!((counter(text, "Tcp:", "OutRsts"), counter(text, "Udp:", "NoPorts")), (Some(30), Some(6)));
        assert_eq!(counter(text, "Tcp:", "Nothing"), None);
        assert!(refused().is_some());
    }

    #[test]
    fn name_servers_are_read_and_the_rest_is_not() {
        let text = "# a note\nsearch lan\nnameserver 192.168.1.1\nnameserver fe80::1%wlan0\nnameserver nonsense\nnameserver";

        assert_eq!(servers(text), ["192.168.1.1".parse::<IpAddr>().expect("v4"), "fe80::1".parse().expect("v6")]);
    }
}
