//! What is missing of a transfer, in the order of its manifest: packs of small files, pieces of big ones.
//!
//! Planned a handful at a time, so that a million files need no more memory than a hundred.

use std::{
    collections::{HashMap, VecDeque},
    ops::Range,
    sync::{Mutex, PoisonError},
};

use super::{
    fetch::Fetch,
    stop::{Stop, blocking},
};
pub use crate::files::cage::SMALL_MAX;
use crate::files::{Item, piece_len};

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
    /// A big file: what of it is on this machine, which pieces are missing.
    Begin(u32, Item),
}

/// Pieces of one big file that are still to be asked for.
pub struct Pieces {
    no: u32,
    size: u64,
    /// Last first.
    ranges: Vec<Range<u64>>,
}

impl Pieces {
    /// What is missing of a file; `None` where nothing is.
    pub fn new(no: u32, size: u64, mut ranges: Vec<Range<u64>>) -> Option<Self> {
        ranges.reverse();
        (!ranges.is_empty()).then_some(Self { no, size, ranges })
    }

    /// How many.
    pub fn left(&self) -> u64 {
        self.ranges.iter().map(|range| range.end - range.start).sum()
    }
}

impl Iterator for Pieces {
    type Item = Work;

    fn next(&mut self) -> Option<Work> {
        loop {
            let Some(piece) = self.ranges.last_mut()?.next() else {
                self.ranges.pop();
                continue;
            };
            return piece_len(piece, self.size).map(|len| Work::Piece { no: self.no, piece, len });
        }
    }
}

impl Work {
    /// Bytes that it brings.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Pack(files) => files.iter().map(|(_, size)| *size as usize).sum(), // at most PACK_BYTES
            Self::Piece { len, .. } => *len,
            Self::Begin(..) => 0,
        }
    }
}

/// Pieces of big files that are still to come; whoever brings the last one makes the file whole.
#[derive(Default)]
pub struct Remaining(Mutex<HashMap<u32, u64>>);

impl Remaining {
    /// So many are to come.
    pub fn expect(&self, no: u32, pieces: u64) {
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

    /// Whether any are to come.
    pub fn expects(&self, no: u32) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&no)
    }

    /// The file will not come; says whether that is news.
    pub fn give_up(&self, no: u32) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&no).is_some()
    }
}

/// Walks the manifest and plans what is missing.
struct Planner {
    fetch: Fetch,
    next: u32,
}

impl Planner {
    fn new(fetch: Fetch) -> Self {
        Self { fetch, next: 1 }
    }

    /// The next works; the planner comes back while there is more.
    fn plan(mut self) -> Result<(Option<Self>, Vec<Work>), Stop> {
        let mut works = Vec::new();
        let mut pack = Pack::default();
        while works.len() < BATCH {
            let Some((no, item)) = self.next_missing()? else {
                pack.flush(&mut works);
                return Ok((None, works));
            };
            if item.size > SMALL_MAX {
                works.push(Work::Begin(no, item));
            } else if !self.fetch.reuse_small(no, &item)? {
                pack.add(no, item.size, &mut works);
            }
        }
        pack.flush(&mut works);
        Ok((Some(self), works))
    }

    /// The next file that is not whole.
    fn next_missing(&mut self) -> Result<Option<(u32, Item)>, Stop> {
        let staging = &self.fetch.staging;
        while let Some(no) = staging.first_missing(self.next) {
            self.next = no + 1;
            let item = staging.manifest().get(no).map_err(crate::files::Error::from)?;
            if item.is_file() {
                return Ok(Some((no, item)));
            }
        }
        Ok(None)
    }
}

/// What is to be fetched next: pieces of files that were begun, then what is planned, then what is not planned yet.
pub struct Queue {
    planner: Option<Planner>,
    pieces: VecDeque<Pieces>,
    ahead: VecDeque<Work>,
}

impl Queue {
    /// From the first entry on.
    pub fn new(fetch: Fetch) -> Self {
        Self { planner: Some(Planner::new(fetch)), pieces: VecDeque::new(), ahead: VecDeque::new() }
    }

    /// A file was begun: these are missing of it.
    pub fn add(&mut self, pieces: Option<Pieces>) {
        self.pieces.extend(pieces);
    }

    /// What to ask for now; `None` where nothing is left.
    ///
    /// # Errors
    /// What the disk says.
    pub async fn next(&mut self) -> Result<Option<Work>, Stop> {
        loop {
            while let Some(pieces) = self.pieces.front_mut() {
                if let Some(work) = pieces.next() {
                    return Ok(Some(work));
                }
                self.pieces.pop_front();
            }
            if let Some(work) = self.ahead.pop_front() {
                return Ok(Some(work));
            }
            let Some(planner) = self.planner.take() else { return Ok(None) };
            let (planner, works) = blocking(move || planner.plan()).await?;
            self.planner = planner;
            self.ahead.extend(works);
        }
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
    fn pieces_come_in_their_order() {
        let pieces = Pieces::new(3, 10 << 20, vec![1..3, 7..8]).unwrap();
        assert_eq!(pieces.left(), 3);

        let order: Vec<u64> = pieces.map(|work| if let Work::Piece { piece, .. } = work { piece } else { 99 }).collect();

        assert_eq!(order, [1, 2, 7]);
        assert!(Pieces::new(3, 5, Vec::new()).is_none());
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
