//! Totals become amounts: wraps, resets, pauses and interfaces that come and go are told apart and marked, so that none
//! of them looks like traffic. Pure: the time is an argument.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use sharekaro_proto::control::net::Counters;

use crate::monitor::sample::{Reading, Sample};

/// A step longer than this is a gap: the machine slept, or we were not there.
const LONGEST_STEP: f64 = 5.0;
/// 100 Gbit/s: more in a step is no traffic but a counter that we did not know.
const FASTEST: f64 = 12.5e9;
/// A 32-bit counter wraps from the last quarter of its range into the first.
const WRAP: u64 = 1 << 32;
/// No machine has so many interfaces; one that makes and removes them without end must not fill our memory.
const MOST_INTERFACES: usize = 256;

#[derive(Clone, Debug)]
struct Known {
    at: Timestamp,
    ticks: Duration,
    counters: Counters,
    passes: u64,
}

/// The last totals of each interface.
#[derive(Clone, Default, Debug)]
pub struct Steps {
    known: HashMap<Arc<str>, Known>,
    passes: u64,
}

impl Steps {
    /// The amounts since the last pass, of each interface that was there then, or came meanwhile. `ticks` is a clock that
    /// nobody sets; `at` is the wall clock, which stands in the sample.
    pub fn push(&mut self, readings: &[Reading], at: Timestamp, ticks: Duration) -> Vec<Sample> {
        self.passes += 1;
        let samples = readings.iter().filter_map(|reading| self.step(reading, at, ticks)).collect();
        // One that vanished is new when it returns: its counters may begin again, or not.
        let passes = self.passes;
        self.known.retain(|_, known| known.passes == passes);
        samples
    }

    fn step(&mut self, reading: &Reading, at: Timestamp, ticks: Duration) -> Option<Sample> {
        let now = Known { at, ticks, counters: reading.counters, passes: self.passes };
        if !self.known.contains_key(&reading.interface) && self.known.len() >= MOST_INTERFACES {
            return None;
        }
        let Some(last) = self.known.insert(reading.interface.clone(), now) else {
            return (self.passes > 1).then(|| newcomer(reading, at));
        };
        let seconds = ticks.saturating_sub(last.ticks).as_secs_f64();
        if seconds <= 0.0 {
            self.known.insert(reading.interface.clone(), Known { passes: self.passes, ..last });
            return None;
        }
        let (amounts, reset) = amounts(&last.counters, &reading.counters);
        // A sleep shows in the wall clock only; a clock that is set back shows there too.
        let slept = at.duration_since(last.at).as_secs_f64() - seconds;
        // Where nothing can pass, a pause is none.
        let gap = reset || !reading.up || seconds > LONGEST_STEP || slept.abs() > LONGEST_STEP;
        let absurd = (amounts.bytes_sent.max(amounts.bytes_received)) as f64 > FASTEST * seconds;
        let amounts = if absurd { Counters::default() } else { amounts };
        Some(Sample { interface: reading.interface.clone(), at, seconds, amounts, own: Counters::default(), gap: gap || absurd })
    }
}

/// An interface that came while we watched began at nothing; one with large totals was somewhere else before.
fn newcomer(reading: &Reading, at: Timestamp) -> Sample {
    let fresh = reading.counters.bytes_sent.max(reading.counters.bytes_received) as f64 <= FASTEST / 100.0;
    let amounts = if fresh { reading.counters } else { Counters::default() };
    Sample { interface: reading.interface.clone(), at, seconds: 1.0, amounts, own: Counters::default(), gap: true }
}

/// What was added, and whether the counters began again. One counter that falls alone has wrapped; when the bytes and
/// packets of a direction fall together, the counters are new and hold just what passed since. One that falls in any
/// other way says the same of itself, and nothing of those beside it.
fn amounts(last: &Counters, now: &Counters) -> (Counters, bool) {
    let pairs = pairs(last, now);
    let reset = pairs.iter().any(|(last, now)| now < last && wrapped(*last, *now).is_none())
        || pairs.iter().filter(|(last, now)| now < last).count() > 2;
    let added = pairs.map(|(last, now)| match now.checked_sub(last) {
        Some(added) => added,
        None if reset => now,
        None => wrapped(last, now).unwrap_or_default(),
    });
    let [bytes_sent, bytes_received, packets_sent, packets_received, errors_sent, errors_received, drops_sent, drops_received] = added;
    let added =
        Counters { bytes_sent, bytes_received, packets_sent, packets_received, errors_sent, errors_received, drops_sent, drops_received };
    (added, reset)
}

fn wrapped(last: u64, now: u64) -> Option<u64> {
    ((WRAP / 4 * 3..WRAP).contains(&last) && now < WRAP / 4).then(|| WRAP - last + now)
}

fn pairs(a: &Counters, b: &Counters) -> [(u64, u64); 8] {
    [
        (a.bytes_sent, b.bytes_sent),
        (a.bytes_received, b.bytes_received),
        (a.packets_sent, b.packets_sent),
        (a.packets_received, b.packets_received),
        (a.errors_sent, b.errors_sent),
        (a.errors_received, b.errors_received),
        (a.drops_sent, b.drops_sent),
        (a.drops_received, b.drops_received),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(sent: u64, received: u64) -> Reading {
        let counters = Counters {
            bytes_sent: sent,
            bytes_received: received,
            packets_sent: sent / 100,
            packets_received: received / 100,
            ..Counters::default()
        };
        Reading { interface: "wlan0".into(), up: true, counters }
    }

    fn at(second: i64) -> (Timestamp, Duration) {
        (Timestamp::constant(1_750_000_000 + second, 0), Duration::from_secs(second as u64))
    }

    /// The samples of readings at these seconds.
    fn samples(readings: &[(i64, Option<Reading>)]) -> Vec<Sample> {
        let mut steps = Steps::default();
        let push = |(second, reading): &(i64, Option<Reading>)| {
            let (at, ticks) = at(*second);
            steps.push(reading.as_slice(), at, ticks)
        };
        readings.iter().flat_map(push).collect()
    }

    #[test]
    fn the_first_totals_are_no_traffic_and_the_next_are_a_step() {
        let samples = samples(&[(0, Some(reading(5_000_000, 100))), (1, Some(reading(5_000_700, 400)))]);

        assert_eq!(samples.len(), 1);
        assert_eq!((samples[0].amounts.bytes_sent, samples[0].amounts.bytes_received, samples[0].gap), (700, 300, false));
        assert_eq!(samples[0].seconds, 1.0);
    }

    #[test]
    fn counters_that_begin_again_are_a_gap_with_what_passed_since() {
        let samples = samples(&[(0, Some(reading(900_000, 900_000))), (1, Some(reading(1_000, 2_000)))]);

        assert_eq!((samples[0].amounts.bytes_sent, samples[0].amounts.bytes_received, samples[0].gap), (1_000, 2_000, true));
    }

    #[test]
    fn one_counter_that_wraps_alone_goes_on() {
        let samples = samples(&[(0, Some(reading(WRAP - 100, 5_000))), (1, Some(reading(400, 6_000)))]);

        // The packets fall as well here, from far below the wrap: this is a reset.
        assert!(samples[0].gap);

        let (mut before, mut after) = (reading(WRAP - 100, 5_000), reading(400, 6_000));
        (before.counters.packets_sent, after.counters.packets_sent) = (10, 15);
        let (amounts, reset) = amounts(&before.counters, &after.counters);
        assert_eq!((amounts.bytes_sent, amounts.packets_sent, reset), (500, 5, false));
    }

    #[test]
    fn a_counter_that_falls_alone_says_nothing_of_the_others() {
        let (mut before, mut after) = (reading(5_000_000_000, 9_000_000_000), reading(5_000_000_700, 9_000_000_300));
        (before.counters.drops_received, after.counters.drops_received) = (70, 2);

        let samples = samples(&[(0, Some(before)), (1, Some(after))]);

        let amounts = samples[0].amounts;
        assert_eq!((amounts.bytes_sent, amounts.bytes_received, amounts.drops_received, samples[0].gap), (700, 300, 2, true));
    }

    #[test]
    fn a_link_that_is_down_is_a_gap() {
        let down = Reading { up: false, ..reading(100, 100) };

        let samples = samples(&[(0, Some(reading(100, 100))), (1, Some(down.clone())), (2, Some(down)), (3, Some(reading(700, 100)))]);

        assert_eq!(
            samples.iter().map(|sample| (sample.amounts.bytes_sent, sample.gap)).collect::<Vec<_>>(),
            [(0, true), (0, true), (600, false)]
        );
    }

    #[test]
    fn a_sleep_and_a_clock_that_is_set_are_gaps() {
        let long = samples(&[(0, Some(reading(0, 0))), (7200, Some(reading(100, 100)))]);
        assert!(long[0].gap);

        let mut steps = Steps::default();
        steps.push(&[reading(0, 0)], at(0).0, Duration::from_secs(0));
        let slept = steps.push(&[reading(10, 10)], at(3600).0, Duration::from_secs(1));
        assert!(slept[0].gap);
        assert_eq!(slept[0].amounts.bytes_sent, 10);
    }

    #[test]
    fn an_interface_that_comes_goes_and_returns_loses_and_invents_nothing() {
        let other = Reading { interface: "lo".into(), ..reading(1, 1) };
        let mut steps = Steps::default();
        let mut sent = 0;
        for (second, totals) in [(0, None), (1, Some(0)), (2, Some(500)), (3, None), (4, Some(200)), (5, Some(900))] {
            let mut readings = vec![other.clone()];
            readings.extend(totals.map(|totals| reading(totals, 0)));
            let (at, ticks) = at(second);
            let samples = steps.push(&readings, at, ticks);
            sent += samples.iter().filter(|sample| &*sample.interface == "wlan0").map(|sample| sample.amounts.bytes_sent).sum::<u64>();
        }

        assert_eq!(sent, 500 + 900);

        let (at, ticks) = at(6);
        let big = Reading { interface: "renamed0".into(), ..reading(1 << 40, 1 << 40) };
        assert_eq!(steps.push(&[big], at, ticks)[0].amounts, Counters::default());
    }
}
