//! What need not travel, as it is on this machine already: a copy elsewhere, or an older state of the same file.

use std::{
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::{
    fs::{Mode, OFlags, copy_file_range, ioctl_ficlone, open},
    io::Errno,
};

use super::{EntryState, Staging, large::Partial};
use crate::files::{
    Error, PIECE_BYTES, Value,
    pieces::{piece_count, piece_range, piece_value, zero_piece},
    root,
    source::extents,
};

impl Staging {
    /// Takes a file from a copy on this machine that should have this hash, as the blocks of the same disk where that is
    /// possible, and returns whether it is here now. What the copy really holds is verified.
    ///
    /// # Errors
    /// The disk of the cage. A copy that cannot be read, or holds something else, is only of no use.
    pub fn reuse_whole(&self, no: u32, existing_path: &Path, expected: &Value, cancel: &AtomicBool) -> Result<bool, Error> {
        self.usable()?;
        let item = self.large(no)?;
        let Some(existing) = open_regular(existing_path) else { return Ok(false) };
        if item.size == 0 || self.state(no) != EntryState::Missing || existing.metadata().is_ok_and(|meta| meta.len() != item.size) {
            return Ok(false);
        }
        let partial = self.partial(no)?;
        let mut begun = false;
        partial.each_value(|_, value| begun |= value.is_some())?;
        if begun {
            // The copy would be written over pieces that are known to be right.
            return Ok(false);
        }
        if let Err(error) = clone_or_copy(&existing, &partial) {
            let error = Error::at("copy into entry", no, error);
            return if error.is_no_space() { Err(error) } else { Ok(false) };
        }
        let mut values = Vec::new();
        let mut buffer = vec![0; PIECE_BYTES];
        for piece in 0..piece_count(item.size) {
            if cancel.load(Ordering::Relaxed) {
                return Err(Error::Cancelled);
            }
            values.push(read_value(&partial.data, piece, item.size, &mut buffer).map_err(Error::on("read entry", no))?);
        }
        if root(&values, item.size) != Some(*expected) {
            return Ok(false);
        }
        for (piece, value) in (0..).zip(&values) {
            partial.claim(piece, value).map_err(Error::on("note a piece of entry", no))?;
        }
        Ok(true)
    }

    /// Takes the pieces of an older state of the file that are the same in the new one, whose values are given, and
    /// returns how many bytes these are.
    ///
    /// # Errors
    /// The disk of the cage; `NoSuch` where there are not as many values as pieces.
    pub fn reuse_pieces(&self, no: u32, existing_path: &Path, layer: &[Value], cancel: &AtomicBool) -> Result<u64, Error> {
        self.usable()?;
        let item = self.large(no)?;
        if layer.len() as u64 != piece_count(item.size) {
            return Err(Error::NoSuch(no));
        }
        let Some(existing) = open_regular(existing_path) else { return Ok(0) };
        if self.state(no) != EntryState::Missing {
            return Ok(0);
        }
        let partial = self.partial(no)?;
        let (mut reused, mut buffer) = (0, vec![0; PIECE_BYTES]);
        for (piece, value) in (0..).zip(layer) {
            if cancel.load(Ordering::Relaxed) {
                return Err(Error::Cancelled);
            }
            let here = partial.value(piece).map_err(Error::on("read the journal of entry", no))?;
            // A piece that the older file is too short for cannot be read, and is not the same.
            if here.is_some() || read_value(&existing, piece, item.size, &mut buffer).ok().as_ref() != Some(value) {
                continue;
            }
            let range = piece_range(piece, item.size).ok_or(Error::NoSuch(no))?;
            partial.write(range.start, &buffer).map_err(Error::on("write entry", no))?;
            partial.claim(piece, value).map_err(Error::on("note a piece of entry", no))?;
            reused += range.end - range.start;
        }
        Ok(reused)
    }

    /// Notes pieces that lie wholly in a hole of the sender's file, and returns how many bytes of them were not here.
    ///
    /// # Errors
    /// The disk of the cage.
    pub fn claim_holes(&self, no: u32, pieces: Range<u64>) -> Result<u64, Error> {
        self.usable()?;
        let partial = self.partial(no)?;
        let mut claimed = 0;
        for piece in pieces {
            let (range, zeroes) = piece_range(piece, partial.size).zip(zero_piece(piece, partial.size)).ok_or(Error::NoSuch(no))?;
            if partial.value(piece).map_err(Error::on("read the journal of entry", no))?.is_some() {
                continue;
            }
            let value = piece_value(piece, zeroes, partial.size).ok_or(Error::NoSuch(no))?;
            partial.write(range.start, zeroes).map_err(Error::on("write entry", no))?;
            partial.claim(piece, &value).map_err(Error::on("note a piece of entry", no))?;
            claimed += range.end - range.start;
        }
        Ok(claimed)
    }
}

/// A regular file of this machine, opened without ever blocking.
pub fn open_regular(path: &Path) -> Option<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(open(path, flags, Mode::empty()).ok()?);
    file.metadata().is_ok_and(|meta| meta.is_file()).then_some(file)
}

/// Reads a piece into the buffer, which gets its length, and returns its value.
fn read_value(file: &File, piece: u64, size: u64, buffer: &mut Vec<u8>) -> io::Result<Value> {
    let range = piece_range(piece, size).ok_or(io::ErrorKind::InvalidInput)?;
    buffer.resize((range.end - range.start) as usize, 0);
    file.read_exact_at(buffer, range.start)?;
    piece_value(piece, buffer, size).ok_or(io::ErrorKind::InvalidInput.into())
}

/// On Btrfs and XFS the copy shares its blocks with the original; elsewhere the kernel copies without us.
fn clone_or_copy(from: &File, to: &Partial) -> io::Result<()> {
    if ioctl_ficlone(&to.data, from).is_ok() {
        to.found_room(to.size);
        to.have_size()?; // the original may have another one by now
        return Ok(());
    }
    if !to.sparse {
        return copy(from, to, 0..to.size);
    }
    let mut next = Some(0);
    while let Some(at) = next {
        let found = extents(from, at, to.size)?;
        found.data.into_iter().try_for_each(|(start, len)| copy(from, to, start..start + len))?;
        next = Some(found.next).filter(|next| *next > at);
    }
    Ok(())
}

fn copy(from: &File, to: &Partial, range: Range<u64>) -> io::Result<()> {
    let (mut read_at, mut write_at) = (range.start, range.start);
    while write_at < range.end {
        let wanted = usize::try_from(range.end - write_at).unwrap_or(usize::MAX).min(64 << 20);
        match copy_file_range(from, Some(&mut read_at), &to.data, Some(&mut write_at), wanted) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => to.found_room(count as u64),
            Err(Errno::XDEV | Errno::NOSYS | Errno::INVAL | Errno::NOTSUP | Errno::PERM) => {
                return copy_through_us(from, to, write_at..range.end);
            }
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

fn copy_through_us(from: &File, to: &Partial, range: Range<u64>) -> io::Result<()> {
    let mut buffer = vec![0; PIECE_BYTES];
    let mut at = range.start;
    while at < range.end {
        let wanted = usize::try_from(range.end - at).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        let read = from.read_at(buffer.get_mut(..wanted).unwrap_or_default(), at)?;
        let bytes = buffer.get(..read).filter(|bytes| !bytes.is_empty()).ok_or(io::ErrorKind::UnexpectedEof)?;
        to.write(at, bytes)?;
        at += read as u64;
    }
    Ok(())
}
