//! One look at what was dropped: what it is, and a print by which a later look tells whether it is still the same.

use std::io;

use rustix::{
    fs::{Access, AtFlags, FileType, Stat, accessat},
    io::Errno,
};

use super::{FileId, names};
use crate::files::{
    FileName,
    dir::{Dir, file_type},
};

/// By what a file or a whole folder is recognised: the BLAKE3 hash, cut to 16 bytes, over kind, size and time of the
/// last change of content, for a folder also over the names in it. Not over its own name, its inode and the time of a
/// change of mode, so that a file that is renamed, or lies on a medium that was put back, stays the same.
pub type Print = [u8; 16];

/// A deeper folder is not looked into: the walk that sends it leaves it out and says so.
const DEPTH_MAX: u32 = 256;

/// What a name stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A device, pipe or socket.
    Special,
}

impl Kind {
    /// What was looked at.
    pub(super) fn of(stat: &Stat) -> Self {
        match file_type(stat) {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Folder,
            FileType::Symlink => Self::Link,
            _ => Self::Special,
        }
    }
}

/// What a look saw.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// What it is.
    pub kind: Kind,
    /// By what it is recognised.
    pub print: Print,
    /// The number of the file or folder itself.
    pub ino: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Regular files in it; 1 for a file.
    pub files: u64,
    /// A name in it, or beside it, that says that it is not finished.
    pub unfinished: Option<String>,
    /// When the content of a file of it changed last: milliseconds since 1970, whole seconds; `i64::MIN` without files.
    pub changed_ms: i64,
    /// Whether we may read it: of a folder, whether we may list it.
    pub readable: bool,
}

/// Looks at a name in a folder; `None` where nothing has it. The files behind it are added to `files`.
pub(super) fn look(dir: &Dir, name: &FileName, files: &mut Vec<FileId>) -> io::Result<Option<Seen>> {
    let Some(stat) = dir.find(name)? else { return Ok(None) };
    let mut tally = Tally { hasher: blake3::Hasher::new(), bytes: 0, count: 0, unfinished: None, changed_ms: i64::MIN, files };
    tally.entry(b"", &stat);
    let kind = Kind::of(&stat);
    let mut readable = true;
    match kind {
        Kind::File => {
            readable = accessat(dir, name.as_bytes(), Access::READ_OK, AtFlags::EACCESS).is_ok();
            if stat.st_size == 0 {
                tally.unfinished = names::while_downloading(name).find(|it| matches!(dir.find(it), Ok(Some(_)))).map(|it| it.to_string());
            }
        }
        Kind::Folder => readable = tally.folder(dir, name, 0)?,
        Kind::Link | Kind::Special => {}
    }
    let mut print = Print::default();
    tally.hasher.finalize_xof().fill(&mut print);
    Ok(Some(Seen {
        kind,
        print,
        ino: stat.st_ino,
        bytes: tally.bytes,
        files: tally.count,
        unfinished: tally.unfinished,
        changed_ms: tally.changed_ms,
        readable,
    }))
}

/// What a look adds up.
struct Tally<'f> {
    hasher: blake3::Hasher,
    bytes: u64,
    count: u64,
    unfinished: Option<String>,
    changed_ms: i64,
    files: &'f mut Vec<FileId>,
}

impl Tally<'_> {
    fn entry(&mut self, name: &[u8], stat: &Stat) {
        let kind = file_type(stat);
        let (size, mtime) = if kind == FileType::Directory { (0, 0) } else { (stat.st_size, stat.st_mtime) };
        let nanos = if kind == FileType::Directory { 0 } else { stat.st_mtime_nsec };
        self.hasher.update(&(name.len() as u64).to_le_bytes()).update(name);
        self.hasher.update(&(kind.as_raw_mode()).to_le_bytes()).update(&size.to_le_bytes());
        self.hasher.update(&mtime.to_le_bytes()).update(&nanos.to_le_bytes());
        if kind == FileType::RegularFile {
            self.changed_ms = self.changed_ms.max(stat.st_mtime.saturating_mul(1_000));
            self.bytes = self.bytes.saturating_add(u64::try_from(stat.st_size).unwrap_or(0));
            self.count += 1;
            self.files.push(FileId { dev: stat.st_dev, ino: stat.st_ino });
        }
    }

    /// Whether it could be listed. What goes away while we look is seen as gone.
    fn folder(&mut self, dir: &Dir, name: &FileName, depth: u32) -> io::Result<bool> {
        let listed = dir.folder(name).and_then(|folder| Ok((folder.names()?, folder)));
        let (names, folder) = match listed {
            Ok(listed) => listed,
            Err(e) if Errno::from_io_error(&e) == Some(Errno::MFILE) => return Err(e),
            Err(_) => return Ok(false),
        };
        for inner in names {
            let Ok(stat) = folder.stat(&inner) else { continue };
            self.entry(inner.as_bytes(), &stat);
            if names::is_downloading(&inner) && self.unfinished.is_none() {
                self.unfinished = Some(inner.to_string());
            }
            if file_type(&stat) == FileType::Directory && depth < DEPTH_MAX {
                self.folder(&folder, &inner, depth + 1)?;
                self.hasher.update(b"/"); // where the folder ends
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, time::SystemTime};

    use super::*;

    fn seen(dir: &Path, name: &str) -> Seen {
        look(&Dir::open(dir).unwrap(), &FileName::parse(name.as_bytes()).unwrap(), &mut Vec::new()).unwrap().unwrap()
    }

    fn touch(path: &Path, seconds: u64) {
        let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        fs::File::options().write(true).open(path).unwrap().set_modified(at).unwrap();
    }

    #[test]
    fn a_print_changes_with_the_content_and_not_with_the_name() {
        let temp = tempfile::tempdir().unwrap();
        let (one, two) = (temp.path().join("one"), temp.path().join("two"));
        fs::write(&one, "abc").unwrap();
        touch(&one, 1_000);
        let before = seen(temp.path(), "one");

        fs::rename(&one, &two).unwrap();
        fs::set_permissions(&two, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        assert_eq!(seen(temp.path(), "two").print, before.print);

        touch(&two, 1_001);
        assert_ne!(seen(temp.path(), "two").print, before.print);
        fs::write(&two, "abcd").unwrap();
        touch(&two, 1_000);
        assert_ne!(seen(temp.path(), "two").print, before.print);
    }

    #[test]
    fn a_folder_is_the_same_as_long_as_all_in_it_is() {
        let temp = tempfile::tempdir().unwrap();
        let tree = temp.path().join("tree");
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::write(tree.join("a/b/f"), "abc").unwrap();
        let before = seen(temp.path(), "tree");
        assert_eq!((before.kind, before.files, before.bytes), (Kind::Folder, 1, 3));
        assert_eq!(seen(temp.path(), "tree").print, before.print);

        fs::rename(tree.join("a/b/f"), tree.join("a/f")).unwrap();
        assert_ne!(seen(temp.path(), "tree").print, before.print);
        fs::rename(tree.join("a/f"), tree.join("a/b/f")).unwrap();
        assert_eq!(seen(temp.path(), "tree").print, before.print);
        fs::create_dir(tree.join("a/c")).unwrap();
        assert_ne!(seen(temp.path(), "tree").print, before.print);
    }

    #[test]
    fn a_download_under_way_is_seen_beside_and_inside() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("x.iso"), "").unwrap();
        assert_eq!(seen(temp.path(), "x.iso").unfinished, None);
        fs::write(temp.path().join("x.iso.part"), "half").unwrap();
        fs::create_dir_all(temp.path().join("tree/deep")).unwrap();
        fs::write(temp.path().join("tree/deep/y.crdownload"), "half").unwrap();

        assert_eq!(seen(temp.path(), "x.iso").unfinished.as_deref(), Some("x.iso.part"));
        assert_eq!(seen(temp.path(), "tree").unfinished.as_deref(), Some("y.crdownload"));
    }
}
