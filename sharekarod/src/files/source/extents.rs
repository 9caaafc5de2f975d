//! Where a sparse file holds data.

use std::{fs::File, io};

use rustix::{
    fs::{SeekFrom, seek},
    io::Errno,
};

/// A smaller file is never sent as sparse, a smaller hole is not worth a thought.
const HOLE_MIN: u64 = 64 << 10;

/// Stretches that are told at once: what fits into a frame with ease.
pub const EXTENTS_MAX: usize = 4096;

/// Where a file holds data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extents {
    /// Offset and length, ascending.
    pub data: Vec<(u64, u64)>,
    /// What lies from here on is not told yet; 0: all is told.
    pub next: u64,
}

/// Whether the file has a hole that is worth keeping. A file system that compresses shows fewer blocks, yet no hole.
pub(super) fn has_holes(file: &File, size: u64) -> bool {
    let mut at = 0;
    while let Ok(hole) = seek(file, SeekFrom::Hole(at))
        && hole < size
    {
        match seek(file, SeekFrom::Data(hole)) {
            Ok(data) if data - hole < HOLE_MIN => at = data,
            Ok(_) => return true,
            // No data behind it.
            Err(_) => return size - hole >= HOLE_MIN,
        }
    }
    false
}

/// The stretches of data from `from` on. A file system that knows no holes has one stretch: all of the file.
pub(in crate::files) fn extents(file: &File, from: u64, size: u64) -> io::Result<Extents> {
    let (mut data, mut at) = (Vec::new(), from);
    while at < size {
        if data.len() >= EXTENTS_MAX {
            return Ok(Extents { data, next: at });
        }
        let start = match seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,
            Err(e) => return Err(e.into()),
        };
        let end = seek(file, SeekFrom::Hole(start))?.min(size);
        if end <= start {
            break;
        }
        data.push((start, end - start));
        at = end;
    }
    Ok(Extents { data, next: 0 })
}
