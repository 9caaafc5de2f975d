//! The room that a transfer still wants of its disk.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use rustix::fs::Stat;

use super::{Staging, large::SMALL_MAX};
use crate::files::{Error, Item};

/// Bytes of a block that `stat` counts (stat(3type), `st_blocks`).
const STAT_BLOCK: u64 = 512;

/// Bytes that are still to come and have no room on the disk yet. Those of sparse files are not among them, as nobody
/// knows how many of them need room. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Wanted(Arc<AtomicU64>);

impl Wanted {
    /// How many these are now.
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, bytes: u64) {
        self.0.store(bytes, Ordering::Relaxed);
    }

    /// So many got their room, or will never come.
    pub(super) fn less(&self, bytes: u64) {
        self.change(|wanted| wanted.saturating_sub(bytes));
    }

    /// So many that were here have to come again.
    pub(super) fn more(&self, bytes: u64) {
        self.change(|wanted| wanted.saturating_add(bytes));
    }

    fn change(&self, to: impl Fn(u64) -> u64) {
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |wanted| Some(to(wanted)));
    }
}

impl Staging {
    /// The room that is still wanted; known after `prepare`.
    pub fn wanted(&self) -> Wanted {
        self.wanted.clone()
    }

    /// Bytes of a file that have room already, though they may be still to come.
    pub(super) fn given(&self, no: u32, item: &Item) -> Result<u64, Error> {
        if item.sparse || !item.is_file() {
            return Ok(0);
        }
        let folder = match self.parent(item) {
            Err(Error::Unstorable(_)) => return Ok(0),
            folder => folder?,
        };
        let found = folder.find(&self.name(no, item)).map_err(Error::on("look for entry", no))?;
        Ok(found.map_or(0, |stat| room_of(&stat).min(item.size)))
    }

    /// Bytes of a file that is not whole here for which its disk has still to find room.
    pub(super) fn owed(&self, no: u32, item: &Item) -> Result<u64, Error> {
        match item.sparse {
            true => Ok(0),
            false if item.size <= SMALL_MAX => Ok(item.size), // written whole or not at all
            false => Ok(item.size - self.given(no, item)?),
        }
    }
}

/// Bytes that a file takes of its disk.
pub(super) fn room_of(stat: &Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(STAT_BLOCK)
}
