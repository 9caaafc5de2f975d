//! Which pieces of a file: a bit each, little-endian from piece 0, as they travel.

/// Which pieces of a file; there are no others than those that it was made for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bits {
    bytes: Vec<u8>,
    count: u64,
    set: u64,
}

impl Bits {
    /// None of so many pieces.
    pub fn none(count: u64) -> Self {
        Self { bytes: vec![0; count.div_ceil(8) as usize], count, set: 0 } // at most 4 Mi pieces
    }

    /// All of so many pieces.
    pub fn all(count: u64) -> Self {
        let mut bits = Self::none(count);
        for piece in 0..count {
            bits.set(piece);
        }
        bits
    }

    /// As a peer sent them; what is missing is not set, what is too much is ignored.
    pub fn from_wire(bytes: &[u8], count: u64) -> Self {
        let mut bits = Self::none(count);
        for piece in 0..count.min(bytes.len() as u64 * 8) {
            if bytes.get((piece / 8) as usize).is_some_and(|byte| byte >> (piece % 8) & 1 == 1) {
                bits.set(piece);
            }
        }
        bits
    }

    /// Of how many pieces this tells.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How many are set.
    pub fn ones(&self) -> u64 {
        self.set
    }

    /// How many are not.
    pub fn zeroes(&self) -> u64 {
        self.count - self.set
    }

    /// Whether this one is.
    pub fn has(&self, piece: u64) -> bool {
        piece < self.count && self.bytes.get((piece / 8) as usize).is_some_and(|byte| byte >> (piece % 8) & 1 == 1)
    }

    /// Sets one; says whether that is news.
    pub fn set(&mut self, piece: u64) -> bool {
        self.change(piece, true)
    }

    /// Clears one; says whether that is news.
    pub fn clear(&mut self, piece: u64) -> bool {
        self.change(piece, false)
    }

    fn change(&mut self, piece: u64, to: bool) -> bool {
        if piece >= self.count || self.has(piece) == to {
            return false;
        }
        if let Some(byte) = self.bytes.get_mut((piece / 8) as usize) {
            *byte ^= 1 << (piece % 8);
            self.set = if to { self.set + 1 } else { self.set - 1 };
        }
        true
    }

    /// Sets first and count, again and again, as `Have` tells them; returns which of them are news.
    pub fn add_ranges(&mut self, ranges: &[u32]) -> Vec<u64> {
        let of = |range: &[u32]| match range {
            [first, count] => u64::from(*first)..(u64::from(*first) + u64::from(*count)).min(self.count),
            _ => 0..0,
        };
        let told: Vec<_> = ranges.chunks_exact(2).take(RANGES_MAX).map(of).collect();
        told.into_iter().flatten().filter(|piece| self.set(*piece)).collect()
    }

    /// First and count, again and again, as `Have` tells them.
    pub fn ranges(&self) -> Vec<u32> {
        let mut out: Vec<u32> = Vec::new();
        for piece in (0..self.count).filter(|piece| self.has(*piece)) {
            let piece = piece as u32; // at most 4 Mi pieces
            match out.as_mut_slice() {
                [.., first, count] if *first + *count == piece => *count += 1,
                told if told.len() >= 2 * RANGES_MAX => break,
                _ => out.extend([piece, 1]),
            }
        }
        out
    }

    /// Those that are not set.
    pub fn missing(&self) -> impl Iterator<Item = u64> + '_ {
        (0..self.count).filter(|piece| !self.has(*piece))
    }

    /// As they travel.
    pub fn to_wire(&self) -> Vec<u8> {
        self.bytes.clone()
    }
}

/// So many ranges are told at once: a note with them fits into a stranger's frame.
const RANGES_MAX: usize = 4_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_of_a_hostile_peer_set_only_pieces_that_there_are() {
        let mut bits = Bits::none(10);

        assert_eq!(bits.add_ranges(&[3, 2, 8, u32::MAX, u32::MAX, u32::MAX, 7]), [3, 4, 8, 9]);
        assert_eq!((bits.ones(), bits.zeroes()), (4, 6));
        assert!(bits.add_ranges(&[0, u32::MAX]).len() == 6 && bits.zeroes() == 0);
    }

    proptest! {
        #[test]
        fn what_travels_comes_back(pieces in proptest::collection::btree_set(0u64..300, 0..100)) {
            let mut bits = Bits::none(300);
            for piece in &pieces {
                prop_assert!(bits.set(*piece) && !bits.set(*piece));
            }
            let mut again = Bits::none(300);
            again.add_ranges(&bits.ranges());

            prop_assert_eq!(&Bits::from_wire(&bits.to_wire(), 300), &bits);
            prop_assert_eq!(&again, &bits);
            prop_assert_eq!(bits.missing().count() as u64, bits.zeroes());
            prop_assert_eq!(bits.ones(), pieces.len() as u64);
        }
    }
}
