//! Scores for one series of numbers, as they come: is this value, or the way it got here, unlike all before?
//!
//! Five figures of the latest values and one of the same hour on earlier days are held against their records; a forest of
//! random cut trees judges the shape. After an alarm it rests, so that one incident is one alarm. Nothing looks ahead.

mod cut_tree;
mod days;
mod forest;
mod random;
mod recent;

use self::{days::Days, forest::Forest, recent::Recent};
use super::record::Record;

/// A record counts from this share of the range on: measurement noise breaks records by less.
const TOLERANCE: f64 = 0.08;
/// A record fades to a third in 20,000 values.
const FORGETTING: f64 = 5e-5;
/// A record of fewer values than this is no record.
const KNOWN: u64 = 60;
/// Shapes score 0.5 to 1 in calm, noisy series; from here on one is strange.
const STRANGE: f64 = 2.1;
/// Values before the first alarm.
const WARM_UP: u64 = 150;
/// Values without a further alarm: a sixth of what was seen, within these.
const REST: (u64, u64) = (30, 120);
/// So many times the evidence of the alarm that it rests from is news.
const ESCALATION: f64 = 10.0;

/// One configuration for every series; the same values give the same scores.
#[derive(Clone, Debug)]
pub(crate) struct SeriesDetector {
    recent: Recent,
    records: [Record; recent::FIGURES],
    days: Days,
    day_record: Record,
    forest: Forest,
    seen: u64,
    rests_until: u64,
    /// What the rest is about; only clearly stronger evidence ends it early.
    told: f64,
}

impl SeriesDetector {
    pub(crate) fn new() -> Self {
        Self {
            recent: Recent::new(),
            records: [Record::new(); recent::FIGURES],
            days: Days::new(),
            day_record: Record::new(),
            forest: Forest::new(),
            seen: 0,
            rests_until: WARM_UP,
            told: f64::MAX,
        }
    }

    /// The score of this value in [0, 1]: 0 is usual, above 0 is an alarm, larger is stranger. `at` is in seconds.
    pub(crate) fn push(&mut self, at: f64, value: f64) -> f64 {
        let number = self.seen;
        self.seen += 1;
        if !value.is_finite() {
            return 0.0;
        }
        let strength = self.strength(at, value);
        let rests = number < self.rests_until && strength < self.told * ESCALATION;
        if strength <= 0.0 || rests {
            // An incident that swells by degrees is still the same one.
            self.told = self.told.max(strength);
            return 0.0;
        }
        self.told = strength;
        self.rests_until = number + (number / 6).clamp(REST.0, REST.1);
        strength / (1.0 + strength)
    }

    /// The strongest of all evidence; 0 where none reaches its bound. Learns the value.
    fn strength(&mut self, at: f64, value: f64) -> f64 {
        let mut strongest: f64 = 0.0;
        for (record, figure) in self.records.iter_mut().zip(self.recent.push(value)) {
            let Some(figure) = figure else { continue };
            let known = record.seen() >= KNOWN;
            strongest = strongest.max(if known { record.excess(figure).abs() } else { 0.0 });
            record.learn(figure, FORGETTING);
        }
        if let Some(distance) = self.days.push(at, value) {
            let usual = self.day_record.seen() >= self.days.period().max(WARM_UP);
            strongest = strongest.max(if usual { self.day_record.excess(distance) } else { 0.0 });
            self.day_record.learn(distance, FORGETTING);
        }
        let shape = self.forest.push(value).map_or(0.0, |score| score - STRANGE);
        if shape > 0.0 {
            strongest = strongest.max(TOLERANCE + shape);
        }
        // Against records that are all one value, a huge one is more than a number can say.
        if strongest > TOLERANCE { strongest.min(f64::MAX) } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::{random::Random, *};

    fn noise(count: usize) -> Vec<f64> {
        let mut random = Random::new(3);
        (0..count).map(|_| 50.0 + 10.0 * random.unit()).collect()
    }

    fn scores(values: &[f64]) -> Vec<f64> {
        let mut detector = SeriesDetector::new();
        values.iter().enumerate().map(|(row, value)| detector.push(row as f64 * 300.0, *value)).collect()
    }

    #[test]
    fn a_jump_scores_above_all_calm_rows_and_is_told_once() {
        let mut values = noise(3000);
        values[2500..2510].fill(500.0);

        let scores = scores(&values);

        assert!(scores.iter().all(|score| (0.0..=1.0).contains(score)));
        let calm = scores[..2500].iter().copied().fold(0.0, f64::max);
        assert!(scores[2500] > 0.9 && scores[2500] > calm);
        assert_eq!(scores[2501..2600].iter().filter(|score| **score > 0.0).count(), 0);
    }

    #[test]
    fn earlier_scores_do_not_depend_on_later_values() {
        let values = noise(2000);

        assert_eq!(scores(&values[..900]), scores(&values)[..900]);
    }

    #[test]
    fn a_missing_day_is_noticed_though_each_value_is_usual() {
        let day = |row: usize| if row % 288 > 100 && row % 288 < 220 { 80.0 } else { 20.0 };
        let mut random = Random::new(1);
        let mut values: Vec<f64> = (0..288 * 14).map(|row| day(row) + random.unit()).collect();
        values[288 * 11..288 * 12].fill_with(|| 20.0 + random.unit());

        let scores = scores(&values);

        assert_eq!(scores[300..288 * 11].iter().filter(|score| **score > 0.0).count(), 0);
        assert!(scores[288 * 11..288 * 12].iter().any(|score| *score > 0.0));
    }

    #[test]
    fn a_huge_value_after_equal_ones_scores_highest_and_is_a_number() {
        for huge in [1e300, -1e300, f64::MAX, f64::MIN, f64::INFINITY, f64::NAN] {
            let mut values = vec![0.0; 300];
            values.extend([huge, 0.0, huge]);

            let scores = scores(&values);

            assert!(scores.iter().all(|score| (0.0..=1.0).contains(score)), "{huge}");
            assert_eq!(scores[300], if huge.is_finite() { 1.0 } else { 0.0 }, "{huge}");
        }
    }

    #[test]
    fn values_that_are_no_numbers_or_huge_never_break_it() {
        let mut values = noise(600);
        values[400..404].copy_from_slice(&[f64::NAN, f64::INFINITY, 1e300, -1e300]);

        assert!(scores(&values).iter().all(|score| (0.0..=1.0).contains(score)));
    }
}
