//! The watches of all drop folders: one for each folder in them, as far as the kernel has enough.
//!
//! A new folder is watched first and listed then, so that nothing in it is missed; what was there before its watch is
//! told as uncertain. Folders near the top are watched first, as these are the ones that matter most.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    ffi::OsStr,
    fs, io,
    mem::MaybeUninit,
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt, fs::MetadataExt},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags},
    io::Errno,
};
use tokio::io::{Interest, unix::AsyncFd};

use crate::engine::drop::settle::Sign;

/// What is asked for of a folder. Not when something is read: that would wake us for our own sending.
const MASK: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::MOVE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR)
    .union(WatchFlags::EXCL_UNLINK);

/// More folders are not watched, whatever the kernel allows: a watch costs memory here and there. They are looked
/// through while they settle.
const WATCHES_MAX: usize = 8_192;

/// Bytes of events that are read at once; one has at most 16 and a name of 256.
const BUFFER: usize = 16 << 10;

/// What was found out.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Noticed {
    /// In which drop folder, where from there on, and what.
    Sign(usize, PathBuf, Sign),
    /// Things happened that nobody noticed.
    Lost,
}

/// A folder that is watched.
type Place = (usize, PathBuf);

/// The watches.
pub(super) struct Tree {
    inotify: AsyncFd<OwnedFd>,
    roots: Vec<PathBuf>,
    /// The folder that stood at each root when it was watched.
    armed: Vec<Option<(u64, u64)>>,
    folders: HashMap<i32, Place>,
    watches: BTreeMap<Place, i32>,
    unwatched: usize,
}

impl Tree {
    /// Watches nothing yet.
    ///
    /// # Errors
    /// There are too many watchers already (`fs.inotify.max_user_instances`).
    pub(super) fn new(roots: Vec<PathBuf>) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let armed = vec![None; roots.len()];
        Ok(Self { inotify: watched(inotify)?, roots, armed, folders: HashMap::new(), watches: BTreeMap::new(), unwatched: 0 })
    }

    /// Returns when there are events; they have to be read then. Safe to cancel.
    pub(super) async fn readable(&self) {
        match self.inotify.readable().await {
            // cleared before they are read, all of them: what comes meanwhile sets it again
            Ok(mut ready) => ready.clear_ready(),
            // one of the runtime's, which ends
            Err(_) => std::future::pending().await,
        }
    }

    /// So many folders are there and not watched.
    pub(super) fn unwatched(&self) -> usize {
        self.unwatched
    }

    /// Watches every drop folder that is not watched yet, is another one than before, or has folders that could not be
    /// watched when we tried last.
    pub(super) fn arm_all(&mut self) -> Vec<Noticed> {
        let again = self.unwatched > 0;
        self.unwatched = 0;
        let mut noticed = Vec::new();
        for root in 0..self.roots.len() {
            let there = self.roots.get(root).and_then(|path| fs::metadata(path).ok()).map(|it| (it.dev(), it.ino()));
            let changed = self.armed.get(root).copied().flatten() != there;
            if changed {
                self.disarm((root, Path::new("")));
                noticed.push(Noticed::Lost);
            }
            if there.is_some() && (changed || again) {
                self.arm(root, PathBuf::new(), &mut Vec::new());
            }
            if let Some(armed) = self.armed.get_mut(root) {
                *armed = there;
            }
        }
        noticed
    }

    /// Reads all events that are there.
    pub(super) fn read(&mut self) -> Vec<Noticed> {
        let mut noticed = Vec::new();
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        loop {
            let (mut events, mut ended) = (Vec::new(), false);
            let mut reader = inotify::Reader::new(self.inotify.get_ref(), &mut buffer);
            while events.is_empty() || !reader.is_buffer_empty() {
                match reader.next() {
                    Ok(event) => {
                        let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()).to_owned());
                        events.push((event.wd(), event.events(), name));
                    }
                    Err(Errno::INTR) => {}
                    Err(_) => {
                        ended = true;
                        break;
                    }
                }
            }
            for (watch, flags, name) in events {
                self.understand(watch, flags, name.as_deref(), &mut noticed);
            }
            if ended {
                return noticed;
            }
        }
    }

    fn understand(&mut self, watch: i32, flags: ReadFlags, name: Option<&OsStr>, noticed: &mut Vec<Noticed>) {
        if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
            return noticed.push(Noticed::Lost);
        }
        let Some((root, folder)) = self.folders.get(&watch).cloned() else { return };
        if flags.intersects(ReadFlags::IGNORED | ReadFlags::UNMOUNT) {
            self.folders.remove(&watch);
            self.watches.remove(&(root, folder.clone()));
            if folder.as_os_str().is_empty() {
                self.armed.iter_mut().skip(root).take(1).for_each(|armed| *armed = None);
            }
        }
        let path = name.map_or_else(|| folder.clone(), |name| folder.join(name));
        let is_folder = flags.contains(ReadFlags::ISDIR);
        let (came, went) =
            (flags.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO), flags.intersects(ReadFlags::DELETE | ReadFlags::MOVED_FROM));
        if went && is_folder {
            self.disarm((root, &path));
        }
        let sign = match () {
            () if went => Sign::Gone,
            () if flags.contains(ReadFlags::MOVED_TO) => Sign::Uncertain,
            () if flags.contains(ReadFlags::CREATE) && is_folder => Sign::Made,
            () if flags.intersects(ReadFlags::CREATE | ReadFlags::MODIFY) => Sign::Written,
            () if flags.contains(ReadFlags::CLOSE_WRITE) => Sign::Closed,
            () => Sign::Other,
        };
        noticed.push(Noticed::Sign(root, path.clone(), sign));
        if came && is_folder && !is_ours(&path) {
            self.arm(root, path, noticed);
        }
    }

    /// Watches a folder and all folders in it, those near the top first.
    fn arm(&mut self, root: usize, path: PathBuf, noticed: &mut Vec<Noticed>) {
        let mut pending = VecDeque::from([path]);
        while let Some(path) = pending.pop_front() {
            if !self.watch(root, &path) {
                noticed.push(Noticed::Sign(root, path.clone(), Sign::Uncertain));
            }
            let Some(entries) = self.roots.get(root).and_then(|top| fs::read_dir(top.join(&path)).ok()) else { continue };
            let mut holds_files = false;
            for entry in entries.flatten() {
                let inner = path.join(entry.file_name());
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() && !is_ours(&inner) => pending.push_back(inner),
                    _ => holds_files = true,
                }
            }
            if holds_files && !path.as_os_str().is_empty() {
                noticed.push(Noticed::Sign(root, path, Sign::Uncertain));
            }
        }
    }

    /// Whether the folder is watched from now on, or is not there.
    fn watch(&mut self, root: usize, path: &Path) -> bool {
        let place = (root, path.to_owned());
        if self.watches.contains_key(&place) {
            return true;
        }
        let Some(top) = self.roots.get(root) else { return true };
        if self.watches.len() >= WATCHES_MAX {
            self.unwatched += 1;
            return false;
        }
        // the drop folder itself may be behind a link of its person; nothing in it may
        let (at, flags) = if path.as_os_str().is_empty() { (top.clone(), MASK) } else { (top.join(path), MASK | WatchFlags::DONT_FOLLOW) };
        match inotify::add_watch(self.inotify.get_ref(), &at, flags) {
            Ok(watch) => {
                if let Some(before) = self.folders.insert(watch, place.clone()) {
                    self.watches.remove(&before); // the same folder under another name
                }
                self.watches.insert(place, watch);
                true
            }
            Err(Errno::NOSPC | Errno::NOMEM) => {
                self.unwatched += 1;
                false
            }
            Err(_) => true, // gone, a link by now, or closed to us: whoever looks sees that
        }
    }

    /// Ends the watches of a folder and all folders in it: it may live on elsewhere, and its events would be nobody's.
    fn disarm(&mut self, (root, path): (usize, &Path)) {
        let from = (root, path.to_owned());
        let ended: Vec<Place> = self
            .watches
            .range(from..)
            .map(|(place, _)| place)
            .take_while(|place| place.0 == root)
            .filter(|place| place.1.starts_with(path))
            .cloned()
            .collect();
        for place in ended {
            if let Some(watch) = self.watches.remove(&place) {
                self.folders.remove(&watch);
                let _ = inotify::remove_watch(self.inotify.get_ref(), watch); // gone already: fine
            }
        }
    }
}

/// The folders that we keep ourselves, at the top.
fn is_ours(path: &Path) -> bool {
    path == Path::new("Sent") || path == Path::new("Failed")
}

#[expect(deprecated, reason = "an OwnedFd stays open as long as it is owned, which is all that the unsafe successor asks for")]
fn watched(inotify: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(inotify, Interest::READABLE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::soon;

    fn tree() -> (tempfile::TempDir, PathBuf, Tree) {
        let temp = tempfile::tempdir().unwrap();
        let top = temp.path().join("Drop");
        fs::create_dir_all(top.join("bob")).unwrap();
        fs::create_dir_all(top.join("Sent/bob")).unwrap();
        let mut tree = Tree::new(vec![top.clone()]).unwrap();
        assert_eq!(tree.arm_all(), [Noticed::Lost]);
        (temp, top, tree)
    }

    /// All that is told until this is told of a path.
    fn until(tree: &mut Tree, path: &str, sign: Sign) -> Vec<Noticed> {
        let mut noticed = Vec::new();
        soon(|| {
            noticed.extend(tree.read());
            signs(&noticed, path).contains(&sign).then_some(())
        });
        noticed
    }

    fn signs(noticed: &[Noticed], path: &str) -> Vec<Sign> {
        let of_path = |it: &Noticed| match it {
            Noticed::Sign(0, at, sign) if at == Path::new(path) => Some(*sign),
            _ => None,
        };
        noticed.iter().filter_map(of_path).collect()
    }

    #[tokio::test]
    async fn the_life_of_a_file_is_told_and_our_own_folders_are_not() {
        let (temp, top, mut tree) = tree();
        let mut file = fs::File::create(top.join("bob/f")).unwrap();
        io::Write::write_all(&mut file, b"x").unwrap();
        drop(file);
        let mut noticed = until(&mut tree, "bob/f", Sign::Closed);
        fs::write(temp.path().join("outside"), "x").unwrap();
        fs::rename(temp.path().join("outside"), top.join("bob/g")).unwrap();
        fs::rename(top.join("bob/f"), top.join("Sent/bob/f")).unwrap();
        fs::write(top.join("Sent/bob/more"), "x").unwrap();

        noticed.extend(tree.read());

        assert_eq!(signs(&noticed, "bob/f"), [Sign::Written, Sign::Written, Sign::Closed, Sign::Gone]);
        assert_eq!(signs(&noticed, "bob/g"), [Sign::Uncertain]);
        assert!(signs(&noticed, "Sent/bob/f").is_empty() && signs(&noticed, "Sent/bob/more").is_empty());
    }

    #[tokio::test]
    async fn folders_that_come_are_watched_with_all_in_them_and_no_longer_when_they_go() {
        let (temp, top, mut tree) = tree();
        fs::create_dir_all(temp.path().join("outside/a/b")).unwrap();
        fs::rename(temp.path().join("outside"), top.join("bob/tree")).unwrap();
        tree.read();
        assert_eq!(tree.watches.len(), 5);

        fs::write(top.join("bob/tree/a/b/f"), "x").unwrap();
        let noticed = until(&mut tree, "bob/tree/a/b/f", Sign::Closed);
        assert_eq!(signs(&noticed, "bob/tree/a/b/f"), [Sign::Written, Sign::Written, Sign::Closed]);

        fs::rename(top.join("bob/tree"), top.join("Sent/bob/tree")).unwrap();
        assert_eq!(signs(&tree.read(), "bob/tree"), [Sign::Gone]);
        assert_eq!(tree.watches.len(), 2);
        fs::write(top.join("Sent/bob/tree/a/b/g"), "x").unwrap();
        assert_eq!(tree.read().len(), 0);
    }

    #[tokio::test]
    async fn a_drop_folder_that_was_made_anew_is_watched_again() {
        let (_temp, top, mut tree) = tree();
        fs::remove_dir_all(&top).unwrap();
        assert!(signs(&tree.read(), "").contains(&Sign::Other), "its end is told");
        assert!(tree.watches.is_empty());

        fs::create_dir_all(top.join("bob")).unwrap();
        assert_eq!(tree.arm_all(), [Noticed::Lost]);
        assert_eq!(tree.arm_all(), []);

        fs::write(top.join("bob/f"), "").unwrap();
        let noticed = until(&mut tree, "bob/f", Sign::Closed);
        assert_eq!(signs(&noticed, "bob/f"), [Sign::Written, Sign::Closed]);
    }

    #[tokio::test]
    async fn a_link_in_a_drop_folder_is_not_watched_through() {
        let (temp, top, mut tree) = tree();
        fs::create_dir(temp.path().join("private")).unwrap();
        std::os::unix::fs::symlink(temp.path().join("private"), top.join("bob/link")).unwrap();
        tree.read();
        fs::write(temp.path().join("private/key"), "x").unwrap();

        assert_eq!(tree.read(), []);
    }
}
