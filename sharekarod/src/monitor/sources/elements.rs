//! The elements of a beacon that say what a network is: its name and its protection (802.11, 9.4.2). Whoever has a radio
//! writes them.

use crate::monitor::detect::rules::event::{Name, Security};

const SSID: u8 = 0;
const RSN: u8 = 48;
const VENDOR: u8 = 221;
const SWITCH: u8 = 37;
const CHECK: u8 = 76;
/// Microsoft's number for WPA of before the standard.
const WPA: [u8; 4] = [0x00, 0x50, 0xf2, 0x01];
/// The standard's own numbers begin so.
const STANDARD: [u8; 3] = [0x00, 0x0f, 0xac];
/// Kinds of key management: those that protect management frames and resist guessing, and the one that asks nobody for
/// a key.
const STRONG: [u8; 9] = [8, 9, 11, 12, 13, 22, 23, 24, 25];
const SHA_256: [u8; 2] = [5, 6];
const UNAUTHENTICATED: u8 = 18;
/// Bits of the capabilities: encrypted somehow, and of RSN: management frames must be protected.
const PRIVACY: u16 = 0x10;
const PROTECTED: u16 = 0x40;

/// Name and protection, of these elements and the capabilities beside them.
pub(in crate::monitor) fn read(elements: &[u8], capability: u16) -> (Name, Security) {
    let (mut name, mut rsn, mut wpa) = (Name::default(), None, false);
    let mut rest = elements;
    while let [kind, length, after @ ..] = rest {
        let Some((value, after)) = after.split_at_checked(usize::from(*length)) else { break };
        match *kind {
            // A hidden network sends its name as nothing, or as zeros.
            SSID if value.iter().any(|byte| *byte != 0) => name = Name::new(value),
            RSN => rsn = protection(value).or(rsn),
            VENDOR => wpa |= value.starts_with(&WPA),
            _ => {}
        }
        rest = after;
    }
    let encrypted = if capability & PRIVACY == 0 { Security::Open } else { Security::Wep };
    (name, rsn.unwrap_or(if wpa { Security::Wpa } else { encrypted }))
}

/// Whether management frames must be protected on this network.
pub(in crate::monitor) fn demands_protection(elements: &[u8]) -> bool {
    element(elements, RSN).and_then(capabilities).is_some_and(|bits| bits & PROTECTED != 0)
}

/// Whether a frame to everybody carries the check value that protection asks for.
pub(in crate::monitor) fn is_checked(elements: &[u8]) -> bool {
    element(elements, CHECK).is_some()
}

/// To which frequency, in MHz, an access point says that it goes (9.4.2.17).
pub(in crate::monitor) fn channel_switch(elements: &[u8]) -> Option<u32> {
    let channel = u32::from(*element(elements, SWITCH)?.get(1)?);
    Some(match channel {
        14 => 2484,
        1..=13 => 2407 + 5 * channel,
        _ => 5000 + 5 * channel,
    })
}

/// The first element of a kind.
fn element(elements: &[u8], wanted: u8) -> Option<&[u8]> {
    let mut rest = elements;
    while let [kind, length, after @ ..] = rest {
        let (value, after) = after.split_at_checked(usize::from(*length))?;
        if *kind == wanted {
            return Some(value);
        }
        rest = after;
    }
    None
}

/// Behind the ciphers and the ways in.
fn capabilities(rsn: &[u8]) -> Option<u16> {
    let ways_at = 8 + 4 * usize::from(u16_at(rsn, 6)?);
    u16_at(rsn, ways_at + 2 + 4 * usize::from(u16_at(rsn, ways_at)?))
}

/// What the weakest way in needs: a network that lets both in is only as strong as that.
fn protection(rsn: &[u8]) -> Option<Security> {
    let ciphers = usize::from(u16_at(rsn, 6)?);
    let at = 8 + 4 * ciphers;
    let count = usize::from(u16_at(rsn, at)?);
    let ways = rsn.get(at + 2..)?.chunks_exact(4).take(count);
    let protected = capabilities(rsn).is_some_and(|bits| bits & PROTECTED != 0);
    ways.map(|way| match way {
        [a, b, c, kind] if [*a, *b, *c] == STANDARD => match *kind {
            kind if STRONG.contains(&kind) || SHA_256.contains(&kind) && protected => Security::Wpa3,
            UNAUTHENTICATED => Security::Open,
            _ => Security::Wpa2,
        },
        _ => Security::Wpa2,
    })
    .min()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rsn(ways: &[u8], capabilities: u16) -> Vec<u8> {
        let mut value = vec![1, 0, 0, 15, 172, 4, 1, 0, 0, 15, 172, 4, ways.len() as u8, 0];
        ways.iter().for_each(|way| value.extend([0, 15, 172, *way]));
        value.extend(capabilities.to_le_bytes());
        [&[RSN, value.len() as u8][..], &value].concat()
    }

    #[test]
    fn the_weakest_way_in_is_what_protects() {
        let security = |elements: &[u8], capability| read(elements, capability).1;

        assert_eq!(security(&rsn(&[2], 0), PRIVACY), Security::Wpa2);
        assert_eq!(security(&rsn(&[8], PROTECTED), PRIVACY), Security::Wpa3);
        assert_eq!(security(&rsn(&[2, 8], 0), PRIVACY), Security::Wpa2);
        assert_eq!((security(&rsn(&[6], PROTECTED), 0), security(&rsn(&[6], 0), 0)), (Security::Wpa3, Security::Wpa2));
        assert_eq!(security(&rsn(&[18], PROTECTED), 0), Security::Open);
        assert_eq!(security(&[VENDOR, 6, 0, 0x50, 0xf2, 1, 1, 0], PRIVACY), Security::Wpa);
        assert_eq!((security(&[], PRIVACY), security(&[], 0)), (Security::Wep, Security::Open));
    }

    #[test]
    fn a_name_is_read_and_a_hidden_one_is_none() {
        assert_eq!(read(&[SSID, 4, b'H', b'o', b'm', b'e'], 0).0.as_str(), "Home");
        assert_eq!(read(&[SSID, 3, 0, 0, 0], 0).0.as_str(), "");
        assert_eq!(read(&[SSID, 9, b'c', b'u', b't'], 0).0.as_str(), "");
    }

    proptest! {
        #[test]
        fn any_bytes_are_elements_or_their_end(bytes: Vec<u8>, capability: u16) {
            let (name, _) = read(&bytes, capability);
            prop_assert!(!name.as_str().chars().any(char::is_control));
        }
    }
}
