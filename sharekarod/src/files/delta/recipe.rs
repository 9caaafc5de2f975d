//! A recipe on the wire: for each copy the bytes since the last one, the first block and the number of blocks, four
//! bytes each, little-endian. It is for one stretch of the new file, of which the page tells the length.

use super::{Copied, DeltaError};

/// Bytes of one copy.
pub(super) const STEP: usize = 12;

/// Writes the copies of a stretch that begins at `from`.
pub fn encode(copies: &[Copied], from: u64, block: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(copies.len() * STEP);
    let mut at = from;
    let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes(); // a stretch is far below 4 GiB
    let block = u64::from(block.max(1));
    for copy in copies {
        for number in [copy.new_offset.saturating_sub(at), copy.old_offset / block, copy.len / block] {
            bytes.extend_from_slice(&small(number));
        }
        at = copy.end();
    }
    bytes
}

/// Reads what a peer says of a stretch of `len` bytes from `from` on, made from `blocks` blocks of the old file.
///
/// # Errors
/// Where it names a block that is not there, or goes beyond the stretch.
pub fn decode(bytes: &[u8], from: u64, len: u64, block: u32, blocks: usize) -> Result<Vec<Copied>, DeltaError> {
    let (steps, rest) = bytes.as_chunks::<STEP>();
    if !rest.is_empty() {
        return Err(DeltaError::Recipe("that is cut short"));
    }
    let end = from.checked_add(len).ok_or(DeltaError::Recipe("for more bytes than there are"))?;
    let (mut at, mut copies) = (from, Vec::new());
    for step in steps {
        let [gap, first, count] = numbers(step);
        if count == 0 || first + count > blocks as u64 {
            return Err(DeltaError::Recipe("with blocks that are not there"));
        }
        let copy = Copied { new_offset: at.saturating_add(gap), old_offset: first * u64::from(block), len: count * u64::from(block) };
        at = copy.end();
        if at > end {
            return Err(DeltaError::Recipe("for more bytes than were searched"));
        }
        copy.push(&mut copies);
    }
    Ok(copies)
}

fn numbers(step: &[u8; STEP]) -> [u64; 3] {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = *step;
    [[a, b, c, d], [e, f, g, h], [i, j, k, l]].map(|it| u32::from_le_bytes(it).into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn step(numbers: [u32; 3]) -> Vec<u8> {
        numbers.iter().flat_map(|it| it.to_le_bytes()).collect()
    }

    #[test]
    fn copies_come_back_as_they_went() {
        let copies = [Copied { new_offset: 1_007, old_offset: 8192, len: 4096 }, Copied { new_offset: 9_000, old_offset: 0, len: 2048 }];

        let page = encode(&copies, 1_000, 2048);

        assert_eq!(page, [step([7, 4, 2]), step([9_000 - 5_103, 0, 1])].concat());
        assert_eq!(decode(&page, 1_000, 10_048, 2048, 6), Ok(copies.to_vec()));
        assert!(decode(&page, 1_000, 10_047, 2048, 6).is_err(), "beyond the stretch");
        assert!(decode(&page, 1_000, 10_048, 2048, 5).is_err(), "a block that is not there");
        assert!(decode(&page[1..], 1_000, 10_048, 2048, 6).is_err(), "cut");
        assert!(decode(&step([0, 0, 0]), 0, 10, 2048, 6).is_err(), "a copy of nothing");
        assert!(decode(&step([u32::MAX; 3]), u64::MAX - 5, 5, 2048, 6).is_err());
    }

    proptest! {
        #[test]
        fn what_is_taken_from_a_peer_lies_within_both_files(
            bytes in proptest::collection::vec(any::<u8>(), 0..200), from in 0u64..1 << 40, len: u64, block in 1u32..1 << 20, blocks in 0usize..90_000,
        ) {
            for copy in decode(&bytes, from, len, block, blocks).unwrap_or_default() {
                prop_assert!(copy.new_offset >= from && copy.end() - from <= len);
                prop_assert!(copy.old_offset + copy.len <= blocks as u64 * u64::from(block));
            }
        }
    }
}
