//! A hardware address.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Six bytes, written as `02:00:00:00:00:01`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// From a netlink attribute or a frame; `None` where it has another length.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Neither a group's address nor empty: one device's.
    #[must_use]
    pub fn is_single(self) -> bool {
        self.0[0] & 1 == 0 && self.0 != [0; 6]
    }

    /// The maker's part, without the bit that says "made up here": access points of one maker differ in the rest.
    #[must_use]
    pub fn maker(self) -> [u8; 3] {
        [self.0[0] & !2, self.0[1], self.0[2]]
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

impl FromStr for Mac {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes: Option<Vec<u8>> = text.split(':').map(|part| u8::from_str_radix(part, 16).ok()).collect();
        bytes.and_then(|bytes| Self::from_slice(&bytes)).ok_or_else(|| format!("no hardware address: {text:?}"))
    }
}

impl TryFrom<String> for Mac {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hardware_address_is_read_as_it_is_written() {
        let mac = Mac([2, 0, 0, 0xab, 0, 1]);

        assert_eq!(mac.to_string(), "02:00:00:ab:00:01");
        assert_eq!("02:00:00:ab:00:01".parse(), Ok(mac));
        assert!("02:00:00:ab:00".parse::<Mac>().is_err() && "02:00:00:ab:00:zz".parse::<Mac>().is_err());
        assert!(mac.is_single() && !Mac([0xff; 6]).is_single() && !Mac([0; 6]).is_single());
    }
}
