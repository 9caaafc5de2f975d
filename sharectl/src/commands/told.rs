//! Numbers of what was told already. The daemon counts messages and decisions up, and their events may pass each other on
//! the way: a smaller number than the last is news too, once.

use std::collections::BTreeSet;

/// So many are remembered one by one; events pass each other by a few.
const APART_MAX: usize = 4_096;

/// What was told: all up to a number, and some beyond it.
pub(super) struct Told {
    until: u64,
    apart: BTreeSet<u64>,
}

impl Told {
    /// All up to this number.
    pub(super) fn until(no: u64) -> Self {
        Self { until: no, apart: BTreeSet::new() }
    }

    /// Up to here nothing is missing: who asks for what follows gets all that may be news.
    pub(super) fn gapless(&self) -> u64 {
        self.until
    }

    /// Whether this one is news. From now on it is told.
    pub(super) fn take(&mut self, no: u64) -> bool {
        let news = no > self.until && self.apart.insert(no);
        while self.apart.first().is_some_and(|first| *first == self.until + 1) || self.apart.len() > APART_MAX {
            self.until = self.apart.pop_first().unwrap_or(self.until);
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_news_once_in_whatever_order_it_comes() {
        let mut told = Told::until(3);

        let news: Vec<u64> = [2, 3, 6, 4, 6, 4, 5, 7, 5, 9, 8].into_iter().filter(|no| told.take(*no)).collect();

        assert_eq!(news, [6, 4, 5, 7, 9, 8]);
        assert_eq!((told.gapless(), told.apart.len()), (9, 0));
    }

    #[test]
    fn gaps_do_not_make_it_grow_for_ever() {
        let mut told = Told::until(0);

        assert!((1..=100_000).all(|i| told.take(2 * i)));

        assert!(told.apart.len() <= APART_MAX && !told.take(200_000) && !told.take(1));
    }
}
