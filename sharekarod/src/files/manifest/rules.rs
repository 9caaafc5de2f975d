//! Where an entry may lie: in a folder before it, not too deep, under a name that is free there.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
};

use super::{Broken, DEPTH_MAX, Item, PATH_BYTES_MAX};

/// Judges entries one after the other. Remembers eight bytes a folder and some ten an entry.
#[derive(Default)]
pub(super) struct Rules {
    folders: Vec<Folder>,
    /// Hashes of folder and name. The key is random, so that nobody can look for two names of the same hash; that two
    /// of a million meet by chance happens once in forty million manifests, and then the manifest is refused.
    names: HashSet<u64, Plain>,
    keys: RandomState,
}

/// What must be known of a folder to judge what is in it.
struct Folder {
    no: u32,
    depth: u16,
    path_len: u16,
}

impl Rules {
    /// Accepts an entry as number `no`, which follows the last one.
    pub(super) fn accept(&mut self, no: u32, item: &Item) -> Result<(), Broken> {
        let (depth, path_len) = match item.parent {
            0 => (0, 0),
            parent => self.folder(parent).map(|folder| (folder.depth + 1, folder.path_len + 1)).ok_or(Broken::Parent)?,
        };
        let path_len = usize::from(path_len) + item.name.as_bytes().len();
        // Without the NUL that the kernel wants after it.
        let path_len = u16::try_from(path_len).ok().filter(|len| usize::from(*len) < PATH_BYTES_MAX).ok_or(Broken::Path)?;
        if depth >= DEPTH_MAX {
            return Err(Broken::Depth);
        }
        if !self.names.insert(self.keys.hash_one((item.parent, item.name.as_bytes()))) {
            return Err(Broken::Twice);
        }
        if item.is_folder() {
            self.folders.push(Folder { no, depth, path_len });
        }
        Ok(())
    }

    /// In how many folders something lies whose folder is this one.
    fn folder(&self, no: u32) -> Option<&Folder> {
        self.folders.binary_search_by_key(&no, |folder| folder.no).ok().and_then(|at| self.folders.get(at))
    }
}

/// The hashes are random already.
#[derive(Default, Clone)]
struct Plain;

struct PlainHasher(u64);

impl BuildHasher for Plain {
    type Hasher = PlainHasher;

    fn build_hasher(&self) -> PlainHasher {
        PlainHasher(0)
    }
}

impl std::hash::Hasher for PlainHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Whether a link that lies in `depth` folders of the transfer (0: at the top) stays within the tree of its topmost
/// folder: relative, first as many `..` as it likes without leaving that folder, then down. `..` behind a name is
/// refused, as that name may be a link itself and its parent then be anywhere.
pub fn link_stays_inside(target: &[u8], depth: usize) -> bool {
    if depth == 0 || target.is_empty() || target.starts_with(b"/") || target.contains(&0) || target.len() >= PATH_BYTES_MAX {
        return false;
    }
    let mut steps = target.split(|byte| *byte == b'/').filter(|step| !matches!(*step, b"" | b".")).peekable();
    let mut up = 0;
    while steps.next_if(|step| *step == b"..").is_some() {
        up += 1;
    }
    up < depth && steps.all(|step| step != b"..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_may_point_within_its_tree_and_nowhere_else() {
        let inside: [(&str, usize); 6] = [("a", 1), ("./a//b/", 1), ("../a", 2), ("../../a/b", 3), ("..", 2), ("...", 1)];
        let outside: [(&str, usize); 12] = [
            ("a", 0),
            ("..", 1),
            ("../a", 1),
            ("../../a", 2),
            ("/etc/passwd", 9),
            ("", 3),
            ("a\0b", 3),
            ("a/../b", 3),
            ("a/../../../b", 3),
            ("../../../../../../etc", 5),
            ("//a", 2),
            ("./../x", 1),
        ];
        for (target, depth) in inside {
            assert!(link_stays_inside(target.as_bytes(), depth), "{target} in {depth}");
        }
        for (target, depth) in outside {
            assert!(!link_stays_inside(target.as_bytes(), depth), "{target} in {depth}");
        }
    }
}
