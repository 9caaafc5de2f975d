//! Which Wi-Fi networks this machine is in right now, as nl80211 tells anybody who asks (linux/nl80211.h).

use std::io;

use super::netlink::{Netlink, attribute, attributes, u16_of, u32_of};

/// `NETLINK_GENERIC`, its controller, and what that is asked (linux/genetlink.h).
const GENERIC: isize = 16;
const CONTROLLER: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;

/// `NL80211_CMD_GET_INTERFACE`, and what its answer says of each.
const GET_INTERFACE: u8 = 5;
const KIND: u16 = 5;
const SSID: u16 = 52;

/// `NL80211_IFTYPE_STATION`: an access point of our own has a name too, and is no network that we are in.
const STATION: u32 = 2;

/// Command, version and two reserved bytes stand before the attributes.
const HEADER: usize = 4;

/// The names (SSIDs) of the Wi-Fi networks that our stations are in. Anybody can give a network any name; a byte that is
/// no UTF-8 is shown as one. Empty where the machine has no Wi-Fi, or the kernel does not say.
pub fn wifi_networks() -> Vec<String> {
    ask().unwrap_or_else(|e| {
        tracing::debug!("the names of our Wi-Fi networks are not known: {e}");
        Vec::new()
    })
}

fn ask() -> io::Result<Vec<String>> {
    let mut socket = Netlink::open(GENERIC)?;
    let body = [&[GET_FAMILY, 1, 0, 0][..], &attribute(FAMILY_NAME, b"nl80211\0")].concat();
    socket.ask(CONTROLLER, &body)?;
    let mut family = None;
    socket.hear(|_, content| family = value_in(content, FAMILY_ID).and_then(u16_of).or(family))?;
    let Some(family) = family else { return Ok(Vec::new()) };
    socket.dump(family, &[GET_INTERFACE, 0, 0, 0])?;
    let mut names = Vec::new();
    socket.hear(|kind, content| names.extend(network_in(content).filter(|_| kind == family)))?;
    Ok(names)
}

/// The name of the network that an interface is in, of its description.
fn network_in(content: &[u8]) -> Option<String> {
    let is_station = value_in(content, KIND).and_then(u32_of) == Some(STATION);
    let name = value_in(content, SSID).filter(|name| is_station && !name.is_empty())?;
    Some(String::from_utf8_lossy(name).into_owned())
}

fn value_in(content: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(content.get(HEADER..)?).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(kind: u32, ssid: Option<&[u8]>) -> Vec<u8> {
        let ssid = ssid.map(|name| attribute(SSID, name)).unwrap_or_default();
        [&[7, 1, 0, 0][..], &attribute(4, b"wlan0\0"), &attribute(KIND, &kind.to_ne_bytes()), &ssid].concat()
    }

    #[test]
    fn only_a_station_that_is_in_a_network_has_its_name() {
        assert_eq!(network_in(&described(STATION, Some("Zu Hause, 家".as_bytes()))).as_deref(), Some("Zu Hause, 家"));
        assert_eq!(network_in(&described(STATION, Some(b"caf\xe9"))).as_deref(), Some("caf\u{fffd}"));
        assert_eq!(network_in(&described(STATION, None)), None);
        assert_eq!(network_in(&described(3, Some(b"our own access point"))), None);
        assert_eq!(network_in(&[]), None);
    }

    #[test]
    fn the_kernel_is_asked_and_says_nothing_where_there_is_no_wifi() {
        assert!(ask().is_ok());
    }
}
