//! Looking for the blocks of an old file at every byte of the new one.
//!
//! Memory holds a window of a block and a piece. Where a block was found the next one is expected behind it, which saves
//! the rolling: what is the same goes by at the speed of the hash.

use sharekaro_proto::wire::PAGE_MAX;

use super::{
    Copied, Signatures,
    recipe::STEP,
    signatures::{checksum, strong},
};
use crate::files::PIECE_BYTES;

/// Bytes of the new file that are searched at once: a second or two, so that nobody takes the search for a stall.
pub const STRETCH: u64 = 512 << 20;

/// The most copies that are told at once: what fits into a page.
const COPIES_MAX: usize = PAGE_MAX / STEP;

/// Bytes that may be hashed for nothing, besides as many as were searched: signatures that fit everywhere by their
/// checksum and nowhere by their hash do not come from a file.
const VAIN_MAX: u64 = 64 << 20;

/// What was found in one stretch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// In the order of the new file, apart from each other.
    pub copies: Vec<Copied>,
    /// So many bytes of the new file were searched; all of them that are in no copy are not in the old one.
    pub len: u64,
}

/// Searches the new file, which has `size` bytes, from a byte on. `read` reads a piece of it and may use the buffer.
///
/// # Errors
/// What `read` says.
pub fn search<E>(signatures: &Signatures, size: u64, from: u64, read: impl FnMut(u64, Vec<u8>) -> Result<Vec<u8>, E>) -> Result<Found, E> {
    let mut window = Window { read, size, bytes: Vec::new(), base: from, spare: Vec::new() };
    let (block, until) = (signatures.block() as u64, size.min(from.saturating_add(STRETCH)));
    let (mut at, mut copies, mut expected, mut vain) = (from, Vec::new(), 0, 0);
    while at < until && at.saturating_add(block) <= size && copies.len() < COPIES_MAX && vain <= VAIN_MAX + (at - from) {
        let here = window.at(at, signatures.block())?;
        if !signatures.is(expected, strong(here)) {
            let Some((place, index)) = roll(signatures, &mut window, at, until, &mut vain)? else {
                at = until.max(at);
                break;
            };
            (at, expected) = (place, index);
        }
        Copied { new_offset: at, old_offset: u64::from(expected) * block, len: block }.push(&mut copies);
        at += block;
        expected += 1;
    }
    // What is behind the last place for a block, or behind vain trouble, is in no copy.
    let whole = at.saturating_add(block) > size || vain > VAIN_MAX + (at - from);
    let end = if whole { until.max(at).min(size) } else { at };
    Ok(Found { copies, len: end - from.min(end) })
}

/// The next place from `at` on at which a block of the old file stands, and which; `None` where there is none before
/// `until`, or the peer makes us look in vain.
fn roll<E, R: FnMut(u64, Vec<u8>) -> Result<Vec<u8>, E>>(
    signatures: &Signatures,
    window: &mut Window<R>,
    mut at: u64,
    until: u64,
    vain: &mut u64,
) -> Result<Option<(u64, u32)>, E> {
    let block = signatures.block();
    let began = at;
    let mut sum = checksum(window.at(at, block)?);
    loop {
        let mut known = None;
        for (hash, index) in signatures.with_checksum(sum) {
            let here = match known {
                Some(here) => here,
                None => *known.insert(strong(window.at(at, block)?)),
            };
            if here == hash {
                return Ok(Some((at, index)));
            }
        }
        *vain += if known.is_some() { block as u64 } else { 0 };
        if at + 1 >= until || at + block as u64 >= window.size || *vain > VAIN_MAX + (at - began) {
            return Ok(None);
        }
        let (going, coming) = window.ahead(at, block, until - at - 1)?;
        let (steps, moved) = signatures.roll(sum, going, coming);
        at += steps as u64;
        sum = moved;
    }
}

/// The part of the new file that is in memory.
struct Window<R> {
    read: R,
    size: u64,
    bytes: Vec<u8>,
    /// Where `bytes` begin.
    base: u64,
    /// A buffer to read into.
    spare: Vec<u8>,
}

impl<E, R: FnMut(u64, Vec<u8>) -> Result<Vec<u8>, E>> Window<R> {
    /// Bytes of the file; the window never goes back.
    fn at(&mut self, at: u64, len: usize) -> Result<&[u8], E> {
        self.hold(at, at.saturating_add(len as u64).min(self.size))?;
        let from = (at - self.base) as usize; // within `bytes`
        Ok(self.bytes.get(from..from + len).unwrap_or_default())
    }

    /// The bytes that leave the window and those that come in, as many as are in memory, and at least one where there
    /// is one and `most` allows it.
    fn ahead(&mut self, at: u64, block: usize, most: u64) -> Result<(&[u8], &[u8]), E> {
        self.hold(at, (at + block as u64 + 1).min(self.size))?;
        let going = self.bytes.get((at - self.base) as usize..).unwrap_or_default();
        let coming = going.get(block..).unwrap_or_default();
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(coming.len());
        Ok((going, coming.get(..most).unwrap_or_default()))
    }

    /// Reads on until the bytes from `at` to `end` are here, and lets go of those before.
    fn hold(&mut self, at: u64, end: u64) -> Result<(), E> {
        while self.base + (self.bytes.len() as u64) < end {
            let gone = usize::try_from(at - self.base).unwrap_or(usize::MAX);
            if gone >= self.bytes.len() {
                self.bytes.clear();
                self.base = at;
            } else {
                self.bytes.drain(..gone);
                self.base += gone as u64;
            }
            let next = self.base + self.bytes.len() as u64;
            let piece = (self.read)(next / PIECE_BYTES as u64, std::mem::take(&mut self.spare))?;
            let skip = (next % PIECE_BYTES as u64) as usize;
            let more = piece.get(skip..).unwrap_or_default();
            if more.is_empty() {
                self.size = next; // a file that has fewer bytes than it should: there are no more blocks in it
                return Ok(());
            }
            self.bytes.extend_from_slice(more);
            self.spare = piece;
        }
        Ok(())
    }
}
