//! What is noted of each file before it leaves the cage: what lies in its place later may have been edited since.
//!
//! Times stand behind the hashes, in the same file, so that one sync is enough for both.

use std::{fs::File, io, os::unix::fs::FileExt};

use super::{EntryState, Staging};
use crate::files::{
    Error, Item, RootBuilder, Value,
    pieces::{PIECE_BYTES, piece_count, piece_len, piece_value},
};

/// Bytes of a time: seconds since 1970, and nanoseconds plus one, nothing where it is not known; 8 bytes each, the least
/// first.
const TIME_BYTES: usize = 16;

/// So many bytes of times are written at once.
const BATCH: usize = 64 << 10;

impl Staging {
    /// Notes the times that files and links have, as this file system keeps them, and hashes that a power cut took.
    pub(super) fn note_what_leaves(&self) -> Result<(), Error> {
        let (mut times, mut first) = (Vec::with_capacity(TIME_BYTES), 1);
        for item in self.manifest.iter_from(1) {
            let (no, item) = item?;
            let (seconds, nanos) = self.note_one(no, &item)?;
            times.extend([seconds.to_le_bytes(), nanos.to_le_bytes()].into_iter().flatten());
            if times.len() >= BATCH {
                self.write_times(first, &times)?;
                times.clear();
                first = no + 1;
            }
        }
        self.write_times(first, &times)
    }

    /// The time of one, as it is noted.
    fn note_one(&self, no: u32, item: &Item) -> Result<(i64, u64), Error> {
        if item.is_folder() || matches!(self.state(no), EntryState::Skipped(_)) {
            return Ok((0, 0));
        }
        let looking = |e| Error::at("look at entry", no, e);
        let (folder, name) = (self.parent(item)?, self.name(no, item));
        if item.is_file() && self.hash(no).is_none() {
            let hash = folder.read(&name).and_then(|file| hash_of(&file, item.size)).map_err(looking)?;
            self.note_hash(no, &hash)?;
        }
        let stat = folder.stat(&name).map_err(looking)?;
        Ok((stat.st_mtime, stat.st_mtime_nsec.saturating_add(1)))
    }

    fn write_times(&self, first: u32, times: &[u8]) -> Result<(), Error> {
        self.hashes.write_all_at(times, self.time_at(first)).map_err(Error::on("note the times of", self.key))
    }

    /// When a file or link was changed last before it left, in seconds and nanoseconds since 1970.
    pub(super) fn time(&self, no: u32, item: &Item) -> (i64, u64) {
        let (mut seconds, mut nanos, at) = ([0; 8], [0; 8], self.time_at(no));
        let read = self.hashes.read_exact_at(&mut seconds, at).and_then(|()| self.hashes.read_exact_at(&mut nanos, at + 8));
        match u64::from_le_bytes(nanos).checked_sub(1).filter(|_| read.is_ok()) {
            Some(nanos) => (i64::from_le_bytes(seconds), nanos),
            // an earlier version of ours began to place it
            None => (item.mtime.seconds, item.mtime.nanos.into()),
        }
    }

    fn time_at(&self, no: u32) -> u64 {
        u64::from(self.manifest.count()) * size_of::<Value>() as u64 + u64::from(no.saturating_sub(1)) * TIME_BYTES as u64
    }
}

fn hash_of(file: &File, size: u64) -> io::Result<Value> {
    let (mut builder, mut buffer) = (RootBuilder::new(), vec![0; PIECE_BYTES]);
    for piece in 0..piece_count(size) {
        let bytes = buffer.get_mut(..piece_len(piece, size).unwrap_or(0)).unwrap_or_default();
        file.read_exact_at(bytes, piece * PIECE_BYTES as u64)?;
        builder.push(piece_value(piece, bytes, size).ok_or(io::ErrorKind::InvalidData)?);
    }
    builder.finish(size).ok_or(io::ErrorKind::InvalidData.into())
}
