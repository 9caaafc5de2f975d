//! From the cage to the destination, once everything is whole. Each step can be repeated after a crash.
//!
//! Links are made when all files are there, then each thing at the top is renamed as a whole, then folders get their
//! modes and times (one that may not be written to could not be filled), then all of it is made durable. Only who heard
//! of success may tell the sender.

mod intents;
mod older;
mod placing;
mod release;

use std::{
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use intents::Intents;
pub(super) use intents::{Displaced, Step};
pub(super) use older::{is_gone, put_beside};
pub(super) use placing::rename_new;
use placing::{Pair, Placing};
pub use release::release;
use rustix::{
    fs::{AtFlags, Mode, Timestamps, fchmod, fstat, futimens, readlinkat, symlinkat, utimensat},
    io::Errno,
};
use sharekaro_proto::nouns::transfer::{Conflict, SkipReason};

use super::{EntryState, Staging, listing::ListingWriter, names::Made, small::times};
use crate::{
    crash,
    files::{Error, FileName, Item, dir::Dir},
};

/// Up to so many single files are made durable by syncing their folder; more, and trees, by syncing the file system.
const SINGLES: usize = 64;

/// Something at the top of a transfer that is in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Number of its entry.
    pub no: u32,
    /// Where it is.
    pub path: PathBuf,
    /// The same was there already: it was not stored again, and is not ours to remove.
    pub existed: bool,
}

/// Where an entry went.
pub(super) struct Place {
    pub(super) names: Vec<FileName>,
    /// It was there before.
    pub(super) existed: bool,
    /// What lost its name to it.
    pub(super) displaced: Option<Displaced>,
}

/// The way to a folder of the cage, and where that went.
#[derive(Default)]
struct Way {
    folder: u32,
    staged: Vec<FileName>,
    place: Option<Place>,
}

impl Way {
    /// Where something in the folder went.
    fn place_of(&self, name: &FileName, intents: &Intents) -> Result<Option<Place>, Error> {
        let staged: Vec<_> = self.staged.iter().chain([name]).cloned().collect();
        if let Some(intent) = intents.get(&staged) {
            let names = intent.placed().ok_or(Error::Note("an intent with a name that is none"))?;
            let existed = matches!(intent.step(), Step::Same | Step::Merge);
            return Ok(Some(Place { names, existed, displaced: intent.displaced() }));
        }
        // What stood in a folder that was joined with another has an intent of its own, or was never moved.
        Ok(self.place.as_ref().filter(|place| !place.existed).map(|place| {
            let names = place.names.iter().chain([name]).cloned().collect();
            Place { names, existed: false, displaced: None }
        }))
    }
}

impl Staging {
    /// Moves everything into the destination, makes it durable there, and writes a listing of it. May be repeated until
    /// it succeeds, and after it did.
    ///
    /// # Errors
    /// `Incomplete` where something is not here yet; `Gone`, `Denied`, `NoSpace` as the destination is. What was moved
    /// by then stays there.
    pub fn commit(&self, destination: &Path, conflict: Conflict, listing_path: &Path) -> Result<Vec<Placed>, Error> {
        self.usable()?;
        if !self.is_verified() {
            return Err(Error::Unverified);
        }
        if let Some(no) = self.first_missing(1) {
            return Err(Error::Incomplete(no));
        }
        let placed = Dir::open(destination).map_err(Error::on("open", destination.display()))?;
        let begins = !self.is_placing()?;
        if begins {
            self.make_links()?;
        }
        self.sync()?;
        if begins {
            self.note_what_leaves()?;
            // What leaves the cage has to be known as whole after a power cut: else it comes again, and stands there twice.
            let synced = self.states.sync().and_then(|()| self.hashes.sync_data());
            synced.map_err(|e| self.poison("sync the states of", e))?;
        }
        let noted = self.home.open_or_create(&FileName::own("commit"), 0o600).map_err(Error::on("note", "the commit"))?;
        let mut intents = Intents::load(noted).map_err(Error::on("read", "the commit"))?;
        let pair = Pair::at_the_top(&self.tree, &placed).map_err(Error::on("open", destination.display()))?;
        self.folders.forget_all();
        Placing { intents: &mut intents, conflict, destination }.place(&pair)?;
        crash::point("commit-placed");
        let folders = self.dress_folders(&placed, &intents)?;
        let tops = self.write_listing(destination, &intents, listing_path)?;
        let synced = if folders == 0 && tops.len() <= SINGLES { placed.sync() } else { placed.sync_all() };
        synced.map_err(Error::on("sync", destination.display()))?;
        crash::point("commit-ended");
        Ok(tops)
    }

    /// Whether what was received has begun to leave the cage.
    pub(super) fn is_placing(&self) -> Result<bool, Error> {
        let noted = self.home.find(&FileName::own("commit")).map_err(Error::on("look for", "the commit"))?;
        Ok(noted.is_some())
    }

    fn make_links(&self) -> Result<(), Error> {
        for item in self.manifest.iter_from(1) {
            let (no, item) = item?;
            if item.is_link() && !matches!(self.state(no), EntryState::Skipped(_)) {
                self.make_link(no, &item)?;
            }
        }
        Ok(())
    }

    fn make_link(&self, no: u32, item: &Item) -> Result<(), Error> {
        let folder = self.parent(item)?;
        let create = |name: &FileName| Ok(symlinkat(item.target.as_slice(), &*folder, name.as_bytes())?);
        match self.make(no, item, &folder, create) {
            Ok(Made::Fresh(())) => {}
            Ok(Made::Left(name)) => {
                let target = readlinkat(&*folder, name.as_bytes(), Vec::new()).map_err(Error::on("read the link", &name))?;
                if target.as_bytes() != item.target {
                    return Err(Error::Note("a link that we did not make"));
                }
            }
            // A file system without links.
            Err(Error::Denied { .. } | Error::Unstorable(_)) => return self.set(&[no], EntryState::Skipped(SkipReason::Unstorable)),
            Err(e) => return Err(e),
        }
        if let Err(error) = utimensat(&*folder, self.name(no, item).as_bytes(), &times(item), AtFlags::SYMLINK_NOFOLLOW) {
            tracing::debug!(%error, no, "a link keeps the time at which it was made");
        }
        Ok(())
    }

    /// Gives folders that are new their modes and times, the innermost first, and counts them.
    fn dress_folders(&self, placed: &Dir, intents: &Intents) -> Result<u64, Error> {
        let mut count = 0;
        for item in self.manifest.iter_back() {
            let (no, item) = item?;
            if !item.is_folder() || matches!(self.state(no), EntryState::Skipped(_)) {
                continue;
            }
            count += 1;
            let Some(place) = self.place_of(no, intents)? else { continue };
            if place.existed {
                continue;
            }
            match placed.descend(&place.names) {
                Ok(folder) => dress(&folder, item.mode, &times(&item)).map_err(Error::on("set mode and time of folder", no))?,
                // It got a mode by an earlier try that keeps even us out.
                Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {}
                Err(e) if is_gone(&e) => {} // somebody took it away since
                Err(e) => return Err(Error::at("open folder", no, e)),
            }
        }
        Ok(count)
    }

    fn place_of(&self, no: u32, intents: &Intents) -> Result<Option<Place>, Error> {
        let item = self.manifest.get(no)?;
        self.way_to(item.parent, intents)?.place_of(&self.name(no, &item), intents)
    }

    /// Where the folder with this number was and went: as the innermost thing on the way to it that was moved as a whole.
    fn way_to(&self, folder: u32, intents: &Intents) -> Result<Way, Error> {
        let mut way = Way { folder, ..Way::default() };
        for name in self.staged_names(folder)? {
            way.place = way.place_of(&name, intents)?;
            way.staged.push(name);
        }
        Ok(way)
    }

    fn staged_names(&self, no: u32) -> Result<Vec<FileName>, Error> {
        let (mut names, mut at) = (Vec::new(), no);
        while at != 0 {
            let item = self.manifest.get(at)?;
            names.push(self.name(at, &item));
            at = item.parent;
        }
        names.reverse();
        Ok(names)
    }

    fn write_listing(&self, destination: &Path, intents: &Intents, listing_path: &Path) -> Result<Vec<Placed>, Error> {
        let mut writer = ListingWriter::create(listing_path)?;
        let mut tops = Vec::new();
        let mut way = Way::default();
        for item in self.manifest.iter_from(1) {
            let (no, item) = item?;
            if way.folder != item.parent {
                way = self.way_to(item.parent, intents)?;
            }
            if matches!(self.state(no), EntryState::Skipped(_)) {
                continue;
            }
            let Some(place) = way.place_of(&self.name(no, &item), intents)? else { continue };
            writer.add(no, &item, &place, self.hash(no), self.time(no, &item))?;
            if item.parent == 0 {
                let path = place.names.iter().fold(destination.to_owned(), |path, name| path.join(name.as_os_str()));
                tops.push(Placed { no, path, existed: place.existed });
            }
        }
        writer.finish()?;
        Ok(tops)
    }
}

/// A folder was made with what its owner needs; now it gets what the sender's had of it, and nothing more.
fn dress(folder: &Dir, mode: u32, times: &Timestamps) -> std::io::Result<()> {
    let now = fstat(folder)?.st_mode & 0o7777;
    let wanted = now & (mode | 0o7000);
    if wanted != now {
        match fchmod(folder.as_fd(), Mode::from_raw_mode(wanted)) {
            // vfat and its like have no modes.
            Ok(()) | Err(Errno::PERM | Errno::NOTSUP) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(futimens(folder, times)?)
}

/// Leaves the note of an exchange as a crash right after it does.
#[cfg(test)]
pub(super) fn note_exchange(file: std::fs::File, destination: &Path, name: &'static str, inode: u64, displaced: Displaced) {
    let names = [FileName::own(name)];
    let intent = intents::Intent::new(Step::Exchange, &names, &names, inode).displacing(displaced).below(destination);
    Intents::load(file).unwrap().note(&[intent]).unwrap();
}
