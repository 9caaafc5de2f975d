//! What needs no byte of the sender: folders, empty files, links, and the count of what is here.

use std::sync::atomic::{AtomicBool, Ordering};

use sharekaro_proto::{nouns::transfer::SkipReason, wire::EntryKind};

use super::{EntryState, Staging, names::Made};
use crate::files::{Error, Item, manifest::link_stays_inside, piece_value};

/// So many entries are noted at once.
const BATCH: usize = 1024;

/// What is here of a transfer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Files that are here.
    pub files: u64,
    /// Bytes that are here, those of files that are still arriving among them.
    pub bytes: u64,
}

impl Staging {
    /// Makes folders and empty files, gives up links that leave their tree, and counts what is here and what room is
    /// wanted for the rest. Comes after each `open`, and does only what is not done yet.
    ///
    /// # Errors
    /// The disk; `Cancelled` soon after `cancel` becomes true.
    pub fn prepare(&self, cancel: &AtomicBool) -> Result<Tally, Error> {
        let (mut tally, mut claimed) = (Tally::default(), Vec::with_capacity(BATCH));
        let mut wanted = 0;
        for item in self.manifest.iter_from(1) {
            let (no, item) = item?;
            if cancel.load(Ordering::Relaxed) {
                return Err(Error::Cancelled);
            }
            if self.state(no) == EntryState::Missing && self.make_ready(no, &item)? {
                claimed.push(no);
            }
            if claimed.len() >= BATCH {
                self.set(&claimed, EntryState::Claimed)?;
                self.count(&claimed, &mut tally)?;
                claimed.clear();
            } else if claimed.last() != Some(&no) {
                self.count_one(no, &item, &mut tally)?;
            }
            if item.is_file() && self.state(no) == EntryState::Missing {
                wanted += self.owed(no, &item)?;
            }
        }
        self.wanted.set(wanted);
        self.set(&claimed, EntryState::Claimed)?;
        self.count(&claimed, &mut tally)?;
        Ok(tally)
    }

    /// Whether the entry is as it should be, without a byte of the sender.
    fn make_ready(&self, no: u32, item: &Item) -> Result<bool, Error> {
        let made = match item.kind {
            EntryKind::Folder => self.parent(&Item { parent: no, ..item.clone() }).map(|_| true),
            EntryKind::Link if self.link_is_fine(no, item)? => Ok(true),
            EntryKind::Link => Err(Error::Unstorable(no)),
            _ if item.size == 0 => self.make_empty(no, item).map(|()| true),
            _ => Ok(false),
        };
        match made {
            // A folder that cannot be made takes with it what is in it, one entry after the other.
            Err(Error::Unstorable(_)) => {
                let reason = if item.is_link() { SkipReason::Link } else { SkipReason::Unstorable };
                self.set(&[no], EntryState::Skipped(reason))?;
                Ok(false)
            }
            other => other,
        }
    }

    fn link_is_fine(&self, no: u32, item: &Item) -> Result<bool, Error> {
        Ok(link_stays_inside(&item.target, self.manifest.path(no)?.len() - 1))
    }

    fn make_empty(&self, no: u32, item: &Item) -> Result<(), Error> {
        let folder = self.parent(item)?;
        let file = match self.make(no, item, &folder, |name| folder.create(name, item.mode))? {
            Made::Fresh(file) => file,
            Made::Left(name) => {
                folder.remove(&name).map_err(Error::on("remove what is left of", &name))?;
                folder.create(&name, item.mode).map_err(Error::on("make", &name))?
            }
        };
        self.dress(&file, no, item)?;
        self.note_hash(no, &piece_value(0, &[], 0).ok_or(Error::NoSuch(no))?)
    }

    fn count(&self, numbers: &[u32], tally: &mut Tally) -> Result<(), Error> {
        let mut cursor = self.manifest.cursor();
        numbers.iter().try_for_each(|no| self.count_one(*no, &cursor.get(*no)?, tally))
    }

    fn count_one(&self, no: u32, item: &Item, tally: &mut Tally) -> Result<(), Error> {
        match self.state(no) {
            EntryState::Claimed | EntryState::Whole => {
                tally.files += u64::from(item.is_file());
                tally.bytes += item.size;
            }
            EntryState::Missing if item.is_file() => tally.bytes += self.claimed_bytes(no, item)?,
            EntryState::Missing | EntryState::Skipped(_) => {}
        }
        Ok(())
    }
}
