//! Text for the bus: the wire format ends a string at NUL, so a NUL that a peer wrote must never reach it.
//!
//! A message that breaks the format would cost us the connection, and every other client its objects.

/// The text without NUL; everything else stays as somebody wrote it, a screen has to escape it.
pub(super) fn bus_text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// A count for a 32-bit field; what does not fit is the largest that does.
pub(super) fn bus_count(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Seconds since 1970; what was before is 0.
pub(super) fn bus_time(at: jiff::Timestamp) -> u64 {
    u64::try_from(at.as_second()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nul_never_reaches_the_wire_and_the_rest_stays() {
        assert_eq!(bus_text("a\0b\u{202e}नम\n"), "a\u{fffd}b\u{202e}नम\n");
        assert_eq!(bus_count(u64::MAX), u32::MAX);
        assert_eq!(bus_time(jiff::Timestamp::MIN), 0);
    }
}
