//! The differences of a file to an older one, as rsync finds them: whoever has the old one sends a signature of each of
//! its blocks, whoever has the new one looks for these blocks at every byte and answers with a recipe.
//!
//! A recipe is a hint and no proof. What is made by it is compared with the chaining value of its piece, so that a block
//! that only looked the same, or a lie, costs a second way and nothing else.

mod recipe;
mod search;
mod signatures;

pub use recipe::{decode, encode};
pub use search::{Found, STRETCH, search};
use sharekaro_proto::wire::PAGE_MAX;
pub use signatures::{Signatures, sign};

/// Bytes of a signature: of the rolling checksum, then of the BLAKE3 hash of the block, half of it each.
pub const SIGNATURE: usize = 12;

/// The most blocks that are signed: what fits into a page.
const BLOCKS_MAX: usize = PAGE_MAX / SIGNATURE;

/// Smaller blocks would cost more in signatures than they find.
const BLOCK_MIN: u32 = 2 << 10;

/// Larger blocks find nothing; what lies behind as many as fit into a page is not looked for.
const BLOCK_MAX: u32 = 1 << 20;

/// Bytes of the new file that stand in the old one too. They begin with a block there and are whole blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Where in the new file.
    pub new_offset: u64,
    /// Where in the old one.
    pub old_offset: u64,
    /// How many.
    pub len: u64,
}

impl Copied {
    /// Where it ends in the new file.
    pub const fn end(&self) -> u64 {
        self.new_offset.saturating_add(self.len)
    }

    /// Adds what follows to a list, as more of its last one where it continues that.
    pub fn push(self, list: &mut Vec<Self>) {
        match list.last_mut() {
            Some(last) if last.end() == self.new_offset && last.old_offset.saturating_add(last.len) == self.old_offset => {
                last.len += self.len;
            }
            _ => list.push(self),
        }
    }
}

/// Why what a peer sent is no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeltaError {
    /// Blocks of this size are not looked for.
    #[error("cannot look for blocks of {0} bytes")]
    Block(u32),
    /// These are not signatures.
    #[error("cannot read signatures in {0} bytes")]
    Signatures(usize),
    /// The recipe names what is not there.
    #[error("cannot follow a recipe {0}")]
    Recipe(&'static str),
}

/// The bytes of a block for an old file of this size. Like rsync's it grows with the square root, as both a finer and a
/// coarser one would cost more: the signatures here, the bytes around a difference there.
pub fn block_for(size: u64) -> u32 {
    let fits = size.div_ceil(BLOCKS_MAX as u64);
    let wanted = size.isqrt().max(fits).next_multiple_of(64);
    u32::try_from(wanted).unwrap_or(BLOCK_MAX).clamp(BLOCK_MIN, BLOCK_MAX)
}

/// The blocks of an old file of this size that are signed; what is left at its end is not a whole one.
pub fn block_count(size: u64, block: u32) -> usize {
    usize::try_from(size / u64::from(block.max(1))).unwrap_or(usize::MAX).min(BLOCKS_MAX)
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Write, os::unix::fs::FileExt, sync::atomic::AtomicBool};

    use proptest::prelude::*;

    use super::*;
    use crate::files::{PIECE_BYTES, piece_range};

    fn noise(len: usize, seed: u64) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    fn file_of(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn signed(old: &[u8], block: u32) -> Vec<u8> {
        sign(&file_of(old), old.len() as u64, block, &AtomicBool::new(false)).unwrap()
    }

    /// Goes through all pages as two daemons would, makes the new file, and returns what had to be sent of it.
    fn rebuilt(old: &[u8], new: &[u8], block: u32) -> (Vec<u8>, usize) {
        let bytes = signed(old, block);
        let signatures = Signatures::parse(&bytes, block).unwrap();
        let (size, mut from, mut copies) = (new.len() as u64, 0, Vec::new());
        while from < size {
            let found: Found = search(&signatures, size, from, |piece, _| {
                let range = piece_range(piece, size).unwrap();
                Ok::<_, ()>(new[range.start as usize..range.end as usize].to_vec())
            })
            .unwrap();
            let page = encode(&found.copies, from, block);
            decode(&page, from, found.len, block, bytes.len() / SIGNATURE).unwrap().into_iter().for_each(|it| it.push(&mut copies));
            assert!(found.len > 0 && page.len() <= PAGE_MAX);
            from += found.len;
        }
        assert_eq!(from, size);
        let (mut made, mut literal) = (new.to_vec(), new.len());
        for copy in copies {
            let (at, len) = (copy.new_offset as usize, copy.len as usize);
            made[at..at + len].copy_from_slice(&old[copy.old_offset as usize..][..len]);
            literal -= len;
        }
        (made, literal)
    }

    fn check(old: &[u8], new: &[u8], block: u32, literal_max: usize) {
        let (made, literal) = rebuilt(old, new, block);
        assert!(made == new, "other bytes were made of {} and {}", old.len(), new.len());
        assert!(literal <= literal_max, "{literal} of {} bytes had to be sent", new.len());
    }

    #[test]
    fn a_byte_in_front_costs_a_block() {
        let old = noise(3 * PIECE_BYTES + 777, 1);
        let new = [b"x", old.as_slice()].concat();

        check(&old, &new, 2048, 1 + 2048);
    }

    #[test]
    fn the_same_file_costs_its_tail() {
        let old = noise(2 * PIECE_BYTES + 100, 2);

        check(&old, &old, 2048, 100);
        check(&old, &[], 2048, 0);
        check(&[], &old, 2048, old.len());
        check(&old[..2047], &old, 2048, old.len());
    }

    #[test]
    fn parts_may_move_and_stand_twice() {
        let old = noise(2 * PIECE_BYTES, 3);
        let (a, b) = old.split_at(700_001);
        let new = [b, &noise(5_000, 4), a, &a[..300_000]].concat();

        check(&old, &new, 4096, 5_000 + 6 * 4096);
    }

    #[test]
    fn zeroes_are_found_wherever_they_are() {
        let old = [noise(10_000, 5), vec![0; 100_000], noise(10_000, 6)].concat();
        let new = [noise(10_000, 7), vec![0; PIECE_BYTES], noise(10_000, 6)].concat();

        check(&old, &new, 2048, 10_000 + 4 * 2048);
    }

    #[test]
    fn the_signatures_of_any_file_fit_into_a_page() {
        for size in [0, 1, 5_000, 64 << 20, 1 << 30, 8 << 30, 50 << 30, 1 << 40, u64::MAX] {
            let block = block_for(size);
            let count = block_count(size, block);
            assert!((BLOCK_MIN..=BLOCK_MAX).contains(&block) && count * SIGNATURE <= PAGE_MAX, "{size}: {count} of {block}");
            assert!(size > 80 << 30 || count as u64 * u64::from(block) + u64::from(block) > size, "{size}: {count} of {block}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_edit_of_any_file_is_made_by_its_recipe(
            len in 0usize..400_000, seed: u64, zeroes in 0usize..100_000,
            edits in proptest::collection::vec((0usize..400_000, 0usize..9_000, 0usize..9_000), 0..12),
        ) {
            let mut old = noise(len, seed);
            old.extend(vec![0; zeroes]);
            let mut new = old.clone();
            for (at, gone, come) in edits {
                let at = at.min(new.len());
                new.splice(at..(at + gone).min(new.len()), noise(come, seed ^ at as u64));
            }
            let (made, _) = rebuilt(&old, &new, 2048);
            prop_assert!(made == new);
        }

        #[test]
        fn nothing_that_a_peer_sends_as_signatures_stops_the_search(bytes in proptest::collection::vec(any::<u8>(), 0..4000), block in 0u32..5000) {
            let new = noise(20_000, 1);
            let _ = Signatures::parse(&bytes, block).map(|signatures| search(&signatures, 20_000, 0, |_, _| Ok::<_, ()>(new.clone())));
        }
    }

    #[test]
    fn a_file_that_shrinks_while_it_is_signed_is_said() {
        let file = file_of(&noise(10_000, 1));
        file.write_all_at(b"x", 0).unwrap();

        assert!(sign(&file, 100_000, 2048, &AtomicBool::new(false)).is_err());
    }

    #[test]
    #[ignore = "a measurement: cargo test --release -p sharekarod delta -- --ignored --nocapture"]
    fn speed_of_the_search() {
        let old = noise(64 << 20, 1);
        for (what, new) in [("nothing in common", noise(64 << 20, 2)), ("a byte in front", [b"x", old.as_slice()].concat())] {
            let block = block_for(old.len() as u64);
            let began = std::time::Instant::now();
            let bytes = signed(&old, block);
            let signed = began.elapsed();
            let began = std::time::Instant::now();
            let signatures = Signatures::parse(&bytes, block).unwrap();
            let found = search(&signatures, new.len() as u64, 0, |piece, _| {
                let range = piece_range(piece, new.len() as u64).unwrap();
                Ok::<_, ()>(new[range.start as usize..range.end as usize].to_vec())
            });
            let rate = new.len() as f64 / began.elapsed().as_secs_f64() / 1e6;
            println!("{what}: signed in {signed:?}, searched at {rate:.0} MB/s, {} copies", found.unwrap().copies.len());
        }
    }
}
