//! Five figures of the latest values: the value, its mean, its spread, a short and a long step.

use std::collections::VecDeque;

/// How many figures there are.
pub(super) const FIGURES: usize = 5;
const MEAN: usize = 20;
const SPREAD: usize = 40;
const SHORT_STEP: usize = 10;
const LONG_STEP: usize = 80;

#[derive(Clone, Debug)]
pub(super) struct Recent {
    /// The newest first.
    values: VecDeque<f64>,
}

impl Recent {
    pub(super) fn new() -> Self {
        Self { values: VecDeque::with_capacity(2 * LONG_STEP + 1) }
    }

    /// The figures with this value; those for which there are too few values yet are `None`.
    pub(super) fn push(&mut self, value: f64) -> [Option<f64>; FIGURES] {
        self.values.push_front(value);
        self.values.truncate(2 * LONG_STEP);
        [Some(value), self.mean(0, MEAN), self.spread(SPREAD), self.step(SHORT_STEP), self.step(LONG_STEP)]
    }

    fn mean(&self, skip: usize, count: usize) -> Option<f64> {
        (self.values.len() >= skip + count).then(|| self.values.range(skip..skip + count).sum::<f64>() / count as f64)
    }

    fn spread(&self, count: usize) -> Option<f64> {
        let mean = self.mean(0, count)?;
        let sum: f64 = self.values.range(..count).map(|value| (value - mean) * (value - mean)).sum();
        Some((sum / count as f64).sqrt())
    }

    /// The mean of the latest values less the mean of as many before them.
    fn step(&self, count: usize) -> Option<f64> {
        Some(self.mean(0, count)? - self.mean(count, count)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_those_of_the_latest_values() {
        let mut recent = Recent::new();
        assert_eq!(recent.push(1.0), [Some(1.0), None, None, None, None]);
        for _ in 0..200 {
            recent.push(1.0);
        }
        for _ in 0..9 {
            recent.push(3.0);
        }

        let [value, mean, spread, short, long] = recent.push(3.0).map(Option::unwrap_or_default);

        assert_eq!((value, mean, short, long), (3.0, 2.0, 2.0, 0.25));
        assert!((spread - 0.75f64.sqrt()).abs() < 1e-12);
    }
}
