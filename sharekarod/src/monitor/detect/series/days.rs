//! The same time on the days before: how far are the latest values from the likest of the last seven days?
//!
//! A week is looked at, so that a weekend is compared with the last one. Needs regular steps; without them it stays silent.

use std::collections::VecDeque;

const DAY: f64 = 86_400.0;
const DAYS: usize = 7;
/// Values over which the distance is averaged.
const WINDOW: usize = 12;
/// Steps between values from which the period is taken.
const STEPS: usize = 31;
/// Values a day: fewer tell no time of day, more would need too much memory (7 days of this many).
const PERIODS: std::ops::RangeInclusive<usize> = 8..=3000;

#[derive(Clone, Debug)]
pub(super) struct Days {
    steps: Vec<f64>,
    last_at: Option<f64>,
    /// Values a day; `None` until known, and for ever where there is none.
    period: Option<usize>,
    /// The newest last.
    values: VecDeque<f64>,
    distances: VecDeque<f64>,
}

impl Days {
    pub(super) fn new() -> Self {
        Self { steps: Vec::new(), last_at: None, period: None, values: VecDeque::new(), distances: VecDeque::new() }
    }

    /// The mean distance of the latest values from the likest of the earlier days, once a week is known.
    pub(super) fn push(&mut self, at: f64, value: f64) -> Option<f64> {
        self.learn_period(at);
        let whole_week = self.period.unwrap_or(*PERIODS.end()) * DAYS;
        if self.steps.len() == STEPS && self.period.is_none() {
            return None;
        }
        let distance = self.distance(value);
        self.values.push_back(value);
        while self.values.len() > whole_week {
            self.values.pop_front();
        }
        self.distances.push_back(distance?);
        if self.distances.len() > WINDOW {
            self.distances.pop_front();
        }
        (self.distances.len() == WINDOW).then(|| self.distances.iter().sum::<f64>() / WINDOW as f64)
    }

    /// Values a day; 0 where there is no such thing.
    pub(super) fn period(&self) -> u64 {
        self.period.unwrap_or_default() as u64
    }

    fn distance(&self, value: f64) -> Option<f64> {
        let period = self.period?;
        let same_time = (1..=DAYS).map(|day| self.values.len().checked_sub(day * period).and_then(|row| self.values.get(row)));
        same_time.map(|earlier| earlier.map(|earlier| (value - earlier).abs())).try_fold(f64::MAX, |least, each| Some(least.min(each?)))
    }

    fn learn_period(&mut self, at: f64) {
        let last = self.last_at.replace(at);
        if self.steps.len() == STEPS {
            return;
        }
        self.steps.extend(last.map(|last| at - last).filter(|step| step.is_finite()));
        if self.steps.len() == STEPS {
            self.steps.sort_by(f64::total_cmp);
            let rows = (DAY / self.steps[STEPS / 2].max(1.0)).floor() as usize;
            self.period = PERIODS.contains(&rows).then_some(rows);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_day_of_the_week_had_at_this_hour_is_far() {
        let mut days = Days::new();
        let mut last = None;
        for hour in 0..24 * 9 {
            last = days.push(f64::from(hour) * 3600.0, f64::from(hour % 24));
        }
        assert_eq!(last, Some(0.0));

        for hour in 24 * 9..24 * 9 + 12 {
            last = days.push(f64::from(hour) * 3600.0, 30.0 + f64::from(hour % 24));
        }

        assert_eq!(last, Some(30.0));
    }

    #[test]
    fn a_series_without_times_has_no_days() {
        let mut days = Days::new();

        assert!((0..5000).all(|row| days.push(0.0, f64::from(row)).is_none()));
    }
}
