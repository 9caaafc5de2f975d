//! What an entry is called in the cage: its own name where the file system takes it, else one as close as possible.

use std::{io, sync::PoisonError};

use rustix::io::Errno;

use super::Staging;
use crate::files::{Error, FileName, Item, dir::Dir};

/// After so many names that are taken, something else is wrong.
const TRIES: u32 = 1000;

/// Whether a file system takes two names for the same that differ only in case or composition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Folding {
    /// Names are bytes: whoever has our name is ours.
    Exact,
    /// Somebody else may have our name.
    Folds,
}

/// Finds out by trying.
pub(super) fn probe(home: &Dir) -> Result<Folding, Error> {
    let trying = |e| Error::at("try names in", "the cage", e);
    let name = FileName::own("sharekaro-case-probe");
    drop(home.open_or_create(&name, 0o600).map_err(trying)?);
    let folds = home.find(&FileName::own("SHAREKARO-case-PROBE")).map_err(trying)?.is_some();
    home.remove(&name).map_err(trying)?;
    Ok(if folds { Folding::Folds } else { Folding::Exact })
}

/// Something that has the name already, or was made now.
pub(super) enum Made<T> {
    /// New.
    Fresh(T),
    /// It was here: left by an earlier try for the same entry.
    Left(FileName),
}

impl Staging {
    /// Makes an entry in its folder, under the first name that is taken by the file system and by nobody else.
    pub(super) fn make<T>(&self, no: u32, item: &Item, folder: &Dir, make: impl Fn(&FileName) -> io::Result<T>) -> Result<Made<T>, Error> {
        let mut name = self.name(no, item);
        for number in 2..TRIES {
            let error = match make(&name) {
                Ok(made) => return Ok(Made::Fresh(made)),
                Err(error) => error,
            };
            name = match Errno::from_io_error(&error) {
                Some(Errno::EXIST) if self.is_ours(folder, &name)? => return Ok(Made::Left(name)),
                Some(Errno::EXIST) => item.name.numbered(number),
                Some(Errno::INVAL | Errno::NAMETOOLONG | Errno::ILSEQ) if number == 2 => item.name.portable(),
                Some(Errno::INVAL | Errno::NAMETOOLONG | Errno::ILSEQ) => item.name.portable().numbered(number),
                Some(Errno::FBIG) => return Err(Error::Unstorable(no)),
                _ => return Err(Error::at("make entry", format_args!("{no} ({})", item.name), error)),
            };
            self.note_name(no, &name)?;
        }
        Err(Error::Unstorable(no))
    }

    /// The folder that an entry lies in, made where it is not there yet.
    pub(super) fn parent(&self, item: &Item) -> Result<std::sync::Arc<Dir>, Error> {
        if let Some(folder) = self.folders.get(item.parent) {
            return Ok(folder);
        }
        if item.parent == 0 {
            let tree = self.tree.descend([]).map_err(Error::on("open", "the tree"))?;
            return Ok(self.folders.put(0, tree));
        }
        let above = self.manifest.get(item.parent)?;
        let folder = self.parent(&above)?;
        let made = self.make(item.parent, &above, &folder, |name| folder.make_new_folder(name, above.mode))?;
        let opened = match made {
            Made::Fresh(opened) => opened,
            Made::Left(name) => folder.folder(&name).map_err(Error::on("open folder", &name))?,
        };
        Ok(self.folders.put(item.parent, opened))
    }

    fn note_name(&self, no: u32, name: &FileName) -> Result<(), Error> {
        let mut aliases = self.aliases.lock().unwrap_or_else(PoisonError::into_inner);
        aliases.note(no, name).map_err(Error::on("note the name of entry", no))
    }

    /// Whether what has the name got it from us: no two entries of a folder have the same bytes as a name.
    fn is_ours(&self, folder: &Dir, name: &FileName) -> Result<bool, Error> {
        match self.folding {
            Folding::Exact => Ok(true),
            Folding::Folds => Ok(folder.names().map_err(Error::on("list what is beside", name))?.contains(name)),
        }
    }
}
