//! How a file of the source is found again: from what a person named, one name after the other, through no link.

use std::{fs::File, io, path::Path, sync::Arc};

use rustix::{
    fs::{self, FileType, Mode, OFlags},
    io::Errno,
};

use super::{HashKey, SourceError, SourceTree};
use crate::files::{
    Item,
    dir::{Dir, file_type},
};

impl SourceTree {
    /// The file, kept open for the next piece.
    pub(super) fn file(&self, no: u32, key: &HashKey) -> Result<Arc<File>, SourceError> {
        if let Some(file) = self.files.get(no) {
            return Ok(file);
        }
        let item = self.manifest.get(no)?;
        if !item.is_file() {
            return Err(SourceError::NoSuch(no));
        }
        Ok(self.files.put(no, self.open_file(no, &item, key)?))
    }

    /// The file, once it is known to be what it was.
    pub(super) fn open_file(&self, no: u32, item: &Item, key: &HashKey) -> Result<File, SourceError> {
        let opened = match item.parent {
            0 => open_top(self.tops.get(no).ok_or(SourceError::NoSuch(no))?),
            parent => self.folder(parent).and_then(|folder| folder.read(&item.name)),
        };
        let file = opened.map_err(|source| {
            self.folders.forget_all();
            self.unreadable(no, source)
        })?;
        self.unchanged(&file, no, key)?;
        Ok(file)
    }

    /// Whether the open file is still what was walked.
    pub(super) fn unchanged(&self, file: &File, no: u32, key: &HashKey) -> Result<(), SourceError> {
        let stat = fs::fstat(file).map_err(|e| self.unreadable(no, e.into()))?;
        match HashKey::of(&stat).is_same_state(key) && file_type(&stat) == FileType::RegularFile {
            true => Ok(()),
            false if stat.st_nlink == 0 => Err(self.unreadable(no, Errno::NOENT.into())),
            false => Err(SourceError::Changed(no)),
        }
    }

    fn folder(&self, no: u32) -> io::Result<Arc<Dir>> {
        if let Some(folder) = self.folders.get(no) {
            return Ok(folder);
        }
        let item = self.manifest.get(no).map_err(io::Error::other)?;
        let folder = match item.parent {
            0 => Dir::open(self.tops.get(no).ok_or(Errno::NOENT)?)?,
            parent => self.folder(parent)?.folder(&item.name)?,
        };
        Ok(self.folders.put(no, folder))
    }

    /// What it means that the kernel refused to open or read an entry.
    pub(super) fn unreadable(&self, no: u32, source: io::Error) -> SourceError {
        match self.is_away(no) {
            Ok(Some(path)) => return SourceError::Away(path.to_owned()),
            Ok(None) => {}
            Err(e) => return e,
        }
        match Errno::from_io_error(&source) {
            Some(Errno::NOENT | Errno::NOTDIR | Errno::STALE) => SourceError::Vanished(no),
            // It became a link, a pipe or a folder.
            Some(Errno::LOOP | Errno::NXIO | Errno::ISDIR | Errno::XDEV) => SourceError::Changed(no),
            _ => SourceError::Unreadable { no, source },
        }
    }

    /// What a person named, where that is not there now. A single file that is missing from a folder that is still there,
    /// on the same file system, was removed; of a folder that cannot be told, and it is taken as away.
    fn is_away(&self, no: u32) -> Result<Option<&Path>, SourceError> {
        let mut top = no;
        let mut parent = self.manifest.get(no)?.parent;
        while parent != 0 {
            top = parent;
            parent = self.manifest.get(top)?.parent;
        }
        let path = self.tops.get(top).ok_or(SourceError::NoSuch(no))?;
        let dev = self.key(top)?.dev;
        let removed = || top == no && path.parent().and_then(|above| fs::stat(above).ok()).is_some_and(|above| above.st_dev == dev);
        let is_there = match fs::stat(path) {
            // An empty mount point is not the medium.
            Ok(stat) => top == no || stat.st_dev == dev,
            Err(_) => false,
        };
        Ok(if is_there || removed() { None } else { Some(path) })
    }
}

/// What a person named is followed where it is a link, as its content is meant; whether it is still the same is seen
/// by its key.
fn open_top(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(fs::open(path, flags, Mode::empty())?.into())
}
