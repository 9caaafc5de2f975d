//! Takes back what one transfer put into a folder, as one step, and spares what was edited since.

use std::{
    io,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FileType, Mode, Stat, fchmod, fstat},
    io::Errno,
};
use sharekaro_proto::wire::EntryKind;

use super::{
    Listed,
    commit::{Displaced, rename_new},
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
        match take_back(&dir, &listed).map_err(Error::on("remove", listed.path().display()))? {
            Taken::Removed => undone.removed += 1,
            Taken::Spared => undone.spared.push(listed.path()),
            Taken::Gone => {}
        }
        let restored = restore(&dir, &listed.parsed(), listed.older());
        undone.restored += u64::from(restored.map_err(Error::on("give the older one its name back:", listed.path().display()))?);
    }
    // A folder stands before what is in it.
    for (path, older) in folders.into_iter().rev() {
        let names: Vec<_> = path.split(|byte| *byte == b'/').filter_map(|name| FileName::parse(name).ok()).collect();
        let restored = remove_if_empty(&dir, &names).and_then(|()| restore(&dir, &names, older));
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

fn take_back(dir: &Dir, listed: &Listed) -> io::Result<Taken> {
    let names = listed.parsed();
    let Some((name, above)) = names.split_last() else { return Ok(Taken::Gone) };
    let folder = match dir.descend(above) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Taken::Gone),
        // Somebody put a link or a file where our folder was.
        Err(e) if matches!(Errno::from_io_error(&e), Some(Errno::NOTDIR | Errno::LOOP)) => return Ok(Taken::Spared),
        other => other?,
    };
    match folder.find(name)? {
        None => Ok(Taken::Gone),
        Some(stat) if is_untouched(&stat, listed) => despite_mode(&folder, || folder.remove(name)).map(|()| Taken::Removed),
        Some(stat) if listed.older().is_some_and(|older| older.inode == stat.st_ino) => Ok(Taken::Gone),
        Some(_) => Ok(Taken::Spared),
    }
}

/// Gives an older thing its name back, where that is free and the thing is still the one that was put aside.
fn restore(dir: &Dir, names: &[FileName], older: Option<Displaced>) -> io::Result<bool> {
    let (Some(older), Some((name, above))) = (older, names.split_last()) else { return Ok(false) };
    let Ok(folder) = dir.descend(above) else { return Ok(false) };
    if folder.find(&older.name)?.is_none_or(|stat| stat.st_ino != older.inode) {
        return Ok(false);
    }
    match despite_mode(&folder, || rename_new(&folder, &older.name, &folder, name)) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        other => other.map(|()| true),
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

fn remove_if_empty(dir: &Dir, names: &[FileName]) -> io::Result<()> {
    let Some((name, above)) = names.split_last() else { return Ok(()) };
    let removed = dir.descend(above).and_then(|folder| despite_mode(&folder, || folder.remove_folder(name)));
    match removed {
        Err(e) if matches!(e.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(()),
        other => other,
    }
}

/// A folder that was received read-only is opened for a moment.
fn despite_mode(folder: &Dir, work: impl Fn() -> io::Result<()>) -> io::Result<()> {
    match work() {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            let before = Mode::from_raw_mode(fstat(folder)?.st_mode);
            fchmod(folder, before | Mode::RWXU)?;
            let done = work();
            fchmod(folder, before)?;
            done
        }
        other => other,
    }
}
