//! A map that keeps the largest: when it is full, the lighter half is handed out and forgotten.
//!
//! So a flood of small entries costs a constant amount of memory and, on average, of time, while an entry that grows is
//! not lost. What was handed out has to be summed up by whoever asks, so that no amount disappears.

use std::{collections::HashMap, hash::Hash};

use foldhash::fast::RandomState;

/// How much an entry counts.
pub(crate) trait Weight {
    /// The heavier ones are kept.
    fn weight(&self) -> u64;
}

/// Keys with their values.
pub(crate) type Entries<K, V> = Vec<(K, V)>;

/// A bounded map. Its hash is seeded: whoever chooses the keys cannot make them collide.
pub(crate) struct Table<K, V> {
    entries: HashMap<K, V, RandomState>,
    most: usize,
}

impl<K: Hash + Ord + Clone, V: Weight + Default> Table<K, V> {
    pub(crate) fn new(most: usize) -> Self {
        Self { entries: HashMap::with_hasher(RandomState::default()), most }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter()
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key)
    }

    /// The entry of that key, made where there is none, and whether it is new. `forget` gets what has to go for it.
    #[inline]
    pub(crate) fn entry(&mut self, key: K, forget: impl FnMut(K, V)) -> (&mut V, bool) {
        let new = !self.entries.contains_key(&key);
        if new && self.entries.len() >= self.most {
            self.halve(forget);
        }
        (self.entries.entry(key).or_default(), new)
    }

    /// Forgets the lighter half; of equally heavy ones, the first in the order of their keys: not the order of the table,
    /// which is another in each run.
    #[cold]
    fn halve(&mut self, mut forget: impl FnMut(K, V)) {
        let mut order: Vec<(u64, &K)> = self.entries.iter().map(|(key, value)| (value.weight(), key)).collect();
        let middle = order.len() / 2;
        let (_, (limit, first_kept), _) = order.select_nth_unstable(middle);
        let (limit, first_kept) = (*limit, first_kept.clone());
        let light = |key: &K, value: &mut V| (value.weight(), key) < (limit, &first_kept);
        let mut forgotten: Vec<(K, V)> = self.entries.extract_if(light).collect();
        forgotten.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        forgotten.into_iter().for_each(|(key, value)| forget(key, value));
    }

    /// The `top` heaviest, heaviest first and equal ones in the order of their keys; and all others.
    pub(crate) fn into_largest(self, top: usize) -> (Entries<K, V>, Entries<K, V>) {
        let mut all: Vec<(K, V)> = self.entries.into_iter().collect();
        let order = |a: &(K, V), b: &(K, V)| b.1.weight().cmp(&a.1.weight()).then_with(|| a.0.cmp(&b.0));
        if top < all.len() {
            all.select_nth_unstable_by(top, order);
        }
        let rest = all.split_off(top.min(all.len()));
        all.sort_unstable_by(order);
        (all, rest)
    }
}
