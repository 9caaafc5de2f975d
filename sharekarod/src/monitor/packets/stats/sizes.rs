//! How many packets of a protocol are how large, in the ranges of Wireshark's packet lengths.

use sharekaro_proto::control::packets::{Amount, SizeRange};

/// 0 to 19 bytes, then each range twice as long as the one before; the last has no end.
const RANGES: usize = 10;

/// Packets of one protocol.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) amount: Amount,
    ranges: [u64; RANGES],
}

impl Tally {
    /// Counts a packet of that length.
    #[inline]
    pub(crate) fn add(&mut self, length: u32) {
        self.amount.packets += 1;
        self.amount.bytes = self.amount.bytes.saturating_add(u64::from(length));
        if let Some(range) = self.ranges.get_mut(range(length)) {
            *range += 1;
        }
    }

    /// All ranges, smallest first.
    pub(crate) fn ranges(&self) -> Vec<SizeRange> {
        let starts = (0..RANGES).map(start);
        let ends = (1..RANGES).map(|at| start(at) - 1).chain([u32::MAX]);
        starts.zip(ends).zip(self.ranges).map(|((from, to), packets)| SizeRange { from, to, packets }).collect()
    }
}

/// In which range a length is.
#[inline]
fn range(length: u32) -> usize {
    match (length / 20).checked_ilog2() {
        None => 0,
        Some(power) => (power as usize + 1).min(RANGES - 1),
    }
}

/// Where a range begins.
fn start(range: usize) -> u32 {
    if range == 0 { 0 } else { 20 << (range - 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_in_the_range_that_says_so() {
        for length in [0, 19, 20, 39, 40, 79, 1_279, 1_280, 5_119, 5_120, 262_144, u32::MAX] {
            let mut tally = Tally::default();
            tally.add(length);

            let ranges = tally.ranges();

            let held: Vec<_> = ranges.iter().filter(|range| range.packets == 1).collect();
            assert!(held.len() == 1 && (held[0].from..=held[0].to).contains(&length), "{length}: {held:?}");
            assert_eq!(ranges.len(), RANGES);
        }
    }
}
