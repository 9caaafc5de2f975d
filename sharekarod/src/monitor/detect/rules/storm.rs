//! Broadcasts that fill the network: most of all packets, and many.

use jiff::Timestamp;
use sharekaro_proto::control::net::{AnomalyKind, Severity};

use super::{event::Event, finding};
use crate::monitor::detect::finding::Finding;

/// A second; discovery of a large network stays far below.
const MANY: u64 = 500;
/// Seconds in a row.
const LASTING: u32 = 2;

#[derive(Clone, Debug, Default)]
pub(super) struct Storm {
    seconds: u32,
}

impl Storm {
    pub(super) fn push(&mut self, event: &Event, now: Timestamp) -> Option<Finding> {
        let Event::Broadcasts(broadcasts, all) = event else { return None };
        let stormy = *broadcasts > MANY && broadcasts.saturating_mul(2) > *all;
        self.seconds = if stormy { self.seconds.saturating_add(1) } else { 0 };
        (self.seconds >= LASTING).then(|| {
            let (seconds, share) = (self.seconds, *broadcasts as f64 * 100.0 / (*all).max(1) as f64);
            let explanation = format!("{broadcasts} broadcasts a second, {share:.0} % of all packets, for {seconds} s");
            finding(now, AnomalyKind::BroadcastStorm, Severity::Medium, "", explanation).weighing(*broadcasts as f64)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Rules, testing::*};
    use super::*;

    #[test]
    fn thousands_of_broadcasts_a_second_are_a_storm() {
        let seconds = [(0, Event::Broadcasts(4000, 4100)), (1000, Event::Broadcasts(4000, 4100))];

        assert_eq!(kinds(&mut Rules::default(), seconds), [(AnomalyKind::BroadcastStorm, Severity::Medium)]);
    }

    #[test]
    fn a_short_burst_and_a_busy_network_are_none() {
        let calm = [
            (0, Event::Broadcasts(900, 950)),
            (1000, Event::Broadcasts(100, 110)),
            (2000, Event::Broadcasts(900, 90_000)),
            (3000, Event::Broadcasts(900, 90_000)),
        ];

        assert_eq!(kinds(&mut Rules::default(), calm), []);
    }
}
