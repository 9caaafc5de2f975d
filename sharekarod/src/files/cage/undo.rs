//! Takes back what one transfer put into a folder, as one step, and spares what was edited since.

use std::{
    io,
    path::{Path, PathBuf},
};

use rustix::fs::{FileType, Mode, Stat, fchmod};
use sharekaro_proto::wire::EntryKind;

use super::{
    Listed,
    commit::{Displaced, is_gone, rename_new},
    read_listing,
};
use crate::files::{
    Error, FileName,
    dir::{Dir, file_type},
};

/// What became of a transfer that was taken back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Undone {
    /// Files and links that are gone now.
    pub removed: u64,
    /// Older things that lost their names to received ones, and have them back.
    pub restored: u64,
    /// Files and links that are no longer what was received, from the destination on.
    pub spared: Vec<PathBuf>,
}

/// Removes what a listing names and nobody changed since, and gives what lost its name to it that name back. What is gone
/// already is not an error; a folder goes when nothing is left in it.
///
/// # Errors
/// Where the destination is gone, or does not let us; what was removed by then is gone.
pub fn undo(destination: &Path, listing_path: &Path) -> Result<Undone, Error> {
    let dir = Dir::open(destination).map_err(Error::on("open", destination.display()))?;
    let mut reach = Reach { dir: &dir, lent: Vec::new() };
    let (mut undone, mut folders) = (Undone::default(), Vec::new());
    for listed in read_listing(listing_path)? {
        let listed = listed?;
        if listed.existed {
            continue;
        }
        if listed.kind() == EntryKind::Folder {
            folders.push((listed.names.join(&b'/'), listed.older()));
            continue;
        }
        match take_back(&mut reach, &listed).map_err(Error::on("remove", listed.path().display()))? {
            Taken::Removed => undone.removed += 1,
            Taken::Spared => undone.spared.push(listed.path()),
            Taken::Gone => {}
        }
        let restored = restore(&mut reach, &listed.parsed(), listed.older());
        undone.restored += u64::from(restored.map_err(Error::on("give the older one its name back:", listed.path().display()))?);
    }
    // A folder stands before what is in it.
    for (path, older) in folders.into_iter().rev() {
        let names: Vec<_> = path.split(|byte| *byte == b'/').filter_map(|name| FileName::parse(name).ok()).collect();
        let restored = remove_if_empty(&mut reach, &names).and_then(|()| restore(&mut reach, &names, older));
        undone.restored += u64::from(restored.map_err(Error::on("remove a folder in", destination.display()))?);
    }
    Ok(undone)
}

/// What became of one file.
enum Taken {
    Removed,
    /// Somebody changed it, or put something else there.
    Spared,
    /// There is nothing of that name, or the older thing has it back already.
    Gone,
}

fn take_back(reach: &mut Reach<'_>, listed: &Listed) -> io::Result<Taken> {
    let names = listed.parsed();
    let Some((name, above)) = names.split_last() else { return Ok(Taken::Gone) };
    let taken = reach.work_in(above, |folder| match folder.find(name)? {
        None => Ok(Taken::Gone),
        Some(stat) if is_untouched(&stat, listed) => folder.remove(name).map(|()| Taken::Removed),
        Some(stat) if listed.older().is_some_and(|older| older.inode == stat.st_ino) => Ok(Taken::Gone),
        Some(_) => Ok(Taken::Spared),
    });
    match taken {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Taken::Gone),
        // Somebody put a link or a file where our folder was.
        Err(e) if is_gone(&e) => Ok(Taken::Spared),
        other => other,
    }
}

/// Gives an older thing its name back, where that is free and the thing is still the one that was put aside.
fn restore(reach: &mut Reach<'_>, names: &[FileName], older: Option<Displaced>) -> io::Result<bool> {
    let (Some(older), Some((name, above))) = (older, names.split_last()) else { return Ok(false) };
    let restored = reach.work_in(above, |folder| match folder.find(&older.name)? {
        Some(stat) if stat.st_ino == older.inode => rename_new(folder, &older.name, folder, name).map(|()| true),
        _ => Ok(false),
    });
    match restored {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists || is_gone(&e) => Ok(false),
        other => other,
    }
}

fn is_untouched(stat: &Stat, listed: &Listed) -> bool {
    let kind = match listed.kind() {
        EntryKind::File => file_type(stat) == FileType::RegularFile && u64::try_from(stat.st_size) == Ok(listed.size),
        EntryKind::Link => file_type(stat) == FileType::Symlink,
        _ => false,
    };
    kind && (stat.st_mtime, stat.st_mtime_nsec) == (listed.mtime_s, listed.mtime_ns)
}

fn remove_if_empty(reach: &mut Reach<'_>, names: &[FileName]) -> io::Result<()> {
    let Some((name, above)) = names.split_last() else { return Ok(()) };
    match reach.work_in(above, |folder| folder.remove_folder(name)) {
        Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty || is_gone(&e) => Ok(()),
        other => other,
    }
}

/// The folders of a destination, those too that were received with modes that keep us out: they are opened until this is
/// dropped.
struct Reach<'d> {
    dir: &'d Dir,
    /// With the modes that they have to have again, the outer ones first.
    lent: Vec<(Vec<FileName>, Mode)>,
}

impl Reach<'_> {
    /// Does something in a folder, where need be with modes that let us.
    fn work_in<T>(&mut self, folder: &[FileName], work: impl Fn(&Dir) -> io::Result<T>) -> io::Result<T> {
        let attempt = || self.dir.descend(folder).and_then(|folder| work(&folder));
        match attempt() {
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {}
            other => return other,
        }
        self.open_up(folder)?;
        self.dir.descend(folder).and_then(|folder| work(&folder))
    }

    fn open_up(&mut self, folder: &[FileName]) -> io::Result<()> {
        let mut at = self.dir.descend([])?;
        for (depth, name) in (1..).zip(folder) {
            if let Some(before) = at.open_up(name)? {
                self.lent.push((folder.iter().take(depth).cloned().collect(), before));
            }
            at = at.folder(name)?;
        }
        Ok(())
    }
}

impl Drop for Reach<'_> {
    fn drop(&mut self) {
        for (names, mode) in self.lent.iter().rev() {
            let closed = self.dir.descend(names).and_then(|folder| Ok(fchmod(&folder, *mode)?));
            if let Err(error) = closed.or_else(|e| if is_gone(&e) { Ok(()) } else { Err(e) }) {
                tracing::warn!(%error, "a folder that was closed stays open to its owner");
            }
        }
    }
}
