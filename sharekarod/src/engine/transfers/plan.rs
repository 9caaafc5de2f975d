//! What is missing of a transfer, in the order of its manifest: packs of small files, pieces of big ones.
//!
//! Planned a handful at a time, so that a million files need no more memory than a hundred.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use super::pull::Stop;
pub use crate::files::cage::SMALL_MAX;
use crate::files::{Item, Staging, piece_len};

/// The most bytes of a pack: with their heads they fit into a page.
const PACK_BYTES: u64 = 900 << 10;

/// The most files of a pack.
const PACK_FILES: usize = 200;

/// Works planned at a time.
const BATCH: usize = 32;

/// Something to ask for.
pub enum Work {
    /// Small files, whole: number and size of each.
    Pack(Vec<(u32, u64)>),
    /// One piece of a big file.
    Piece {
        /// Number of the entry.
        no: u32,
        /// Which piece.
        piece: u64,
        /// Its bytes.
        len: usize,
    },
    /// A big file of which all pieces are here.
    Finish(u32),
}

impl Work {
    /// Bytes that it brings.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Pack(files) => files.iter().map(|(_, size)| *size as usize).sum(), // at most PACK_BYTES
            Self::Piece { len, .. } => *len,
            Self::Finish(_) => 0,
        }
    }
}

/// Pieces of big files that are still to come; whoever brings the last one makes the file whole.
#[derive(Default)]
pub struct Remaining(Mutex<HashMap<u32, u64>>);

impl Remaining {
    fn expect(&self, no: u32, pieces: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(no, pieces);
    }

    /// One came; says whether it was the last.
    pub fn one_came(&self, no: u32) -> bool {
        let mut remaining = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(left) = remaining.get_mut(&no) else { return false };
        *left -= 1;
        if *left == 0 {
            remaining.remove(&no);
            return true;
        }
        false
    }

    /// The file will not come.
    pub fn give_up(&self, no: u32) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&no).is_some()
    }
}

/// Walks the manifest and plans what is missing.
pub struct Planner {
    staging: Arc<Staging>,
    remaining: Arc<Remaining>,
    next: u32,
    /// The big file that is being planned: number, size, and the ranges of pieces that are not planned yet, last first.
    big: Option<(u32, u64, Vec<Range<u64>>)>,
}

impl Planner {
    /// From the first entry on.
    pub fn new(staging: Arc<Staging>, remaining: Arc<Remaining>) -> Self {
        Self { staging, remaining, next: 1, big: None }
    }

    /// The next works; the planner comes back while there is more.
    ///
    /// # Errors
    /// What the disk says.
    pub fn plan(mut self) -> Result<(Option<Self>, Vec<Work>), Stop> {
        let mut works = Vec::new();
        let mut pack = Pack::default();
        while works.len() < BATCH {
            if self.plan_pieces(&mut works) {
                continue;
            }
            let Some((no, item)) = self.next_missing()? else {
                pack.flush(&mut works);
                return Ok((None, works));
            };
            if item.size > SMALL_MAX {
                pack.flush(&mut works);
                self.begin(no, &item, &mut works)?;
            } else {
                pack.add(no, item.size, &mut works);
            }
        }
        pack.flush(&mut works);
        Ok((Some(self), works))
    }

    /// The next file that is not whole.
    fn next_missing(&mut self) -> Result<Option<(u32, Item)>, Stop> {
        while let Some(no) = self.staging.first_missing(self.next) {
            self.next = no + 1;
            let item = self.staging.manifest().get(no).map_err(crate::files::Error::from)?;
            if item.is_file() {
                return Ok(Some((no, item)));
            }
        }
        Ok(None)
    }

    fn begin(&mut self, no: u32, item: &Item, works: &mut Vec<Work>) -> Result<(), Stop> {
        let mut missing = self.staging.missing(no)?;
        match missing.iter().map(|range| range.end - range.start).sum() {
            0 => works.push(Work::Finish(no)),
            count => {
                self.remaining.expect(no, count);
                missing.reverse();
                self.big = Some((no, item.size, missing));
            }
        }
        Ok(())
    }

    /// Plans pieces of the big file, as many as there is room for; says whether there was one.
    fn plan_pieces(&mut self, works: &mut Vec<Work>) -> bool {
        let Some((no, size, ranges)) = &mut self.big else { return false };
        while works.len() < BATCH {
            let Some(range) = ranges.last_mut() else { break };
            match range.next() {
                Some(piece) => works.extend(piece_len(piece, *size).map(|len| Work::Piece { no: *no, piece, len })),
                None => drop(ranges.pop()),
            }
        }
        if ranges.is_empty() {
            self.big = None;
        }
        true
    }
}

/// Small files on their way into one request.
#[derive(Default)]
struct Pack {
    files: Vec<(u32, u64)>,
    bytes: u64,
}

impl Pack {
    fn add(&mut self, no: u32, size: u64, works: &mut Vec<Work>) {
        if self.files.len() >= PACK_FILES || self.bytes + size > PACK_BYTES {
            self.flush(works);
        }
        self.bytes += size;
        self.files.push((no, size));
    }

    fn flush(&mut self, works: &mut Vec<Work>) {
        if !self.files.is_empty() {
            works.push(Work::Pack(std::mem::take(self).files));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pack_fits_into_a_page_and_has_not_too_many_files() {
        let (mut pack, mut works) = (Pack::default(), Vec::new());
        for no in 1..=1_000 {
            pack.add(no, if no % 10 == 0 { SMALL_MAX } else { 10 }, &mut works);
        }
        pack.flush(&mut works);

        let sizes: Vec<(usize, usize)> =
            works.iter().map(|work| (work.bytes(), if let Work::Pack(files) = work { files.len() } else { 0 })).collect();
        assert_eq!(sizes.iter().map(|(_, files)| files).sum::<usize>(), 1_000);
        assert!(sizes.iter().all(|(bytes, files)| *bytes as u64 <= PACK_BYTES && *files <= PACK_FILES));
    }

    #[test]
    fn who_brings_the_last_piece_is_told_once() {
        let remaining = Remaining::default();
        remaining.expect(7, 3);

        assert_eq!(
            [remaining.one_came(7), remaining.one_came(7), remaining.one_came(7), remaining.one_came(7)],
            [false, false, true, false]
        );
    }
}
