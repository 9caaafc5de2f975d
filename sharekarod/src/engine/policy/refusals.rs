//! Who was turned away, and when that is worth a line in the log: what is refused again and again is one line now and
//! then, which counts.

use std::collections::HashMap;

use sharekaro_proto::DeviceId;

/// Between two lines about strangers, whoever they are: keys are free.
const STRANGERS_APART_MS: i64 = 10_000;

/// After the first line about a known device, and twice as long after each further one...
const APART_FIRST_MS: i64 = 600_000;

/// ...up to this: a blocked device that calls for weeks is a line a day.
const APART_MAX_MS: i64 = 86_400_000;

/// So many known devices are told apart; a person blocks fewer.
const KNOWN_MAX: usize = 256;

/// Those who were turned away lately.
#[derive(Default)]
pub(super) struct Refusals {
    known: HashMap<DeviceId, Refused>,
    strangers: Option<Refused>,
}

/// One who was, or all strangers together.
struct Refused {
    /// Not before this, in milliseconds since 1970, there is another line.
    quiet_until: i64,
    apart_ms: i64,
    /// How often since the last line.
    unsaid: u64,
}

impl Refusals {
    /// Somebody is turned away. Returns how often since the last line, this time included, where a line is due.
    pub(super) fn note(&mut self, peer: DeviceId, stranger: bool, now_ms: i64) -> Option<u64> {
        let first = |apart_ms| Refused { quiet_until: i64::MIN, apart_ms, unsaid: 0 };
        if stranger || !self.known.contains_key(&peer) && self.known.len() >= KNOWN_MAX {
            return self.strangers.get_or_insert_with(|| first(STRANGERS_APART_MS)).again(now_ms, STRANGERS_APART_MS);
        }
        self.known.entry(peer).or_insert_with(|| first(APART_FIRST_MS)).again(now_ms, APART_MAX_MS)
    }
}

impl Refused {
    fn again(&mut self, now_ms: i64, apart_max: i64) -> Option<u64> {
        self.unsaid += 1;
        if now_ms < self.quiet_until {
            return None;
        }
        self.quiet_until = now_ms.saturating_add(self.apart_ms);
        self.apart_ms = (self.apart_ms * 2).min(apart_max);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u32) -> DeviceId {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&n.to_le_bytes());
        DeviceId::from_bytes(bytes)
    }

    #[test]
    fn a_blocked_device_that_calls_every_minute_is_a_line_now_and_then_that_counts() {
        let mut refusals = Refusals::default();

        let lines: Vec<(i64, u64)> =
            (0..60 * 24 * 30).filter_map(|minute| Some((minute, refusals.note(id(1), false, minute * 60_000)?))).collect();

        assert_eq!(lines[..3], [(0, 1), (10, 10), (30, 20)]);
        assert!(lines.len() < 40, "{} lines in a month", lines.len());
        assert!(refusals.note(id(2), false, 0).is_some(), "another one is told at once");
    }

    #[test]
    fn a_flood_of_keys_is_a_line_every_ten_seconds_and_hides_nobody_known() {
        let mut refusals = Refusals::default();

        let lines = (0..100_000u32).filter(|n| refusals.note(id(*n), true, i64::from(*n)).is_some()).count();

        assert_eq!(lines, 10);
        assert_eq!(refusals.note(id(7), false, 100_000), Some(1));
        assert!(refusals.known.len() == 1);
    }
}
