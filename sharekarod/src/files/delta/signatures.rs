//! The signatures of the blocks of an old file, and finding a block among them by its rolling checksum.
//!
//! The checksum is a polynomial modulo 2^64 over the bytes of the window, so that it moves on by one byte with two
//! multiplications; of it the upper bits are sent, after one more multiplication that lets the last byte reach them.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    sync::atomic::{AtomicBool, Ordering},
};

use super::{BLOCK_MAX, BLOCK_MIN, BLOCKS_MAX, DeltaError, SIGNATURE, block_count};

/// The base of the polynomial: odd, otherwise of no meaning.
const BASE: u64 = 0x2d35_8dcc_aa6c_78a5;

/// Spreads a checksum over the bits that are looked at: 2^64 divided by the golden ratio.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Bits of a checksum, and of a hash, that are sent.
const BITS: u32 = SIGNATURE as u32 * 4;

/// Bits of the first look for each block: so one in 64 of the bytes that are nowhere needs a second look.
const FILTER: usize = 64;

/// The upper bits that the table of the second look is divided by.
const SLOTS: u32 = 16;

/// The signatures of the blocks of a file.
///
/// # Errors
/// Where it cannot be read, or has fewer bytes than `size`; `Interrupted` soon after `cancel` becomes true.
pub fn sign(file: &File, size: u64, block: u32, cancel: &AtomicBool) -> io::Result<Vec<u8>> {
    let count = block_count(size, block);
    let mut signatures = Vec::with_capacity(count * SIGNATURE);
    let mut bytes = vec![0; block as usize]; // at most BLOCK_MAX
    for no in 0..count as u64 {
        if cancel.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        file.read_exact_at(&mut bytes, no * u64::from(block))?;
        for half in [sent(checksum(&bytes)), strong(&bytes)] {
            signatures.extend_from_slice(half.to_le_bytes().get(..SIGNATURE / 2).unwrap_or_default());
        }
    }
    Ok(signatures)
}

/// The blocks that are looked for.
pub struct Signatures {
    block: usize,
    /// What the byte that leaves the window is multiplied by.
    leaving: u64,
    filter: Vec<u64>,
    filter_bits: u32,
    /// Where the entries with the same upper bits begin.
    slots: Vec<u32>,
    /// Ordered by checksum, of equal blocks the first.
    entries: Vec<Entry>,
    /// Of each block, in the order of the file.
    strong: Vec<u64>,
}

struct Entry {
    weak: u64,
    strong: u64,
    index: u32,
}

impl Signatures {
    /// What a peer sent.
    ///
    /// # Errors
    /// Where these cannot be signatures of blocks that `sign` would make.
    pub fn parse(bytes: &[u8], block: u32) -> Result<Self, DeltaError> {
        if !(BLOCK_MIN..=BLOCK_MAX).contains(&block) {
            return Err(DeltaError::Block(block));
        }
        let (blocks, rest) = bytes.as_chunks::<SIGNATURE>();
        if !rest.is_empty() || blocks.len() > BLOCKS_MAX {
            return Err(DeltaError::Signatures(bytes.len()));
        }
        let mut entries: Vec<Entry> = (0..).zip(blocks).map(|(index, it)| Entry::read(it, index)).collect();
        let strong = entries.iter().map(|it| it.strong).collect();
        entries.sort_unstable_by_key(|it| (it.weak, it.strong, it.index));
        entries.dedup_by_key(|it| (it.weak, it.strong));
        let filter_bits = (blocks.len() * FILTER).max(64).next_power_of_two().ilog2();
        let mut filter = vec![0; 1 << (filter_bits - 6)];
        for entry in &entries {
            let (word, bit) = place(entry.weak, filter_bits);
            if let Some(word) = filter.get_mut(word) {
                *word |= bit;
            }
        }
        // At most BLOCKS_MAX entries.
        let slots = (0..=1u64 << SLOTS).map(|slot| entries.partition_point(|it| it.weak >> (BITS - SLOTS) < slot) as u32).collect();
        let leaving = (0..block).fold(1u64, |power, _| power.wrapping_mul(BASE));
        Ok(Self { block: block as usize, leaving, filter, filter_bits, slots, entries, strong })
    }

    /// Bytes of a block.
    pub(super) fn block(&self) -> usize {
        self.block
    }

    /// Whether this block of the old file has this hash.
    pub(super) fn is(&self, index: u32, hash: u64) -> bool {
        self.strong.get(index as usize) == Some(&hash)
    }

    /// The blocks of the old file with this checksum: hash and index of each.
    pub(super) fn with_checksum(&self, checksum: u64) -> impl Iterator<Item = (u64, u32)> {
        let weak = sent(checksum);
        let slot = (weak >> (BITS - SLOTS)) as usize;
        let bounds = (self.slots.get(slot), self.slots.get(slot + 1));
        let near = match bounds {
            (Some(from), Some(to)) if self.may_have(checksum) => self.entries.get(*from as usize..*to as usize),
            _ => None,
        };
        near.unwrap_or_default().iter().filter(move |it| it.weak == weak).map(|it| (it.strong, it.index))
    }

    /// Moves the window on, byte by byte, until there may be a block with its checksum or no byte comes in any more.
    /// Returns the steps, at least one where one is possible, and the checksum there.
    pub(super) fn roll(&self, mut checksum: u64, going: &[u8], coming: &[u8]) -> (usize, u64) {
        let mut steps = 0;
        for (out, come) in going.iter().zip(coming) {
            let lost = (u64::from(*out) + 1).wrapping_mul(self.leaving);
            checksum = checksum.wrapping_mul(BASE).wrapping_add(u64::from(*come) + 1).wrapping_sub(lost);
            steps += 1;
            if self.may_have(checksum) {
                break;
            }
        }
        (steps, checksum)
    }

    #[inline]
    fn may_have(&self, checksum: u64) -> bool {
        let (word, bit) = place(sent(checksum), self.filter_bits);
        self.filter.get(word).is_some_and(|word| word & bit != 0)
    }
}

impl Entry {
    fn read(bytes: &[u8; SIGNATURE], index: u32) -> Self {
        let (weak, strong) = bytes.split_at(SIGNATURE / 2);
        let number = |half: &[u8]| half.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
        Self { weak: number(weak), strong: number(strong), index }
    }
}

/// The checksum of a window. A byte counts one more than it is, so that zeroes of different length differ.
pub(super) fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0u64, |sum, byte| sum.wrapping_mul(BASE).wrapping_add(u64::from(*byte) + 1))
}

/// The hash of a window, as far as it is sent.
pub(super) fn strong(bytes: &[u8]) -> u64 {
    let hash = blake3::hash(bytes);
    hash.as_bytes().iter().take(SIGNATURE / 2).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// What is sent of a checksum.
#[inline]
fn sent(checksum: u64) -> u64 {
    checksum.wrapping_mul(SPREAD) >> (64 - BITS)
}

/// The word and the bit of a checksum in the filter.
#[inline]
fn place(weak: u64, filter_bits: u32) -> (usize, u64) {
    let at = weak >> (BITS - filter_bits);
    ((at >> 6) as usize, 1 << (at & 63))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_of_a_window_that_moved_is_that_of_the_window() {
        let bytes: Vec<u8> = (0..10_000u32).map(|i| ((i * i) >> 3) as u8).collect();
        let block = BLOCK_MIN as usize;
        let none = Signatures::parse(&[], BLOCK_MIN).unwrap();

        let (steps, moved) = none.roll(checksum(&bytes[..block]), &bytes, &bytes[block..]);

        assert_eq!(steps, bytes.len() - block);
        assert_eq!(moved, checksum(&bytes[steps..]));
    }

    #[test]
    fn what_are_no_signatures_is_refused() {
        assert!(Signatures::parse(&[0; SIGNATURE * 3], BLOCK_MIN).is_ok());
        assert_eq!(Signatures::parse(&[0; SIGNATURE + 1], BLOCK_MIN).err(), Some(DeltaError::Signatures(SIGNATURE + 1)));
        for block in [0, BLOCK_MIN - 1, BLOCK_MAX + 1, u32::MAX] {
            assert_eq!(Signatures::parse(&[], block).err(), Some(DeltaError::Block(block)));
        }
        let long = vec![0; (BLOCKS_MAX + 1) * SIGNATURE];
        assert_eq!(Signatures::parse(&long, BLOCK_MIN).err(), Some(DeltaError::Signatures(long.len())));
    }

    #[test]
    fn a_block_is_found_by_its_checksum_and_of_equal_ones_the_first() {
        let (one, other) = ([1; BLOCK_MIN as usize], [2; BLOCK_MIN as usize]);
        let half = |number: u64| number.to_le_bytes()[..SIGNATURE / 2].to_vec();
        let all: Vec<u8> = [&other, &one, &one].iter().flat_map(|it| [half(sent(checksum(*it))), half(strong(*it))].concat()).collect();

        let signatures = Signatures::parse(&all, BLOCK_MIN).unwrap();

        assert_eq!(signatures.with_checksum(checksum(&one)).collect::<Vec<_>>(), [(strong(&one), 1)]);
        assert_eq!(signatures.with_checksum(checksum(&other)).collect::<Vec<_>>(), [(strong(&other), 0)]);
        assert_eq!(signatures.with_checksum(7).count(), 0);
        assert!(signatures.is(2, strong(&one)) && !signatures.is(0, strong(&one)) && !signatures.is(3, strong(&one)));
    }
}
