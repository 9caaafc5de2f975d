//! What the sources notice on Wi-Fi and LAN: facts with values, already parsed. Names stem from strangers: `Name` is
//! shortened and cleaned where it enters.

use std::{net::IpAddr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::monitor::mac::Mac;

/// A network's name: 32 bytes of anything on the air, made printable.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub struct Name(String);

impl Name {
    /// The longest name that 802.11 allows.
    const LONGEST: usize = 32;

    /// From the air.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes.get(..Self::LONGEST).unwrap_or(bytes));
        Self(text.chars().map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect())
    }

    /// As it may be shown.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How a Wi-Fi network is protected, weakest first.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Security {
    /// Not at all.
    Open,
    /// WEP.
    Wep,
    /// WPA (TKIP).
    Wpa,
    /// WPA2, with a key or with accounts.
    Wpa2,
    /// WPA3, or WPA2 with SHA-256 and protected management frames.
    Wpa3,
}

impl Security {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Open => "no encryption",
            Self::Wep => "WEP",
            Self::Wpa => "WPA",
            Self::Wpa2 => "WPA2",
            Self::Wpa3 => "WPA3",
        }
    }
}

/// An access point as it presents itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccessPoint {
    /// The network's name.
    pub name: Name,
    /// Its address.
    pub address: Mac,
    /// Its protection; `None` where the kernel did not tell.
    pub security: Option<Security>,
}

/// Measured at the station each second; the amounts are those of the second.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Radio {
    /// dBm.
    pub signal: Option<i32>,
    /// Bits a second.
    pub send_rate: Option<u64>,
    /// Frames sent.
    pub sent: u64,
    /// Frames sent again.
    pub retries: u64,
    /// Frames given up.
    pub failed: u64,
    /// Beacons of our access point; `None` where the driver counts none.
    pub beacons: Option<u64>,
}

/// One fact.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// We are associated now, or with another access point, or ours presents itself otherwise than before.
    Connected(AccessPoint),
    /// An access point is heard, ours or not.
    Heard(AccessPoint),
    /// A deauthentication or disassociation came in the access point's name.
    Deauthenticated {
        /// The 802.11 reason code.
        reason: u16,
        /// It was addressed to everybody.
        broadcast: bool,
    },
    /// A deauthentication or disassociation without the protection that we agreed on with our access point.
    Forged,
    /// The link is gone; said after the reason for it.
    Disconnected,
    /// Beacons of our access point stay out.
    BeaconsLost,
    /// Our access point changes its channel.
    ChannelSwitch {
        /// MHz.
        frequency: u32,
    },
    /// The station's second.
    Radio(Radio),
    /// The wire came up: whatever stands behind it may be new.
    LinkUp,
    /// Our address and hardware address on this interface.
    OurAddress(IpAddr, Mac),
    /// The default route's next hop.
    Gateway(IpAddr),
    /// Somebody's address belongs to this hardware address, as the kernel believes.
    Neighbour(IpAddr, Mac),
    /// Somebody said so: by ARP, or by a neighbour advertisement.
    Claim(IpAddr, Mac),
    /// A DHCP server offered or confirmed an address.
    DhcpServer(IpAddr, Mac),
    /// The name servers in use.
    NameServers(Vec<IpAddr>),
    /// Somebody began a connection to this port of ours, or sent it a datagram.
    Tried(IpAddr, u16),
    /// So many connections were refused in the last second.
    Refused(u64),
    /// Broadcasts among all packets of the last second.
    Broadcasts(u64, u64),
    /// How the gateway answered the question of a second ago.
    Probe(Answer),
}

/// An answer of the gateway.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// It stayed out.
    None,
    /// It came, at a time that nobody measured.
    Some,
    /// It came after this time.
    After(Duration),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_printable_and_short() {
        assert_eq!(Name::new(b"Home\x1b[2J\n").as_str(), "Home\u{fffd}[2J\u{fffd}");
        assert!(Name::new(&[b'a'; 300]).as_str().len() == 32);
        assert!(Name::new(&[0xff; 32]).as_str().chars().all(|char| !char.is_control()));
    }
}
