//! Which networks we are on, and which a rule means.

use std::net::IpAddr;

use crate::interfaces;

/// What a rule names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Network {
    /// `192.168.1.0/24`: one of our addresses lies in it.
    Subnet(IpAddr, u8),
    /// `192.168.1.1`: it is the gateway.
    Gateway(IpAddr),
    /// `aa:bb:cc:dd:ee:ff`: the gateway's hardware address, lower-case. It tells home from any other 192.168.1.0/24.
    Hardware(String),
    /// `wlan0`, lower-case.
    Interface(String),
    /// `ssid:Home Sweet Home`, as it is written: the name of a Wi-Fi that we are in. It proves nothing, as anybody can give
    /// a network any name; the gateway's hardware address tells more.
    Wifi(String),
}

/// Before the name of a Wi-Fi: without it, whoever names a network `eth0` would be on the cable.
const WIFI: &str = "ssid:";

/// The networks that we are on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    interfaces: Vec<String>,
    wifi: Vec<String>,
    addresses: Vec<IpAddr>,
    gateway: Option<IpAddr>,
    hardware: Option<String>,
}

impl Network {
    pub(super) fn parse(text: &str) -> Self {
        if let Some((_, name)) = text.trim_start().split_at_checked(WIFI.len()).filter(|(word, _)| word.eq_ignore_ascii_case(WIFI)) {
            return Self::Wifi(name.to_owned());
        }
        let text = text.trim().to_lowercase();
        if let Some((address, length)) = text.split_once('/')
            && let (Ok(address), Ok(length)) = (address.parse::<IpAddr>(), length.parse::<u8>())
        {
            return Self::Subnet(address, length.min(bits(address).1));
        }
        match text.parse() {
            Ok(address) => Self::Gateway(address),
            Err(_) if is_hardware(&text) => Self::Hardware(text),
            Err(_) => Self::Interface(text),
        }
    }
}

impl Networks {
    /// Those of this moment.
    pub fn now() -> Self {
        let links = interfaces::links().into_iter().filter(|(.., up)| *up);
        let (interfaces, addresses) = links.map(|(name, address, _)| (name.to_lowercase(), address)).unzip();
        let gateway = interfaces::gateway();
        Self {
            interfaces,
            wifi: interfaces::wifi_networks(),
            addresses,
            hardware: gateway.and_then(interfaces::hardware),
            gateway: gateway.map(IpAddr::V4),
        }
    }

    /// Those that a person names, to try a rule.
    pub fn named(texts: &[String]) -> Self {
        let mut networks = Self::default();
        for text in texts {
            match Network::parse(text) {
                Network::Subnet(address, _) => networks.addresses.push(address),
                Network::Gateway(address) => networks.gateway = Some(address),
                Network::Hardware(hardware) => networks.hardware = Some(hardware),
                Network::Interface(name) => networks.interfaces.push(name),
                Network::Wifi(name) => networks.wifi.push(name),
            }
        }
        networks
    }

    pub(super) fn is_on(&self, network: &Network) -> bool {
        match network {
            Network::Subnet(subnet, length) => self.addresses.iter().any(|address| lies_in(*address, *subnet, *length)),
            Network::Gateway(address) => self.gateway.as_ref() == Some(address),
            Network::Hardware(hardware) => self.hardware.as_ref() == Some(hardware),
            Network::Interface(name) => self.interfaces.contains(name),
            Network::Wifi(name) => self.wifi.contains(name),
        }
    }
}

/// An address as a number, and how many bits it has.
fn bits(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(v4) => (v4.to_bits().into(), 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    }
}

fn lies_in(address: IpAddr, subnet: IpAddr, length: u8) -> bool {
    let ((address, all), (subnet, width)) = (bits(address), bits(subnet));
    let shift = u32::from(width.saturating_sub(length));
    all == width && address.checked_shr(shift) == subnet.checked_shr(shift)
}

fn is_hardware(text: &str) -> bool {
    let mut parts = text.split(':');
    text.len() == 17 && parts.all(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_known_by_interface_name_subnet_or_gateway() {
        let on = Networks {
            interfaces: vec!["wlan0".into()],
            wifi: vec!["Home Sweet Home".into(), "café, 家".into()],
            addresses: vec!["192.168.1.22".parse().unwrap(), "fd00:1::5".parse().unwrap()],
            gateway: Some("192.168.1.1".parse().unwrap()),
            hardware: Some("aa:bb:cc:00:11:22".into()),
        };
        for text in ["wlan0", "WLAN0", "192.168.1.0/24", "192.168.0.0/16", "0.0.0.0/0", "fd00:1::/64", "192.168.1.1", "AA:BB:CC:00:11:22"] {
            assert!(on.is_on(&Network::parse(text)), "{text}");
        }
        for text in ["ssid:Home Sweet Home", "SSID:café, 家"] {
            assert!(on.is_on(&Network::parse(text)), "{text}");
        }
        for text in [
            "Home Sweet Home",
            "ssid:home sweet home",
            "ssid:wlan0",
            "ssid:",
            "eth0",
            "192.168.2.0/24",
            "192.168.1.22",
            "fd00:2::/64",
            "aa:bb:cc:00:11:23",
            "::/0x",
            "",
        ] {
            assert!(!on.is_on(&Network::parse(text)), "{text}");
        }
    }

    #[test]
    fn networks_that_are_named_are_those_that_a_rule_names() {
        for text in ["wlan0", "10.0.0.0/8", "fd00::/8", "192.168.1.1", "aa:bb:cc:00:11:22", "ssid:Home"] {
            assert!(Networks::named(&[text.into()]).is_on(&Network::parse(text)), "{text}");
            assert!(!Networks::default().is_on(&Network::parse(text)), "{text}");
        }
    }
}
