//! Plain BLAKE3 with one chaining value for each piece of 1 MiB.
//!
//! A piece can be verified alone against its value, and the values merge to the hash of the file as `b3sum` prints it
//! (`blake3::hazmat` names this use). A file of at most one piece has a single value, which is that hash itself.

use std::ops::Range;

use blake3::{
    Hasher,
    hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root},
};
use sharekaro_proto::wire::PIECE_SIZE;

/// The chaining value of a piece, or the hash of a file.
pub type Value = [u8; blake3::OUT_LEN];

/// Bytes of a whole piece, as memory counts them. One MiB fits everywhere.
pub const PIECE_BYTES: usize = PIECE_SIZE as usize;

/// What holes are hashed from.
static ZEROES: [u8; PIECE_BYTES] = [0; PIECE_BYTES];

/// How many pieces a file of `size` bytes has; an empty one has none.
pub const fn piece_count(size: u64) -> u64 {
    size.div_ceil(PIECE_SIZE)
}

/// The bytes of the file that are the piece; `None` where the file has no such piece.
pub const fn piece_range(piece: u64, size: u64) -> Option<Range<u64>> {
    if piece >= piece_count(size) {
        return None;
    }
    let start = piece * PIECE_SIZE;
    let end = if size - start > PIECE_SIZE { start + PIECE_SIZE } else { size };
    Some(start..end)
}

/// How many bytes the piece has; `None` where the file has no such piece.
pub fn piece_len(piece: u64, size: u64) -> Option<usize> {
    // At most PIECE_SIZE, which fits.
    piece_range(piece, size).map(|range| (range.end - range.start) as usize)
}

/// The value of a piece; `None` where these cannot be the bytes of that piece, as their number differs.
pub fn piece_value(piece: u64, bytes: &[u8], size: u64) -> Option<Value> {
    if size == 0 && piece == 0 && bytes.is_empty() {
        return Some(*blake3::hash(&[]).as_bytes());
    }
    let range = piece_range(piece, size)?;
    if bytes.len() as u64 != range.end - range.start {
        return None;
    }
    if size <= PIECE_SIZE {
        return Some(*blake3::hash(bytes).as_bytes());
    }
    Some(Hasher::new().set_input_offset(range.start).update(bytes).finalize_non_root())
}

/// The bytes of a piece that is nothing but zeroes.
pub fn zero_piece(piece: u64, size: u64) -> Option<&'static [u8]> {
    ZEROES.get(..piece_len(piece, size)?)
}

/// The value of a piece that is nothing but zeroes, without reading anything.
pub fn zero_value(piece: u64, size: u64) -> Option<Value> {
    piece_value(piece, zero_piece(piece, size)?, size)
}

/// Whether all bytes are zero; at most a piece of them.
pub fn is_zero(bytes: &[u8]) -> bool {
    ZEROES.get(..bytes.len()).is_some_and(|zeroes| bytes == zeroes)
}

/// The hash of a file of `size` bytes from the values of all its pieces; `None` where these are not as many.
pub fn root(values: &[Value], size: u64) -> Option<Value> {
    let mut builder = RootBuilder::new();
    values.iter().for_each(|value| builder.push(*value));
    builder.finish(size)
}

/// Merges values as they come, in memory for the height of the tree only.
#[derive(Default)]
pub struct RootBuilder {
    /// The roots of complete subtrees, the largest first, and the last value, which is not merged yet.
    stack: Vec<Value>,
    pushed: u64,
}

impl RootBuilder {
    /// Without values.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the value of the next piece.
    pub fn push(&mut self, value: Value) {
        // BLAKE3's tree is left-heavy: a subtree is merged when something follows it, and never before, as the last
        // merge of all is another one.
        while self.stack.len() > self.pushed.count_ones() as usize {
            self.merge(merge_subtrees_non_root);
        }
        self.stack.push(value);
        self.pushed += 1;
    }

    /// The hash of the file; `None` where a file of `size` bytes has another number of pieces.
    pub fn finish(mut self, size: u64) -> Option<Value> {
        if self.pushed != piece_count(size) {
            return None;
        }
        if size <= PIECE_SIZE {
            return Some(self.stack.pop().unwrap_or_else(|| *blake3::hash(&[]).as_bytes()));
        }
        while self.stack.len() > 2 {
            self.merge(merge_subtrees_non_root);
        }
        let (right, left) = (self.stack.pop()?, self.stack.pop()?);
        Some(*merge_subtrees_root(&left, &right, Mode::Hash).as_bytes())
    }

    fn merge(&mut self, with: fn(&Value, &Value, Mode<'_>) -> Value) {
        if let (Some(right), Some(left)) = (self.stack.pop(), self.stack.pop()) {
            self.stack.push(with(&left, &right, Mode::Hash));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn noise(len: usize) -> Vec<u8> {
        (0..len as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
    }

    fn values_of(bytes: &[u8]) -> Vec<Value> {
        let size = bytes.len() as u64;
        bytes.chunks(PIECE_BYTES).zip(0..).map(|(piece, no)| piece_value(no, piece, size).unwrap()).collect()
    }

    fn check(len: usize) {
        let bytes = noise(len);
        assert_eq!(root(&values_of(&bytes), len as u64), Some(*blake3::hash(&bytes).as_bytes()), "{len} bytes");
    }

    #[test]
    fn the_values_merge_to_the_hash_of_the_file_at_every_edge() {
        for pieces in [0, 1, 2, 3, 4, 5, 7, 8] {
            for more in [-1025, -1024, -1, 0, 1, 1023, 1024, 1025] {
                if let Ok(len) = usize::try_from(pieces * (PIECE_BYTES as i64) + more) {
                    check(len);
                }
            }
        }
    }

    #[test]
    fn pieces_are_counted_without_overflow() {
        assert_eq!(piece_count(0), 0);
        assert_eq!(piece_count(PIECE_SIZE), 1);
        assert_eq!(piece_count(PIECE_SIZE + 1), 2);
        assert_eq!(piece_count(u64::MAX), 1 << 44);
        assert_eq!(piece_range((1 << 44) - 1, u64::MAX), Some(u64::MAX - (PIECE_SIZE - 1)..u64::MAX));
        assert_eq!(piece_range(1 << 44, u64::MAX), None);
        assert_eq!(piece_range(u64::MAX, 5), None);
        assert_eq!(piece_len(4096, (1 << 32) + 1), Some(1));
        assert_eq!(piece_range(4096, (1 << 32) + 1), Some(1 << 32..(1 << 32) + 1));
    }

    #[test]
    fn bytes_of_another_length_are_no_piece() {
        let bytes = noise(PIECE_BYTES + 1);
        let size = bytes.len() as u64;

        assert!(piece_value(0, &bytes, size).is_none());
        assert!(piece_value(0, &bytes[..5], size).is_none());
        assert!(piece_value(1, &[], size).is_none());
        assert!(piece_value(2, &[1], size).is_none());
        assert!(piece_value(u64::MAX, &[1], u64::MAX).is_none());
        assert!(piece_value(1, &[], 0).is_none());
    }

    #[test]
    fn a_missing_value_gives_no_hash() {
        let values = values_of(&noise(3 * PIECE_BYTES));

        assert!(root(&values[..2], 3 * PIECE_SIZE).is_none());
        assert!(root(&values, 4 * PIECE_SIZE).is_none());
    }

    #[test]
    fn zeroes_need_not_be_read() {
        let size = 2 * PIECE_SIZE + 77;
        let bytes = vec![0; size as usize];

        let values: Vec<_> = (0..3).map(|piece| zero_value(piece, size).unwrap()).collect();

        assert_eq!(root(&values, size), Some(*blake3::hash(&bytes).as_bytes()));
        assert_eq!(zero_value(3, size), None);
        assert!(is_zero(&bytes[..PIECE_BYTES]) && !is_zero(b"\0\0\x01"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn the_values_merge_to_the_hash_of_any_file(len in 0usize..20 * PIECE_BYTES) {
            check(len);
        }
    }
}
