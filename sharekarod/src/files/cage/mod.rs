//! The cage: where received bytes are written, verified and made durable before anybody else sees them.
//!
//! A private folder on the file system of the destination, one for each transfer:
//! `tree/` as it will be, `journal/N` with the values of the pieces of a large file that are here, `states` with a byte
//! and `hashes` with the hash of each entry, and the times that they left with, `names` of those that got another one, `boot` with the start of the machine
//! that all of it is known to be true for, and `commit` with what was moved where.
//!
//! A value stands in a journal only after its bytes are in the file: what a crash of ours leaves is true. After a power
//! cut nothing but what was synced is, and `verify_claims` compares the rest.

mod aliases;
mod commit;
mod large;
mod listing;
mod names;
mod notes;
mod place;
mod prepare;
mod reuse;
mod small;
mod states;
mod undo;
mod verify;
mod wanted;

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use aliases::Aliases;
pub use commit::{Placed, release};
use large::Partial;
pub use large::SMALL_MAX;
pub use listing::{Listed, read_listing};
use names::Folding;
pub use place::{STAGING_NAME, discard, staging_root_for, sweep};
pub use prepare::Tally;
pub use reuse::open_regular;
use sharekaro_proto::{TransferKey, nouns::transfer::SkipReason};
pub use small::{Small, Stored};
pub use states::EntryState;
use states::States;
pub use undo::{Undone, undo};
pub use wanted::Wanted;

use super::{Error, FileName, Item, Manifest, Value, dir::Dir, recent::Recent};

/// One transfer that is being received. Pieces and small files may be written from several threads at once, those of one
/// file too; `finish_file`, `skip`, `forget` and the reuse of a file come when nobody else writes to it.
///
/// After `open`: `verify_claims` where it `is_verified` not, then `prepare`, then what is missing, then `commit`, which
/// may be repeated, then `discard`.
pub struct Staging {
    key: TransferKey,
    root_path: PathBuf,
    root: Dir,
    home: Dir,
    tree: Dir,
    journals: Dir,
    manifest: Arc<Manifest>,
    states: States,
    hashes: File,
    aliases: Mutex<Aliases>,
    folding: Folding,
    folders: Recent<Dir>,
    partials: Recent<Partial>,
    wanted: Wanted,
    /// Held while a file is opened for the first piece of it, as several may come at once.
    opening: Mutex<()>,
    verified: AtomicBool,
    poisoned: AtomicBool,
}

impl Staging {
    /// Begins, or goes on with, a transfer. The root comes from `staging_root_for`; it is made where it is not there.
    ///
    /// # Errors
    /// `Foreign` where the root is not ours.
    pub fn open(staging_root: &Path, key: TransferKey, manifest: Arc<Manifest>) -> Result<Self, Error> {
        let (root, home) = place::open_home(staging_root, key)?;
        let made = |what: &'static str| home.make_folder(&FileName::own(what), 0o700).map_err(Error::on("make", what));
        let noted = |what: &'static str| home.open_or_create(&FileName::own(what), 0o600).map_err(Error::on("open", what));
        let tree = made("tree")?;
        let folding = names::probe(&home)?;
        let states = States::load(noted("states")?, manifest.count()).map_err(Error::on("read", "states"))?;
        let aliases = Aliases::load(noted("names")?).map_err(Error::on("read", "names"))?;
        let staging = Self {
            key,
            journals: made("journal")?,
            hashes: noted("hashes")?,
            tree,
            folding,
            states,
            aliases: Mutex::new(aliases),
            root_path: staging_root.to_owned(),
            root,
            home,
            manifest,
            folders: Recent::new(),
            partials: Recent::new(),
            wanted: Wanted::default(),
            opening: Mutex::new(()),
            verified: AtomicBool::new(false),
            poisoned: AtomicBool::new(false),
        };
        staging.compare_boot()?;
        Ok(staging)
    }

    /// What is received.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// How far an entry is.
    pub fn state(&self, no: u32) -> EntryState {
        self.states.get(no)
    }

    /// The first entry from `from` on that is not here.
    pub fn first_missing(&self, from: u32) -> Option<u32> {
        self.states.first(from, EntryState::Missing)
    }

    /// The hash of a file that is here; `None` where it is not known.
    pub fn hash(&self, no: u32) -> Option<Value> {
        let mut hash = Value::default();
        let at = u64::from(no.checked_sub(1)?) * hash.len() as u64;
        self.hashes.read_exact_at(&mut hash, at).ok()?;
        (hash != Value::default()).then_some(hash)
    }

    /// Entries that will never come, and why.
    pub fn skipped(&self) -> Vec<(u32, SkipReason)> {
        let of = |reason: &SkipReason| {
            let numbers = self.states.all(EntryState::Skipped(*reason));
            numbers.into_iter().map(|no| (no, *reason)).collect::<Vec<_>>()
        };
        let mut skipped: Vec<_> = SkipReason::ALL.iter().flat_map(of).collect();
        skipped.sort_unstable_by_key(|(no, _)| *no);
        skipped
    }

    /// Gives an entry up: what is here of it is removed.
    ///
    /// # Errors
    /// The disk.
    pub fn skip(&self, no: u32, reason: SkipReason) -> Result<(), Error> {
        // A piece of it that comes at this moment must not make the file again.
        let _nobody_opens = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        self.forget(no)?;
        let item = self.manifest.get(no)?;
        self.wanted.less(if item.sparse { 0 } else { item.size });
        self.set(&[no], EntryState::Skipped(reason))
    }

    /// Removes what is here of a file, so that it comes anew: the sender has another one now.
    ///
    /// # Errors
    /// The disk.
    pub fn forget(&self, no: u32) -> Result<(), Error> {
        let item = self.manifest.get(no)?;
        self.partials.forget(no);
        self.wanted.more(self.given(no, &item)?);
        self.set(&[no], EntryState::Missing)?;
        self.journals.remove(&journal_name(no)).map_err(Error::on("remove the journal of entry", no))?;
        match self.parent(&item) {
            Ok(folder) if !item.is_folder() => folder.remove(&self.name(no, &item)).map_err(Error::on("remove entry", no)),
            Ok(_) | Err(Error::Unstorable(_)) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Makes everything that is here durable, and says so of each entry.
    ///
    /// # Errors
    /// Where the disk lost bytes nothing more is taken: open it again and verify.
    pub fn sync(&self) -> Result<(), Error> {
        self.usable()?;
        let claimed = self.states.all(EntryState::Claimed);
        if claimed.is_empty() {
            return Ok(());
        }
        self.tree.sync_all().map_err(|e| self.poison("sync the received files of", e))?;
        self.set(&claimed, EntryState::Whole)
    }

    /// Removes everything of this transfer, and the root where nothing else is in it.
    ///
    /// # Errors
    /// Where the kernel refuses; then some of it is gone.
    pub fn discard(&self) -> Result<(), Error> {
        place::remove_home(&self.root_path, &self.root, self.key)
    }

    fn set(&self, numbers: &[u32], state: EntryState) -> Result<(), Error> {
        self.states.set(numbers, state).map_err(Error::on("note the states of", self.key))
    }

    fn note_hash(&self, no: u32, hash: &Value) -> Result<(), Error> {
        let at = u64::from(no.saturating_sub(1)) * hash.len() as u64;
        self.hashes.write_all_at(hash, at).map_err(Error::on("note the hash of entry", no))
    }

    /// What an entry is called here.
    fn name(&self, no: u32, item: &Item) -> FileName {
        let aliases = self.aliases.lock().unwrap_or_else(PoisonError::into_inner);
        aliases.get(no).unwrap_or(&item.name).clone()
    }

    fn usable(&self) -> Result<(), Error> {
        if self.poisoned.load(Ordering::Acquire) { Err(Error::Poisoned) } else { Ok(()) }
    }

    /// After a failed sync the kernel may drop what it could not write and report success the next time. So nothing is
    /// synced again: all of it is read back first.
    fn poison(&self, doing: &'static str, source: io::Error) -> Error {
        self.poisoned.store(true, Ordering::Release);
        if let Err(error) = self.home.remove(&FileName::own("boot")) {
            tracing::error!(%error, "cannot note that the disk lost bytes");
        }
        Error::at(doing, self.key, source)
    }
}

/// What the journal of a large file is called.
fn journal_name(no: u32) -> FileName {
    FileName::number(no)
}

#[cfg(test)]
mod tests;
