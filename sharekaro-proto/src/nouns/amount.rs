//! Bytes as people write them: `500000`, `20M`, `1G`; K, M, G and T are powers of 1024.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Bytes, or bytes a second. Read from a number or a text, written as a number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Amount(pub u64);

/// A text is no amount.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("write a number of bytes, as 500000, 20M or 1G")]
pub struct AmountError;

impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let text = text.trim();
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let shift = match text[digits.len()..].to_ascii_uppercase().as_str() {
            "" | "B" => 0,
            "K" | "KB" | "KIB" => 10,
            "M" | "MB" | "MIB" => 20,
            "G" | "GB" | "GIB" => 30,
            "T" | "TB" | "TIB" => 40,
            _ => return Err(AmountError),
        };
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(AmountError); // also no sign, which numbers of Rust may have
        }
        digits.parse::<u64>().ok().and_then(|count| count.checked_mul(1 << shift)).map(Self).ok_or(AmountError)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl de::Visitor<'_> for Reader {
            type Value = Amount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of bytes, as 500000, \"20M\" or \"1G\"")
            }

            fn visit_u64<E: de::Error>(self, count: u64) -> Result<Amount, E> {
                Ok(Amount(count))
            }

            fn visit_i64<E: de::Error>(self, count: i64) -> Result<Amount, E> {
                u64::try_from(count).map(Amount).map_err(|_| E::invalid_value(de::Unexpected::Signed(count), &self))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Amount, E> {
                text.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_powers_of_1024_in_any_case() {
        for (text, bytes) in [("0", 0), ("8000000", 8_000_000), ("20M", 20 << 20), ("2g", 2 << 30), (" 1KiB ", 1024), ("3TB", 3 << 40)] {
            assert_eq!(text.parse(), Ok(Amount(bytes)), "{text}");
        }
        for bad in ["", "M", "-1", "+1", "1.5M", "99999999999G", "5ü", "ü", "1 M", "९", "5X", "banana"] {
            assert_eq!(bad.parse::<Amount>(), Err(AmountError), "{bad}");
        }
    }

    #[test]
    fn it_is_read_from_numbers_and_texts_and_written_as_a_number() {
        let read = |json: &str| serde_json::from_str::<Amount>(json);

        assert_eq!((read("5").unwrap(), read("\"5K\"").unwrap()), (Amount(5), Amount(5 << 10)));
        assert_eq!(serde_json::to_string(&Amount(7)).unwrap(), "7");
        for bad in ["-5", "5.5", "true", "\"5Q\"", "null"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
