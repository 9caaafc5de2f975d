//! The highest and the lowest that a figure has been, slowly forgotten: a new record is the one test that needs no
//! assumption about the distribution.
//!
//! The k-th of exchangeable values is a new maximum with probability 1/k, so that false records grow only as log n.

use serde::{Deserialize, Serialize};

/// What has been seen, pulled towards the present by `forgetting` of the distance at each value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    high: f64,
    low: f64,
    seen: u64,
}

impl Record {
    pub(crate) const fn new() -> Self {
        Self { high: 0.0, low: 0.0, seen: 0 }
    }

    /// How far the value lies above the highest (positive) or below the lowest (negative), as a share of the range; 0 within.
    pub(crate) fn excess(&self, value: f64) -> f64 {
        let range = self.high - self.low + f64::EPSILON;
        match value {
            _ if self.seen == 0 || !value.is_finite() => 0.0,
            value if value > self.high => (value - self.high) / range,
            value if value < self.low => (value - self.low) / range,
            _ => 0.0,
        }
    }

    /// How many values were taken in.
    pub(crate) const fn seen(&self) -> u64 {
        self.seen
    }

    /// Takes a value in; one that is no number is left out.
    pub(crate) fn learn(&mut self, value: f64, forgetting: f64) {
        if !value.is_finite() {
            return;
        }
        if self.seen == 0 {
            (self.high, self.low) = (value, value);
        }
        let (high, low) = (self.high.max(value), self.low.min(value));
        self.high = high - (high - value) * forgetting;
        self.low = low + (value - low) * forgetting;
        self.seen += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_leaves_the_range_is_in_excess() {
        let mut record = Record::new();
        assert_eq!(record.excess(1e9), 0.0);
        for value in [10.0, 20.0, f64::NAN, 15.0] {
            record.learn(value, 0.0);
        }

        assert_eq!(record.excess(15.0), 0.0);
        assert!((record.excess(25.0) - 0.5).abs() < 1e-9);
        assert!((record.excess(0.0) + 1.0).abs() < 1e-9);
    }

    #[test]
    fn an_old_record_is_forgotten() {
        let mut record = Record::new();
        record.learn(100.0, 0.0);
        for _ in 0..1000 {
            record.learn(1.0, 0.01);
        }

        assert!(record.excess(2.0) > 0.5);
    }
}
