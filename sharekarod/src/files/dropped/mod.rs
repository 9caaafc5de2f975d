//! What people put into a drop folder: found, looked at, and filed away once it was sent.
//!
//! Everything is reached beneath the folder held open and through no link; a folder that others may write to is never
//! used. Nothing here decides what is sent.

mod filing;
mod look;
mod names;
mod removal;

use std::{
    io,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FileType, Mode, fstat, mkdir},
    io::Errno,
    process::geteuid,
};

pub use self::{
    filing::{FAILED, FilingError, SENT, WAITING, is_ours},
    look::{Kind, Print, Seen},
    names::{is_hidden, unfinished},
    removal::Removal,
};
pub use super::writers::{FileId, Holders, held_open};
use super::{
    FileName,
    dir::{Dir, file_type},
};

/// Others may not write to it: neither its group nor the world.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Why a drop folder, or a folder in it, is not used.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// It is not there.
    #[error("it is not there: {0}")]
    Missing(io::Error),
    /// Others may write to it, and could have us send what they like.
    #[error("others may write to it (mode {0:o})")]
    Writable(u32),
    /// It is somebody else's.
    #[error("it belongs to another user (uid {0})")]
    Foreign(u32),
    /// It is a link, which could lead anywhere.
    #[error("it is a link, and links are not followed")]
    Link,
}

impl Trouble {
    /// The same once more: an error of the kernel is not copied as it is.
    pub fn again(&self) -> Self {
        match self {
            Self::Missing(e) => Self::Missing(io::Error::new(e.kind(), e.to_string())),
            Self::Writable(mode) => Self::Writable(*mode),
            Self::Foreign(uid) => Self::Foreign(*uid),
            Self::Link => Self::Link,
        }
    }

    /// Whether it is there and must not be used.
    pub fn is_unsafe(&self) -> bool {
        !matches!(self, Self::Missing(_))
    }
}

/// A drop folder held open.
#[derive(Debug)]
pub struct DropDir {
    dir: Dir,
    path: PathBuf,
}

impl DropDir {
    /// The drop folder at this path, made where it is missing and its parent is there: on a medium that is not mounted
    /// nothing is made.
    ///
    /// # Errors
    /// It is missing and cannot be made, or must not be used.
    pub fn open_or_make(path: &Path) -> Result<Self, Trouble> {
        match mkdir(path, Mode::from_raw_mode(0o700)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(Trouble::Missing(e.into())),
        }
        Self::open(path)
    }

    /// The drop folder at this path.
    ///
    /// # Errors
    /// It is missing, or must not be used.
    pub fn open(path: &Path) -> Result<Self, Trouble> {
        let path = path.canonicalize().map_err(Trouble::Missing)?;
        let dir = Dir::open(&path).map_err(Trouble::Missing)?;
        guard(&dir)?;
        Ok(Self { dir, path })
    }

    /// Its path without links, as long as nobody moves it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a folder in it, for us alone. Already so is not an error.
    ///
    /// # Errors
    /// Something else has the name, or it must not be used.
    pub fn make_folder(&self, name: &FileName) -> Result<(), Trouble> {
        match self.dir.find(name).map_err(Trouble::Missing)? {
            Some(stat) if file_type(&stat) == FileType::Symlink => Err(Trouble::Link),
            _ => guard(&self.dir.make_folder(name, 0o700).map_err(Trouble::Missing)?),
        }
    }

    /// Removes a folder in it where nothing is in it.
    pub fn remove_if_empty(&self, name: &FileName) {
        if let Err(e) = self.dir.remove_folder(name) {
            tracing::debug!("{name} stays: {e}");
        }
    }

    /// Whether anything at all has this name at its top.
    pub fn holds(&self, name: &FileName) -> bool {
        matches!(self.dir.find(name), Ok(Some(_)))
    }

    /// Whether this is a folder at its top with nothing in it, hidden or not.
    pub fn is_empty(&self, name: &FileName) -> bool {
        self.folder(name).is_ok_and(|folder| folder.names().is_ok_and(|names| names.is_empty()))
    }

    /// What is in it, or in a folder of it: names that are not hidden, nor ours.
    ///
    /// # Errors
    /// The folder is missing or must not be used.
    pub fn list(&self, folder: Option<&FileName>) -> Result<Vec<(FileName, Kind)>, Trouble> {
        let inner = folder.map(|name| self.folder(name)).transpose()?;
        let dir = inner.as_ref().unwrap_or(&self.dir);
        let names = dir.names().map_err(Trouble::Missing)?.into_iter();
        let shown = names.filter(|name| !is_hidden(name) && (folder.is_some() || !is_ours(name)));
        Ok(shown.filter_map(|name| Some((Kind::of(&dir.find(&name).ok()??), name))).map(|(kind, name)| (name, kind)).collect())
    }

    /// What stands at a place, as it is now. The files in it are added to `files`.
    ///
    /// # Errors
    /// The folder that it is in is missing or must not be used.
    pub fn look(&self, place: &Path, files: &mut Vec<FileId>) -> Result<Option<Seen>, Trouble> {
        let (above, name) = self.above(place)?;
        look::look(&above, &name, files).map_err(Trouble::Missing)
    }

    /// Where a file or folder with this number is now, among its brothers in a folder of this drop folder.
    pub fn find_ino(&self, folder: &Path, ino: u64) -> Option<PathBuf> {
        let (dir, _) = self.above(&folder.join("x")).ok()?;
        let names = dir.names().ok()?;
        let name = names.into_iter().find(|name| matches!(dir.find(name), Ok(Some(stat)) if stat.st_ino == ino))?;
        Some(folder.join(name.as_os_str()))
    }

    /// The folder that a place is in, and its name there.
    fn above(&self, place: &Path) -> Result<(Dir, FileName), Trouble> {
        let mut names: Vec<FileName> = names_of(place);
        let name = names.pop().ok_or_else(|| Trouble::Missing(Errno::NOENT.into()))?;
        let mut at = self.dir.descend([]).map_err(Trouble::Missing)?;
        for folder in &names {
            at = guarded(&at, folder)?;
        }
        Ok((at, name))
    }

    fn folder(&self, name: &FileName) -> Result<Dir, Trouble> {
        guarded(&self.dir, name)
    }
}

/// The names of a path that is relative and stays below.
fn names_of(place: &Path) -> Vec<FileName> {
    place.iter().filter_map(|name| FileName::parse(name.as_encoded_bytes()).ok()).collect()
}

/// A folder in a folder, if it may be used.
fn guarded(dir: &Dir, name: &FileName) -> Result<Dir, Trouble> {
    let folder = dir.folder(name).map_err(|e| match dir.find(name) {
        Ok(Some(stat)) if file_type(&stat) == FileType::Symlink => Trouble::Link,
        _ => Trouble::Missing(e),
    })?;
    guard(&folder)?;
    Ok(folder)
}

/// Refuses a folder that somebody else may put things into.
fn guard(dir: &Dir) -> Result<(), Trouble> {
    let stat = fstat(dir).map_err(|e| Trouble::Missing(e.into()))?;
    if stat.st_uid != geteuid().as_raw() {
        return Err(Trouble::Foreign(stat.st_uid));
    }
    if stat.st_mode & WRITABLE_BY_OTHERS != 0 {
        return Err(Trouble::Writable(stat.st_mode & 0o7777));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::{PermissionsExt, symlink},
    };

    use super::*;

    fn name(text: &str) -> FileName {
        FileName::parse(text.as_bytes()).unwrap()
    }

    fn opened() -> (tempfile::TempDir, PathBuf, DropDir) {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("Drop");
        let dir = DropDir::open_or_make(&path).unwrap();
        (temp, path, dir)
    }

    #[test]
    fn what_others_may_write_to_is_refused() {
        let (_temp, path, dir) = opened();
        dir.make_folder(&name("bob")).unwrap();
        fs::write(path.join("bob/f"), "x").unwrap();

        for (loose, mode) in [("bob", 0o770), ("bob", 0o702), ("", 0o777), ("", 0o730)] {
            fs::set_permissions(path.join(loose), Permissions::from_mode(mode)).unwrap();
            let refused = DropDir::open(&path).and_then(|dir| dir.look(Path::new("bob/f"), &mut Vec::new()).map(drop));
            assert!(matches!(refused, Err(Trouble::Writable(it)) if it == mode), "{loose} {mode:o}: {refused:?}");
            fs::set_permissions(path.join(loose), Permissions::from_mode(0o755)).unwrap();
        }
        assert!(DropDir::open(&path).unwrap().look(Path::new("bob/f"), &mut Vec::new()).unwrap().is_some());
    }

    #[test]
    fn a_folder_that_became_a_link_is_not_entered() {
        let (temp, path, dir) = opened();
        fs::create_dir(temp.path().join("private")).unwrap();
        fs::write(temp.path().join("private/key"), "secret").unwrap();
        symlink(temp.path().join("private"), path.join("bob")).unwrap();

        assert!(matches!(dir.list(Some(&name("bob"))), Err(Trouble::Link)));
        assert!(matches!(dir.look(Path::new("bob/key"), &mut Vec::new()), Err(Trouble::Link)));
        assert!(matches!(dir.make_folder(&name("bob")), Err(Trouble::Link)));
    }

    #[test]
    fn a_list_has_what_people_put_there_and_nothing_of_ours() {
        let (_temp, path, dir) = opened();
        for folder in [SENT, FAILED, "bob", ".git"] {
            fs::create_dir(path.join(folder)).unwrap();
        }
        for file in [WAITING, "note.txt", ".hidden", "bob/Sent"] {
            fs::write(path.join(file), "").unwrap();
        }

        let names = |folder| dir.list(folder).unwrap().into_iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>();

        assert_eq!(names(None), ["bob", "note.txt"]);
        assert_eq!(names(Some(&name("bob"))), ["Sent"]);
    }

    #[test]
    fn on_a_medium_that_is_not_there_nothing_is_made() {
        let temp = tempfile::tempdir().unwrap();

        let refused = DropDir::open_or_make(&temp.path().join("stick/Drop"));

        assert!(matches!(refused, Err(Trouble::Missing(_))));
        assert!(!temp.path().join("stick").exists());
    }
}
