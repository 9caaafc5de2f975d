//! Sizes, rates and times as people say them.

use jiff::{Timestamp, tz::TimeZone};

/// `0 B`, `999 B`, `1.5 KiB`, `12.0 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = UNITS[0];
    for next in &UNITS[1..] {
        if value < 1023.95 {
            break; // above, one decimal would show 1024.0
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// `12.0 MiB/s`.
pub(crate) fn rate(bytes_a_second: u64) -> String {
    format!("{}/s", size(bytes_a_second))
}

/// `5 s`, `3 min`, `2 h 5 min`, `4 d`.
pub(crate) fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..600 => format!("{} min {} s", seconds / 60, seconds % 60),
        600..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// `just now`, `5 min ago`, `in 3 h`: a time as seen from `now`.
pub(crate) fn when(time: Timestamp, now: Timestamp) -> String {
    let ago = now.as_second().saturating_sub(time.as_second());
    match ago {
        -4..5 => "just now".to_owned(),
        5.. => format!("{} ago", rough(ago.unsigned_abs())),
        _ => format!("in {}", rough(ago.unsigned_abs())),
    }
}

/// `2026-11-21 14:05:09`: a time as clocks there show it.
pub(crate) fn moment(time: Timestamp, zone: &TimeZone) -> String {
    time.to_zoned(zone.clone()).strftime("%F %T").to_string()
}

fn rough(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// `1 file`, `3 files`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_never_show_1024_of_a_unit() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (12 << 20, "12.0 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn times_are_said_from_now() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let at = |seconds: i64| Timestamp::from_second(1_000_000 + seconds).unwrap();

        assert_eq!(when(at(-2), now), "just now");
        assert_eq!(when(at(-300), now), "5 min ago");
        assert_eq!(when(at(7_200), now), "in 2 h");
        assert!(when(Timestamp::MIN, Timestamp::MAX).ends_with(" d ago"));
        assert_eq!(moment(now, &TimeZone::fixed(jiff::tz::offset(2))), "1970-01-12 15:46:40");
        assert_eq!(span(59), "59 s");
        assert_eq!(span(7_500), "2 h 5 min");
    }
}
