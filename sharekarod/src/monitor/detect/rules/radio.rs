//! The weather on the air, from the station's second: a signal or a bit rate that collapses, frames that must be sent
//! again and again. Each is held against its own median of the last minutes.

use std::collections::VecDeque;

use jiff::Timestamp;
use sharekaro_proto::control::net::{AnomalyKind, Severity};

use super::{
    event::{Event, Radio},
    finding,
};
use crate::monitor::detect::finding::Finding;

/// Seconds remembered: five minutes.
const MEMORY: usize = 300;
/// Seconds before a median says anything.
const KNOWN: usize = 15;
/// Seconds that must all be bad; a body between two antennas lasts shorter.
const LASTING: usize = 3;
const RATE_LASTING: usize = 10;
/// dB below the median.
const COLLAPSE: i32 = 15;
/// The rate falls to a quarter while frames flow.
const QUARTER: u64 = 4;
const FRAMES: u64 = 5;
/// So many of a hundred frames again, and four times the usual, over ten seconds and as many frames at least.
const RETRIES: f64 = 0.5;
const USUAL: f64 = 4.0;
const ENOUGH: u64 = 100;

#[derive(Clone, Debug, Default)]
pub(super) struct Weather {
    seconds: VecDeque<Radio>,
}

impl Weather {
    pub(super) fn push(&mut self, event: &Event, now: Timestamp) -> Vec<Finding> {
        match event {
            Event::Radio(radio) => {
                self.seconds.push_front(*radio);
                self.seconds.truncate(MEMORY);
                [self.signal(now), self.rate(now), self.retries(now)].into_iter().flatten().collect()
            }
            // Another access point is another place: nothing to compare with.
            Event::Connected(_) | Event::Disconnected => {
                self.seconds.clear();
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn signal(&self, now: Timestamp) -> Option<Finding> {
        let usual = median(self.seconds.iter().skip(LASTING).filter_map(|radio| radio.signal))?;
        let mut latest = self.seconds.iter().take(LASTING).map(|radio| radio.signal);
        let strongest = latest.try_fold(i32::MIN, |strongest, signal| signal.map(|signal| strongest.max(signal)))?;
        (strongest <= usual - COLLAPSE).then(|| {
            let explanation = format!("the signal fell to {strongest} dBm; the median of the last 5 min was {usual} dBm");
            finding(now, AnomalyKind::SignalCollapse, Severity::Low, "", explanation).weighing(f64::from(usual - strongest))
        })
    }

    fn rate(&self, now: Timestamp) -> Option<Finding> {
        let usual = median(self.seconds.iter().skip(RATE_LASTING).filter_map(|radio| radio.send_rate))?;
        let mut latest = self.seconds.iter().take(RATE_LASTING);
        let fastest =
            latest.try_fold(0, |fastest, radio| radio.send_rate.filter(|_| radio.sent >= FRAMES).map(|rate| fastest.max(rate)))?;
        (self.seconds.len() >= RATE_LASTING && fastest < usual / QUARTER).then(|| {
            let (now_rate, usual_rate) = (fastest as f64 / 1e6, usual as f64 / 1e6);
            let explanation = format!("the bit rate fell to {now_rate:.1} Mbit/s; the median of the last 5 min was {usual_rate:.1} Mbit/s");
            finding(now, AnomalyKind::RateCollapse, Severity::Low, "", explanation).weighing(usual_rate / now_rate.max(0.1))
        })
    }

    fn retries(&self, now: Timestamp) -> Option<Finding> {
        let share = |seconds: &mut dyn Iterator<Item = &Radio>| {
            let (sent, again) = seconds.fold((0, 0), |(sent, again), radio| (sent + radio.sent, again + radio.retries + radio.failed));
            (sent >= ENOUGH).then(|| again as f64 / (sent + again) as f64)
        };
        let latest = share(&mut self.seconds.iter().take(RATE_LASTING))?;
        let usual = share(&mut self.seconds.iter().skip(RATE_LASTING))?;
        (latest >= RETRIES && latest >= usual * USUAL).then(|| {
            let (latest, usual) = (latest * 100.0, usual * 100.0);
            let explanation = format!("{latest:.0} of 100 frames had to be sent again in 10 s; in the minutes before {usual:.0}");
            finding(now, AnomalyKind::Retries, Severity::Low, "", explanation).weighing(latest)
        })
    }
}

fn median<T: Ord + Copy>(values: impl Iterator<Item = T>) -> Option<T> {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    (values.len() >= KNOWN).then(|| values[values.len() / 2])
}

#[cfg(test)]
mod tests {
    use super::super::{Rules, testing::*};
    use super::*;

    const USUALLY: Radio = Radio { signal: Some(-40), send_rate: Some(200_000_000), sent: 100, retries: 8, failed: 0, beacons: Some(10) };

    fn after_minutes(odd: Radio, seconds: i64) -> Vec<(AnomalyKind, Severity)> {
        let mut rules = Rules::default();
        for second in 0..120 {
            let wobble = Radio { signal: Some(-40 - (second % 7) as i32), ..USUALLY };
            assert_eq!(kinds(&mut rules, [(second * 1000, Event::Radio(wobble))]), [], "calm second {second}");
        }
        let mut found = kinds(&mut rules, (120..120 + seconds).map(|second| (second * 1000, Event::Radio(odd))));
        found.dedup();
        found
    }

    #[test]
    fn a_signal_that_falls_by_twenty_db_has_collapsed() {
        assert_eq!(after_minutes(Radio { signal: Some(-62), ..USUALLY }, 4), [(AnomalyKind::SignalCollapse, Severity::Low)]);
        assert_eq!(after_minutes(Radio { signal: Some(-62), ..USUALLY }, 2), []);
        assert_eq!(after_minutes(Radio { signal: Some(-52), ..USUALLY }, 20), []);
    }

    #[test]
    fn a_rate_that_falls_to_a_tenth_under_traffic_has_collapsed() {
        let slow = Radio { send_rate: Some(20_000_000), ..USUALLY };

        assert_eq!(after_minutes(slow, 12), [(AnomalyKind::RateCollapse, Severity::Low)]);
        assert_eq!(after_minutes(Radio { sent: 1, ..slow }, 30), []);
    }

    #[test]
    fn frames_that_are_sent_again_and_again_are_told() {
        assert_eq!(after_minutes(Radio { retries: 300, ..USUALLY }, 11), [(AnomalyKind::Retries, Severity::Low)]);
        assert_eq!(after_minutes(Radio { retries: 25, ..USUALLY }, 30), []);
    }
}
