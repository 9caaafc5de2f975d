//! `DeviceId`: who a device is.
//!
//! It is the raw Ed25519 public key itself, not a hash of it, so that a signature can be checked with the id alone
//! and the same 32 bytes can name the device on another transport.

use std::{fmt, str::FromStr};

use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The Ed25519 public key of a device, 32 bytes. Written as 52 lower-case base32 characters (RFC 4648, no padding).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId([u8; 32]);

/// Why a text is no device id.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DeviceIdError {
    /// Something else than 52 (or, with the check, 54) base32 characters.
    #[error("a device id has 52 letters and digits (a-z, 2-7), in groups if you like")]
    Form,
    /// The two check characters do not fit the other 52: one of them was misread.
    #[error("this device id was misread somewhere: its last two characters do not fit the others")]
    Check,
}

impl DeviceId {
    /// The id of a public key.
    pub const fn from_bytes(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// The public key.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first eight characters: enough to tell the devices of one LAN apart on a screen, never enough to trust.
    pub fn short(&self) -> String {
        self.to_string()[..8].to_owned()
    }

    /// The whole id for reading aloud: groups of four and, at the end, two check characters.
    pub fn grouped(&self) -> String {
        let text = self.to_string() + &self.check();
        let groups: Vec<&str> = (0..text.len()).step_by(4).map(|i| &text[i..text.len().min(i + 4)]).collect();
        groups.join("-")
    }

    /// Ten bits of the BLAKE3 hash of the key: one misread character in a thousand goes unnoticed.
    fn check(self) -> String {
        let hash = blake3::hash(&self.0);
        BASE32_NOPAD.encode(&hash.as_bytes()[..2])[..2].to_ascii_lowercase()
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE32_NOPAD.encode(&self.0).to_ascii_lowercase())
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceId({})", self.short())
    }
}

impl FromStr for DeviceId {
    type Err = DeviceIdError;

    fn from_str(text: &str) -> Result<Self, DeviceIdError> {
        let plain: String = text.chars().filter(|c| !matches!(c, '-' | ' ')).map(|c| c.to_ascii_uppercase()).collect();
        let (key, check) = match plain.len() {
            52 => (plain.as_str(), None),
            54 if plain.is_ascii() => (&plain[..52], Some(plain[52..].to_ascii_lowercase())),
            _ => return Err(DeviceIdError::Form),
        };
        let bytes = BASE32_NOPAD.decode(key.as_bytes()).map_err(|_| DeviceIdError::Form)?;
        let id = Self(bytes.try_into().map_err(|_| DeviceIdError::Form)?);
        match check {
            Some(check) if check != id.check() => Err(DeviceIdError::Check),
            _ => Ok(id),
        }
    }
}

impl Serialize for DeviceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DeviceId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_read_back() {
        let id = DeviceId::from_bytes(std::array::from_fn(|i| i as u8 * 7));

        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.grouped().parse(), Ok(id));
        assert_eq!(id.grouped().to_uppercase().replace('-', " ").parse(), Ok(id));
        assert_eq!(id.short().len(), 8);
    }

    #[test]
    fn a_misread_character_is_noticed() {
        let id = DeviceId::from_bytes([9; 32]);
        let grouped = id.grouped();
        let misread = if grouped.starts_with('b') { grouped.replacen('b', "c", 1) } else { format!("b{}", &grouped[1..]) };

        assert_eq!(misread.parse::<DeviceId>(), Err(DeviceIdError::Check));
        assert_eq!("alice".parse::<DeviceId>(), Err(DeviceIdError::Form));
        assert_eq!("ñ".repeat(27).parse::<DeviceId>(), Err(DeviceIdError::Form));
    }
}
