//! A pause where there always was a packet: longer than chance allows, and than every pause of the day before.

use serde::{Deserialize, Serialize};

/// Steps over which it is learnt how often there is a packet.
const HALF_HOUR: f64 = 1800.0;
/// A pause that chance makes once in so many steps, were each step on its own, is none of chance.
const CHANCE: f64 = 1e-9;
const SHORTEST: f64 = 8.0;
/// A pause must be so much longer than the longest one that is remembered.
const LONGER: f64 = 1.5;
/// The share of a pause beyond the longest that is learnt when it was told: what comes again is told again.
const SHARE: f64 = 0.25;
/// The longest pause is forgotten to a third in a day.
const FORGETTING: f64 = 1.0 / 86_400.0;

/// How busy it is, the pause now, and the longest one.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Silence {
    busy: f64,
    pause: f64,
    longest: f64,
    seen: f64,
}

/// A pause that is none of chance.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Pause {
    pub(super) seconds: f64,
    /// The share of seconds with a packet before it.
    pub(super) busy: f64,
    pub(super) longest: f64,
}

impl Silence {
    /// The pause that lasts now, once it is too long.
    pub(super) fn push(&mut self, packets: u64, seconds: f64) -> Option<Pause> {
        self.seen += seconds;
        self.longest *= 1.0 - FORGETTING * seconds;
        if packets > 0 {
            let told = self.pause > 0.0 && self.pause >= self.bound();
            let beyond = (self.pause - self.longest).max(0.0);
            self.longest += if told { beyond * SHARE } else { beyond };
            self.pause = 0.0;
            self.busy += (1.0 - self.busy) * seconds.min(60.0) / HALF_HOUR;
            return None;
        }
        self.pause += seconds;
        let too_long = self.pause >= self.bound();
        if !too_long {
            self.busy -= self.busy * seconds.min(60.0) / HALF_HOUR;
        }
        too_long.then_some(Pause { seconds: self.pause, busy: self.busy, longest: self.longest })
    }

    pub(super) fn accept(&mut self, seconds: f64) {
        self.longest = self.longest.max(seconds);
    }

    /// Nobody looked: the pause begins anew.
    pub(super) fn interrupt(&mut self) {
        self.pause = 0.0;
    }

    fn bound(&self) -> f64 {
        let quiet = (1.0 - self.busy).clamp(1e-4, 1.0 - 1e-4);
        (CHANCE.ln() / quiet.ln()).max(SHORTEST).max(self.longest * LONGER + 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_odd_where_there_always_was_a_packet() {
        let mut silence = Silence::default();
        for _ in 0..7200 {
            assert_eq!(silence.push(5, 1.0), None);
        }

        let found = (1..60).find(|_| silence.push(0, 1.0).is_some());

        assert!(found.is_some_and(|second| (8..=12).contains(&second)), "{found:?}");
    }

    #[test]
    fn pauses_as_long_as_earlier_ones_are_usual() {
        let mut silence = Silence::default();
        let mut found = 0;
        for _ in 0..100 {
            for second in 0..100 {
                found += usize::from(silence.push(u64::from(second < 70), 1.0).is_some());
            }
        }

        // The first pause of thirty seconds may be told; those after it may not.
        assert!(found < 30, "{found}");
    }
}
