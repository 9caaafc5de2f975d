//! Takes back what one transfer put into a folder, and spares what was edited since.

use std::{
    io,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FileType, Mode, Stat, fchmod, fstat},
    io::Errno,
};
use sharekaro_proto::wire::EntryKind;

use super::{Listed, read_listing};
use crate::files::{
    Error, FileName,
    dir::{Dir, file_type},
};

/// What became of a transfer that was taken back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Undone {
    /// Files and links that are gone now.
    pub removed: u64,
    /// Files and links that are no longer what was received, from the destination on.
    pub spared: Vec<PathBuf>,
}

/// Removes what a listing names and nobody changed since. What is gone already is not an error; a folder goes when
/// nothing is left in it.
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
            folders.push(listed.names.join(&b'/'));
            continue;
        }
        match take_back(&dir, &listed).map_err(Error::on("remove", listed.path().display()))? {
            Some(true) => undone.removed += 1,
            Some(false) => undone.spared.push(listed.path()),
            None => {}
        }
    }
    // A folder stands before what is in it.
    for path in folders.iter().rev() {
        let names: Vec<_> = path.split(|byte| *byte == b'/').filter_map(|name| FileName::parse(name).ok()).collect();
        remove_if_empty(&dir, &names).map_err(Error::on("remove a folder in", destination.display()))?;
    }
    Ok(undone)
}

/// Whether it was removed; `None` where it was gone already.
fn take_back(dir: &Dir, listed: &Listed) -> io::Result<Option<bool>> {
    let names = listed.parsed();
    let Some((name, above)) = names.split_last() else { return Ok(None) };
    let folder = match dir.descend(above) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        // Somebody put a link or a file where our folder was.
        Err(e) if matches!(Errno::from_io_error(&e), Some(Errno::NOTDIR | Errno::LOOP)) => return Ok(Some(false)),
        other => other?,
    };
    match folder.find(name)? {
        None => Ok(None),
        Some(stat) if is_untouched(&stat, listed) => despite_mode(&folder, || folder.remove(name)).map(|()| Some(true)),
        Some(_) => Ok(Some(false)),
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
