//! Walks what is to be sent and writes its manifest.
//!
//! All entries of a folder stand together, then come its folders, one after the other: only one folder is open at a
//! time, and the receiver gets the files of a folder in a row. Nothing is opened that could block; links are recorded,
//! never followed, but for those that a person named.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::{
    fs::{self, Access, AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat},
    io::Errno,
};
use sharekaro_proto::{
    nouns::transfer::SkipReason,
    wire::{Entry, EntryKind},
};

use super::{
    SourceWriter, WalkError,
    exclude::{Exclude, IgnoreFiles},
    extents::has_holes,
    key::HashKey,
};
use crate::files::{
    FileName,
    dir::{Dir, file_type},
    manifest::{DEPTH_MAX, FILE_BYTES_MAX, PATH_BYTES_MAX, link_stays_inside},
    xattr,
};

/// So many things that were left out are told by name; of the others only how many they are.
pub const SKIPPED_MAX: usize = 10_000;

/// How often somebody who watches a walk hears of it, in entries.
const PROGRESS_STEP: u64 = 1000;

/// What to leave out and what to take along.
#[derive(Clone, Debug, Default)]
pub struct WalkOptions {
    /// Patterns of `--exclude`.
    pub exclude: Vec<String>,
    /// Whether `.gitignore` and `.ignore` files count.
    pub ignore_files: bool,
    /// Whether extended attributes (of users) travel.
    pub xattrs: bool,
    /// What is named lay in a drop folder: no link on the way to it is followed, and where it is gone it is left out.
    pub dropped: bool,
}

/// What a walk has found so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walked {
    /// Files.
    pub files: u64,
    /// Sum of their sizes.
    pub bytes: u64,
    /// Files, folders and links.
    pub entries: u64,
    /// What could not be taken along: the first `SKIPPED_MAX`, and before all others those that make a transfer a partial one.
    pub skipped: Vec<Skipped>,
    /// How many these are in all.
    pub skipped_count: u64,
}

/// Something of a tree that is not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// From the top of the transfer on.
    pub path: PathBuf,
    /// Why.
    pub reason: SkipReason,
}

/// Who watches a walk, and may end it.
pub struct Watch<'a> {
    /// Is told now and then what was found so far.
    pub progress: &'a mut dyn FnMut(&Walked),
    /// Ends the walk soon after it becomes true.
    pub cancel: &'a AtomicBool,
}

pub(super) struct Walk<'a, 'w> {
    pub(super) exclude: Exclude,
    pub(super) options: &'a WalkOptions,
    pub(super) sink: SourceWriter,
    pub(super) watch: Watch<'w>,
    pub(super) walked: Walked,
    /// How many of those that were skipped and are named do not make a transfer a partial one.
    pub(super) harmless: usize,
}

/// A folder that has its entry and was not looked into yet.
struct Pending {
    no: u32,
    depth: u16,
    /// From the top of the transfer on.
    path: PathBuf,
    ignored: Option<Arc<IgnoreFiles>>,
}

/// Something in a folder.
struct Found<'f> {
    name: FileName,
    stat: Stat,
    path: PathBuf,
    folder: &'f Dir,
}

impl Walk<'_, '_> {
    /// Walks one thing that a person named, under the name that it gets at the top.
    pub(super) fn top(&mut self, top_path: &Path, name: FileName) -> Result<(), WalkError> {
        let path = PathBuf::from(name.as_os_str());
        let stat = match self.named(top_path) {
            Ok(stat) => stat,
            Err(Errno::NOENT) if self.options.dropped && top_path.parent().is_some_and(Path::is_dir) => {
                return self.skip(path, SkipReason::Vanished);
            }
            Err(Errno::LOOP) if self.options.dropped => return self.skip(path, SkipReason::Link),
            Err(e) => return Err(WalkError::Missing { path: top_path.to_owned(), source: e.into() }),
        };
        let is_folder = file_type(&stat) == FileType::Directory;
        if self.exclude.matches(&path, is_folder) {
            return Ok(());
        }
        match file_type(&stat) {
            FileType::Directory if Dir::open(top_path).is_ok() => {
                let no = self.append(entry(0, &name, EntryKind::Folder, &stat), HashKey::of(&stat))?;
                self.sink.add_top(no, top_path);
                self.tree(top_path, Pending { no, depth: 1, path, ignored: None })
            }
            FileType::RegularFile if fs::accessat(CWD, top_path, Access::READ_OK, AtFlags::EACCESS).is_ok() => {
                let mut entry = entry(0, &name, EntryKind::File, &stat);
                self.look_into(&mut entry, &stat, || std::fs::File::open(top_path));
                let no = self.append(entry, HashKey::of(&stat))?;
                self.sink.add_top(no, top_path);
                Ok(())
            }
            FileType::Directory | FileType::RegularFile => self.skip(path, SkipReason::Unreadable),
            _ => self.skip(path, SkipReason::Special),
        }
    }

    /// What a person named. A link is followed, as its content is meant, but not out of a drop folder.
    fn named(&self, top_path: &Path) -> rustix::io::Result<Stat> {
        if !self.options.dropped {
            return fs::stat(top_path);
        }
        // without opening it: a pipe would block, a device might act
        let unlinked = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let handle = fs::openat2(CWD, top_path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty(), unlinked)?;
        fs::fstat(handle)
    }

    fn tree(&mut self, top_path: &Path, top: Pending) -> Result<(), WalkError> {
        let mut pending = vec![top];
        while let Some(at) = pending.pop() {
            // Opened by its way from the top each time, as a tree can be wider than the files that may be open.
            let listed = Dir::open(top_path).and_then(|top| top.descend(&below_top(&at.path))).and_then(|dir| Ok((dir.names()?, dir)));
            match listed {
                Ok((names, folder)) => {
                    let before = pending.len();
                    self.folder(&folder, names, &at, &mut pending)?;
                    pending.get_mut(before..).unwrap_or_default().reverse();
                }
                Err(_) => self.skip(at.path, SkipReason::Unreadable)?,
            }
        }
        Ok(())
    }

    fn folder(&mut self, folder: &Dir, names: Vec<FileName>, at: &Pending, pending: &mut Vec<Pending>) -> Result<(), WalkError> {
        let ignored = match self.options.ignore_files {
            true => IgnoreFiles::read(folder, &at.path, at.ignored.clone()),
            false => None,
        };
        for name in names {
            let path = at.path.join(name.as_os_str());
            let Ok(stat) = folder.stat(&name) else {
                // It was there when the folder was listed; gone a moment later means never there.
                continue;
            };
            let is_folder = file_type(&stat) == FileType::Directory;
            if self.exclude.matches(&path, is_folder) || ignored.as_ref().is_some_and(|files| files.matches(&path, is_folder)) {
                continue;
            }
            let found = Found { name, stat, path, folder };
            if is_folder {
                pending.extend(self.inner_folder(found, at, ignored.clone())?);
            } else {
                self.inner(found, at)?;
            }
        }
        Ok(())
    }

    fn inner_folder(&mut self, found: Found<'_>, at: &Pending, ignored: Option<Arc<IgnoreFiles>>) -> Result<Option<Pending>, WalkError> {
        let Found { name, stat, path, folder } = found;
        let fits = at.depth < DEPTH_MAX && path.as_os_str().len() < PATH_BYTES_MAX;
        if !fits || folder.folder(&name).is_err() {
            return self.skip(path, SkipReason::Unreadable).map(|()| None);
        }
        let no = self.append(entry(at.no, &name, EntryKind::Folder, &stat), HashKey::of(&stat))?;
        Ok(Some(Pending { no, depth: at.depth + 1, path, ignored }))
    }

    fn inner(&mut self, found: Found<'_>, at: &Pending) -> Result<(), WalkError> {
        let Found { name, stat, path, folder } = found;
        if path.as_os_str().len() >= PATH_BYTES_MAX || at.depth >= DEPTH_MAX {
            return self.skip(path, SkipReason::Unreadable);
        }
        match file_type(&stat) {
            FileType::RegularFile if is_readable(folder, &name, &stat) => {
                let mut entry = entry(at.no, &name, EntryKind::File, &stat);
                self.look_into(&mut entry, &stat, || folder.read(&name));
                self.append(entry, HashKey::of(&stat)).map(|_| ())
            }
            FileType::RegularFile => self.skip(path, SkipReason::Unreadable),
            FileType::Symlink => match fs::readlinkat(folder, name.as_bytes(), Vec::new()) {
                Ok(target) if link_stays_inside(target.as_bytes(), at.depth.into()) => {
                    let target = target.into_bytes();
                    let entry = Entry { target, ..entry(at.no, &name, EntryKind::Link, &stat) };
                    self.append(entry, HashKey::of(&stat)).map(|_| ())
                }
                _ => self.skip(path, SkipReason::Link),
            },
            _ => self.skip(path, SkipReason::Special),
        }
    }

    /// Holes and extended attributes, for which a file must be opened.
    fn look_into(&self, entry: &mut Entry, stat: &Stat, open: impl FnOnce() -> std::io::Result<std::fs::File>) {
        let may_have_holes = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512) < entry.size;
        if (may_have_holes || self.options.xattrs)
            && let Ok(file) = open()
        {
            entry.sparse = may_have_holes && has_holes(&file, entry.size);
            if self.options.xattrs {
                entry.xattrs = xattr::read(&file).into_iter().flat_map(|(name, value)| [name, value]).collect();
            }
        }
    }

    fn append(&mut self, entry: Entry, key: HashKey) -> Result<u32, WalkError> {
        if self.watch.cancel.load(Ordering::Relaxed) {
            return Err(WalkError::Cancelled);
        }
        let no = self.sink.append(&entry, key)?;
        self.walked.entries += 1;
        self.walked.files += u64::from(entry.kind() == EntryKind::File);
        self.walked.bytes = self.walked.bytes.saturating_add(entry.size);
        if self.walked.entries.is_multiple_of(PROGRESS_STEP) {
            (self.watch.progress)(&self.walked);
        }
        Ok(no)
    }

    fn skip(&mut self, path: PathBuf, reason: SkipReason) -> Result<(), WalkError> {
        self.walked.skipped_count += 1;
        name(&mut self.walked.skipped, &mut self.harmless, Skipped { path, reason });
        Ok(())
    }
}

/// Names one more while there is room; then those that count take the places of those that are `harmless`, so many.
fn name(named: &mut Vec<Skipped>, harmless: &mut usize, one: Skipped) {
    let counts = one.reason.counts();
    if named.len() < SKIPPED_MAX {
        *harmless += usize::from(!counts);
        named.push(one);
    } else if counts
        && *harmless > 0
        && let Some(place) = named.iter_mut().rfind(|it| !it.reason.counts())
    {
        *harmless -= 1;
        *place = one;
    }
}

fn entry(parent: u32, name: &FileName, kind: EntryKind, stat: &Stat) -> Entry {
    Entry {
        parent,
        name: name.as_bytes().to_vec(),
        kind: kind.into(),
        size: if kind == EntryKind::File { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 },
        mode: stat.st_mode & 0o7777,
        mtime_s: stat.st_mtime,
        mtime_ns: u32::try_from(stat.st_mtime_nsec).unwrap_or(0).min(999_999_999),
        ..Default::default()
    }
}

/// The names behind the first one, which a person's own path stands for.
fn below_top(path: &Path) -> Vec<FileName> {
    path.iter().skip(1).filter_map(|name| FileName::parse(name.as_bytes()).ok()).collect()
}

fn is_readable(folder: &Dir, name: &FileName, stat: &Stat) -> bool {
    let fits = u64::try_from(stat.st_size).is_ok_and(|size| size <= FILE_BYTES_MAX);
    fits && fs::accessat(folder, name.as_bytes(), Access::READ_OK, AtFlags::EACCESS).is_ok()
}

/// What a thing is called at the top of a transfer: its own name, that of the folder meant by `.` or `..`, or, for the
/// root of all folders, `files`.
pub(super) fn top_name(top_path: &Path) -> FileName {
    let own = |path: &Path| path.file_name().and_then(|name: &OsStr| FileName::parse(name.as_bytes()).ok());
    let named = own(top_path).or_else(|| own(&std::fs::canonicalize(top_path).ok()?));
    named.unwrap_or_else(|| FileName::own("files"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_is_named_before_any_number_of_links() {
        let (mut named, mut harmless) = (Vec::new(), 0);
        let skipped = |reason| Skipped { path: PathBuf::from("x"), reason };

        (0..SKIPPED_MAX + 5).for_each(|_| name(&mut named, &mut harmless, skipped(SkipReason::Link)));
        name(&mut named, &mut harmless, skipped(SkipReason::Unreadable));

        assert_eq!(named.len(), SKIPPED_MAX);
        assert_eq!(named.iter().filter(|it| it.reason.counts()).count(), 1);
    }
}
