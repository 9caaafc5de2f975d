//! How values are written: names, paths, durations, rates.

use std::{path::PathBuf, time::Duration};

use sharekaro_proto::{nouns::amount::Amount, wire::NAME_MAX};

use super::Error;

/// The lowest port that a program of a user has; announcements of a lower one are disregarded.
const PORT_MIN: u16 = 1024;

/// A device's name: control characters go, and it is cut at `NAME_MAX` bytes.
pub(super) fn device_name(name: String) -> Result<String, Error> {
    let mut clean: String = name.trim().chars().filter(|c| !sharekaro_proto::nouns::text::is_obeyed(*c)).collect();
    while clean.len() > NAME_MAX {
        clean.pop();
    }
    if clean.is_empty() {
        return Err(Error::Value { key: "name", value: name, why: "it needs at least one visible character" });
    }
    Ok(clean)
}

/// What this machine is called.
pub(super) fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.trim().is_empty() { "linux".to_owned() } else { name }
}

/// A path as it was told.
pub(super) fn absolute(key: &'static str, told: Option<PathBuf>, default: impl FnOnce() -> PathBuf) -> Result<PathBuf, Error> {
    let path = told.unwrap_or_else(default);
    if !path.is_absolute() {
        return Err(Error::Value { key, value: path.display().to_string(), why: "it has to be an absolute path" });
    }
    Ok(path)
}

/// The same for several; empty ones are none.
pub(super) fn absolutes(key: &'static str, told: Option<Vec<PathBuf>>) -> Result<Vec<PathBuf>, Error> {
    let named = told.into_iter().flatten().filter(|path| !path.as_os_str().is_empty());
    named.map(|path| absolute(key, Some(path), PathBuf::new)).collect()
}

/// `90s`, `15m`, `24h`, `7d`, or seconds without a letter.
pub(crate) fn duration(key: &'static str, text: &str) -> Result<Duration, Error> {
    let bad = || Error::Value { key, value: text.to_owned(), why: "write a number with s, m, h or d, as 90s or 7d" };
    let (digits, unit) = text.trim().split_at(text.trim().trim_end_matches(|c: char| c.is_ascii_alphabetic()).len());
    let factor = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(bad()),
    };
    let count: u64 = digits.parse().map_err(|_| bad())?;
    count.checked_mul(factor).filter(|s| *s <= 10 * 365 * 86_400).map(Duration::from_secs).ok_or_else(bad)
}

/// A duration in which a person can answer.
pub(super) fn expiry(key: &'static str, text: &str) -> Result<Duration, Error> {
    let zero = || Error::Value { key, value: text.to_owned(), why: "every offer would have expired before it is seen: write 1s or more" };
    duration(key, text).and_then(|lasts| if lasts.is_zero() { Err(zero()) } else { Ok(lasts) })
}

/// A UDP port at which others look for us; 0: any.
pub(super) fn port(port: u16) -> Result<u16, Error> {
    if (1..PORT_MIN).contains(&port) {
        let why = "write 0 for any, or 1024 to 65535: nobody follows an announcement to a port of the system";
        return Err(Error::Value { key: "port", value: port.to_string(), why });
    }
    Ok(port)
}

/// `500000`, `20M`, `1G` (powers of 1024) or `none`.
pub(crate) fn rate(key: &'static str, text: &str) -> Result<Option<u64>, Error> {
    let bad = || Error::Value { key, value: text.to_owned(), why: "write bytes a second as 500000, 20M or none" };
    if text.trim().eq_ignore_ascii_case("none") {
        return Ok(None);
    }
    text.parse().map_err(|_| bad()).and_then(|Amount(rate)| if rate > 0 { Ok(Some(rate)) } else { Err(bad()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_rates_are_read_or_refused() {
        assert_eq!(duration("x", "90s").unwrap(), Duration::from_secs(90));
        assert_eq!(duration("x", "7d").unwrap(), Duration::from_secs(7 * 86_400));
        assert_eq!(duration("x", "3").unwrap(), Duration::from_secs(3));
        assert_eq!(rate("x", "20M").unwrap(), Some(20 << 20));
        assert_eq!(rate("x", "none").unwrap(), None);
        for bad in ["", "d", "-1s", "1w", "99999999999999999999s", "1.5h", "९s"] {
            assert!(duration("x", bad).is_err(), "{bad}");
            assert!(rate("x", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_port_of_the_system_and_an_expiry_of_nothing_are_refused_with_their_key() {
        assert!([0, 1024, 47810].into_iter().all(|good| port(good).is_ok_and(|port| port == good)));
        for bad in [1, 80, 1023] {
            assert!(matches!(port(bad), Err(Error::Value { key: "port", .. })), "{bad}");
        }
        assert_eq!(expiry("offer_expiry", "1s").unwrap(), Duration::from_secs(1));
        for bad in ["0s", "0", "0d", "soon"] {
            assert!(matches!(expiry("offer_expiry", bad), Err(Error::Value { key: "offer_expiry", .. })), "{bad}");
        }
    }

    #[test]
    fn a_name_cannot_carry_orders_for_a_terminal() {
        assert_eq!(device_name("a\x1b[2Jb\u{202e}".into()).unwrap(), "a[2Jb");
        assert!(device_name("\x07 ".into()).is_err());
        assert!(device_name("ü".repeat(100)).unwrap().len() <= NAME_MAX);
    }
}
