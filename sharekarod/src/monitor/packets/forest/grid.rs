//! Points rounded to cells, so that millions of packets are judged as some thousands of cells.
//!
//! A feature is one byte: most are logarithms. When there are too many cells, all features are halved and cells that have
//! become equal are merged: precision is what gives way, never memory or time.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::{Forest, Random};

/// Cells in memory; as many are scored at the end, at some microseconds each.
const CELLS_MAX: usize = 16_384;

/// Points of which a forest is grown.
const POINTS: usize = 4_096;

/// So many packets of a cell are named: one example is little, all would be the attacker's to choose.
const EXAMPLES: usize = 4;

/// Points of `D` features, each a byte.
pub(super) struct Grid<const D: usize> {
    cells: HashMap<[u8; D], Cell, RandomState>,
    halvings: u32,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cell {
    pub(super) count: u64,
    examples: [u64; EXAMPLES],
}

impl Cell {
    /// The numbers of its first packets.
    pub(super) fn examples(&self) -> impl Iterator<Item = u64> {
        self.examples.into_iter().filter(|number| *number > 0)
    }

    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        let mut all: Vec<u64> = self.examples().chain(other.examples()).collect();
        all.sort_unstable();
        self.examples = std::array::from_fn(|at| all.get(at).copied().unwrap_or(0));
    }
}

impl<const D: usize> Default for Grid<D> {
    fn default() -> Self {
        Self { cells: HashMap::with_capacity_and_hasher(1024, RandomState::default()), halvings: 0 }
    }
}

impl<const D: usize> Grid<D> {
    /// Counts a point.
    #[inline]
    pub(super) fn add(&mut self, point: [u8; D], number: u64) {
        let point = if self.halvings == 0 { point } else { point.map(|value| value >> self.halvings) };
        let cell = self.cells.entry(point).or_default();
        if let Some(free) = usize::try_from(cell.count).ok().and_then(|at| cell.examples.get_mut(at)) {
            *free = number;
        }
        cell.count += 1;
        if self.cells.len() > CELLS_MAX {
            self.coarsen();
        }
    }

    #[cold]
    fn coarsen(&mut self) {
        while self.cells.len() > CELLS_MAX / 2 && self.halvings < u8::BITS - 1 {
            self.halvings += 1;
            for (point, cell) in std::mem::take(&mut self.cells) {
                self.cells.entry(point.map(|value| value >> 1)).or_default().merge(&cell);
            }
        }
    }

    /// Every cell with the value of its features, in an order that only the points decide.
    pub(super) fn into_cells(self) -> Vec<([u8; D], Cell)> {
        let halvings = self.halvings;
        let mut cells: Vec<_> = self.cells.into_iter().map(|(point, cell)| (point.map(|value| value << halvings), cell)).collect();
        cells.sort_unstable_by_key(|(point, _)| *point);
        cells
    }
}

/// A forest of the points in these cells. A cell counts with the logarithm of its packets: otherwise what is rare would
/// hardly ever be drawn, and a forest that has never seen a value cannot cut it off.
pub(super) fn grow<const D: usize>(cells: &[([u8; D], Cell)], seed: u64) -> Option<Forest<D>> {
    let mut ends = Vec::with_capacity(cells.len());
    let mut total = 0_u64;
    for (_, cell) in cells {
        total += u64::from(octaves(cell.count));
        ends.push(total);
    }
    let mut random = Random::new(seed);
    let total = usize::try_from(total).ok().filter(|total| *total > 1)?;
    let points: Vec<[f32; D]> = if total <= POINTS {
        cells.iter().flat_map(|(point, cell)| std::iter::repeat_n(point.map(f32::from), usize::from(octaves(cell.count)))).collect()
    } else {
        let drawn = (0..POINTS).filter_map(|_| {
            let at = u64::try_from(random.below(total)).ok()?;
            cells.get(ends.partition_point(|end| *end <= at))
        });
        drawn.map(|(point, _)| point.map(f32::from)).collect()
    };
    Forest::grow(&points, random.number())
}

/// The logarithm of a number in quarters of an octave: 0 to 3 are themselves, and it never falls.
pub(super) fn quarters(value: u64) -> u8 {
    match value.checked_ilog2() {
        None | Some(0 | 1) => u8::try_from(value).unwrap_or(u8::MAX),
        Some(power) => u8::try_from(u64::from(4 * (power - 1)) + (value >> (power - 2) & 3)).unwrap_or(u8::MAX),
    }
}

/// The smallest number of which `quarters` makes this.
pub(super) fn from_quarters(value: u8) -> u64 {
    if value < 4 { u64::from(value) } else { u64::from(4 + value % 4).checked_shl(u32::from(value / 4) - 1).unwrap_or(u64::MAX) }
}

/// The logarithm of a number in octaves: 0 is 0.
pub(super) fn octaves(value: u64) -> u8 {
    value.checked_ilog2().map_or(0, |power| u8::try_from(power + 1).unwrap_or(u8::MAX))
}

/// The smallest number of which `octaves` makes this.
pub(super) fn from_octaves(value: u8) -> u64 {
    if value == 0 { 0 } else { 1_u64.checked_shl(u32::from(value) - 1).unwrap_or(u64::MAX) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn too_many_cells_become_coarser_and_lose_no_count() {
        let mut grid = Grid::<4>::default();
        let mut random = Random::new(1);

        for number in 1..=100_000 {
            grid.add(random.number().to_le_bytes()[..4].try_into().unwrap(), number);
        }

        assert!(grid.halvings > 0);
        let cells = grid.into_cells();
        assert!(cells.len() <= CELLS_MAX);
        assert_eq!(cells.iter().map(|(_, cell)| cell.count).sum::<u64>(), 100_000);
        assert!(cells.iter().all(|(_, cell)| cell.examples().count() as u64 == cell.count.min(4)));
    }

    proptest! {
        #[test]
        fn logarithms_keep_the_order_and_lead_back(a: u64, b: u64) {
            prop_assert!(a.cmp(&b) != std::cmp::Ordering::Less || quarters(a) <= quarters(b) && octaves(a) <= octaves(b));
            prop_assert!(from_quarters(quarters(a)) <= a && quarters(from_quarters(quarters(a))) == quarters(a));
            prop_assert!(from_octaves(octaves(a)) <= a && octaves(from_octaves(octaves(a))) == octaves(a));
        }
    }
}
