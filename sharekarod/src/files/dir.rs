//! A folder held open, and what can be done beneath it.
//!
//! Every look-up goes through the kernel's own guard (`openat2`): beneath this folder, through no symbolic link and no
//! magic link. Whoever swaps a folder for a link in between gets an error, never a file elsewhere.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{self, AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat},
    io::Errno,
};

use super::FileName;

/// A longer path is looked up in several steps: the kernel takes 4,096 bytes with the NUL.
const PATH_STEP: usize = 4000;

/// So deep a tree is removed; deeper than any that we make, so somebody else made it.
const REMOVE_DEPTH_MAX: u32 = 400;

const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// Opening a pipe that somebody put there never blocks, a terminal never becomes ours.
const QUIET: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// A folder held open. It stays the same folder wherever it is moved.
#[derive(Debug)]
pub struct Dir(OwnedFd);

impl Dir {
    /// The folder at a path of our own; links in it are followed.
    ///
    /// # Errors
    /// Where there is none, or it may not be listed.
    pub fn open(dir_path: &Path) -> io::Result<Self> {
        Ok(Self(fs::open(dir_path, FOLDER, Mode::empty())?))
    }

    /// A folder in this one.
    ///
    /// # Errors
    /// Where there is none, it is a link, or it may not be listed.
    pub fn folder(&self, name: &FileName) -> io::Result<Self> {
        Ok(Self(fs::openat2(&self.0, name.as_bytes(), FOLDER | OFlags::NOFOLLOW, Mode::empty(), BENEATH)?))
    }

    /// Whether the folder of this name is another mount, even of the same file system: no rename reaches into it.
    pub fn is_mount(&self, name: &FileName) -> bool {
        let here = BENEATH.union(ResolveFlags::NO_XDEV);
        matches!(
            fs::openat2(&self.0, name.as_bytes(), OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty(), here),
            Err(Errno::XDEV)
        )
    }

    /// A folder some names further down; this one where there are none.
    ///
    /// # Errors
    /// As `folder`.
    pub fn descend<'a>(&self, names: impl IntoIterator<Item = &'a FileName>) -> io::Result<Self> {
        let (mut at, mut path) = (Self(self.0.try_clone()?), Vec::new());
        for name in names {
            if path.len() + name.as_bytes().len() > PATH_STEP {
                at = at.jump(&path)?;
                path.clear();
            }
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name.as_bytes());
        }
        if path.is_empty() { Ok(at) } else { at.jump(&path) }
    }

    fn jump(&self, path: &[u8]) -> io::Result<Self> {
        Ok(Self(fs::openat2(&self.0, path, FOLDER | OFlags::NOFOLLOW, Mode::empty(), BENEATH)?))
    }

    /// Makes a folder in this one; already so is not an error. What may not be opened by us could not be filled.
    ///
    /// # Errors
    /// Where something else has the name, or the kernel refuses.
    pub fn make_folder(&self, name: &FileName, mode: u32) -> io::Result<Self> {
        match fs::mkdirat(&self.0, name.as_bytes(), Mode::from_raw_mode(mode & 0o777 | 0o700)) {
            Ok(()) | Err(Errno::EXIST) => self.folder(name),
            Err(e) => Err(e.into()),
        }
    }

    /// Makes a folder in this one that was not there.
    ///
    /// # Errors
    /// `AlreadyExists` where the name is taken by anything at all.
    pub fn make_new_folder(&self, name: &FileName, mode: u32) -> io::Result<Self> {
        fs::mkdirat(&self.0, name.as_bytes(), Mode::from_raw_mode(mode & 0o777 | 0o700))?;
        self.folder(name)
    }

    /// Gives the owner of a folder in this one all rights to it, and returns the mode that it had, where it lacked some.
    ///
    /// # Errors
    /// Where there is none, it is a link, or somebody else's.
    pub fn open_up(&self, name: &FileName) -> io::Result<Option<Mode>> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = fs::openat2(&self.0, name.as_bytes(), flags, Mode::empty(), BENEATH)?;
        let mode = Mode::from_raw_mode(fs::fstat(&folder)?.st_mode);
        if mode.contains(Mode::RWXU) {
            return Ok(None);
        }
        // who may not list it cannot open it either, but for its path; and such a one is changed by its name in /proc alone
        fs::chmod(format!("/proc/self/fd/{}", folder.as_raw_fd()), mode | Mode::RWXU)?;
        Ok(Some(mode))
    }

    /// A file in this folder, opened for reading. What it is must be asked of the file.
    ///
    /// # Errors
    /// Where there is none, or it is a link.
    pub fn read(&self, name: &FileName) -> io::Result<File> {
        self.file(name, OFlags::RDONLY, 0)
    }

    /// A new file in this folder, for reading and writing.
    ///
    /// # Errors
    /// `AlreadyExists` where the name is taken by anything at all.
    pub fn create(&self, name: &FileName, mode: u32) -> io::Result<File> {
        self.file(name, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL, mode & 0o777)
    }

    /// A file in this folder, for reading and writing, made where there is none.
    ///
    /// # Errors
    /// Where it is a link, or the kernel refuses.
    pub fn open_or_create(&self, name: &FileName, mode: u32) -> io::Result<File> {
        self.file(name, OFlags::RDWR | OFlags::CREATE, mode & 0o777)
    }

    fn file(&self, name: &FileName, flags: OFlags, mode: u32) -> io::Result<File> {
        Ok(fs::openat2(&self.0, name.as_bytes(), flags | QUIET, Mode::from_raw_mode(mode), BENEATH)?.into())
    }

    /// What has the name: a link itself, not what it points to.
    ///
    /// # Errors
    /// `NotFound` where nothing has it.
    pub fn stat(&self, name: &FileName) -> io::Result<Stat> {
        Ok(fs::statat(&self.0, name.as_bytes(), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// As `stat`; `None` where nothing has the name.
    ///
    /// # Errors
    /// Where the kernel cannot tell.
    pub fn find(&self, name: &FileName) -> io::Result<Option<Stat>> {
        match self.stat(name) {
            Ok(stat) => Ok(Some(stat)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The names in this folder, sorted by their bytes.
    ///
    /// # Errors
    /// Where it cannot be listed.
    pub fn names(&self) -> io::Result<Vec<FileName>> {
        let mut names = Vec::new();
        for entry in fs::Dir::read_from(&self.0)? {
            // `.` and `..` are no names.
            names.extend(FileName::parse(entry?.file_name().to_bytes()));
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Removes a file or link. Already so is not an error.
    ///
    /// # Errors
    /// Where it is a folder, or the kernel refuses.
    pub fn remove(&self, name: &FileName) -> io::Result<()> {
        gone_is_fine(fs::unlinkat(&self.0, name.as_bytes(), AtFlags::empty()))
    }

    /// Removes an empty folder. Already so is not an error.
    ///
    /// # Errors
    /// `DirectoryNotEmpty` where it is not empty.
    pub fn remove_folder(&self, name: &FileName) -> io::Result<()> {
        gone_is_fine(fs::unlinkat(&self.0, name.as_bytes(), AtFlags::REMOVEDIR))
    }

    /// Removes what has the name and all that is in it, and nothing elsewhere, whoever swaps what meanwhile.
    ///
    /// # Errors
    /// Where the kernel refuses; then some of it is gone.
    pub fn remove_tree(&self, name: &FileName) -> io::Result<()> {
        self.remove_deep(name, 0)
    }

    fn remove_deep(&self, name: &FileName, depth: u32) -> io::Result<()> {
        match fs::unlinkat(&self.0, name.as_bytes(), AtFlags::empty()) {
            Err(Errno::ISDIR | Errno::PERM) if depth < REMOVE_DEPTH_MAX => {}
            other => return gone_is_fine(other),
        }
        let folder = match self.folder(name) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        for inner in folder.names()? {
            folder.remove_deep(&inner, depth + 1)?;
        }
        self.remove_folder(name)
    }

    /// Makes the names in this folder durable.
    ///
    /// # Errors
    /// The disk.
    pub fn sync(&self) -> io::Result<()> {
        match fs::fsync(&self.0) {
            // Some network and FUSE file systems have nothing to sync in a folder.
            Err(Errno::INVAL | Errno::NOTSUP) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Makes everything on this folder's file system durable.
    ///
    /// # Errors
    /// The disk, also for what was written before and failed meanwhile.
    pub fn sync_all(&self) -> io::Result<()> {
        Ok(fs::syncfs(&self.0)?)
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What a name stands for.
pub fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn gone_is_fine(result: rustix::io::Result<()>) -> io::Result<()> {
    match result {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn name(text: &str) -> FileName {
        FileName::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn nothing_is_found_through_a_link() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(temp.path().join("outside/inner")).unwrap();
        std::fs::write(temp.path().join("outside/secret"), "s").unwrap();
        std::fs::create_dir(temp.path().join("cage")).unwrap();
        symlink("../outside", temp.path().join("cage/folder")).unwrap();
        symlink("../outside/secret", temp.path().join("cage/file")).unwrap();
        let cage = Dir::open(&temp.path().join("cage")).unwrap();

        assert!(cage.folder(&name("folder")).is_err());
        assert!(cage.make_folder(&name("folder"), 0o700).is_err());
        assert!(cage.descend(&[name("folder"), name("inner")]).is_err());
        assert!(cage.read(&name("file")).is_err());
        assert!(cage.open_or_create(&name("file"), 0o600).is_err());
        assert!(cage.create(&name("file"), 0o600).is_err());
    }

    #[test]
    fn removing_a_tree_never_follows_a_link() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(temp.path().join("outside")).unwrap();
        std::fs::write(temp.path().join("outside/canary"), "alive").unwrap();
        std::fs::create_dir_all(temp.path().join("tree/a/b")).unwrap();
        std::fs::write(temp.path().join("tree/a/b/file"), "x").unwrap();
        symlink("../../outside", temp.path().join("tree/a/link")).unwrap();
        let dir = Dir::open(temp.path()).unwrap();

        dir.remove_tree(&name("tree")).unwrap();
        dir.remove_tree(&name("tree")).unwrap();

        assert!(!temp.path().join("tree").exists());
        assert_eq!(std::fs::read(temp.path().join("outside/canary")).unwrap(), b"alive");
    }

    #[test]
    fn a_path_longer_than_the_kernel_takes_is_walked_in_steps() {
        let temp = tempfile::tempdir().unwrap();
        let names: Vec<_> = (0..30).map(|_| name(&"n".repeat(250))).collect();
        let mut at = Dir::open(temp.path()).unwrap();
        for name in &names {
            at = at.make_folder(name, 0o755).unwrap();
        }
        at.create(&name("here"), 0o644).unwrap();

        let found = Dir::open(temp.path()).unwrap().descend(&names).unwrap();

        assert_eq!(found.names().unwrap(), [name("here")]);
        Dir::open(temp.path()).unwrap().remove_tree(&names[0]).unwrap();
    }
}
