//! Moves what is whole to its place, and decides about names that are taken. Nothing that is there is ever lost.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, Read},
    path::Path,
};

use rustix::{
    fs::{AtFlags, FileType, RenameFlags, Stat, linkat, readlinkat, renameat, renameat_with, unlinkat},
    io::Errno,
};
use sharekaro_proto::nouns::transfer::Conflict;

use super::intents::{Displaced, Intent, Intents, Step};
use crate::{
    crash,
    files::{
        Error, FileName,
        dir::{Dir, file_type},
    },
};

/// So many are noted, made durable and then moved together.
const BATCH: usize = 256;

/// After so many numbers that are taken, something else is wrong.
const NUMBERS: u32 = 100_000;

/// How often a name may be taken by somebody else between looking and moving.
const RACES: u32 = 20;

pub(super) struct Placing<'a> {
    pub(super) intents: &'a mut Intents,
    pub(super) conflict: Conflict,
    pub(super) destination: &'a Path,
}

/// A folder of the cage, and where what is in it goes.
pub(super) struct Pair {
    pub(super) staged: Dir,
    pub(super) placed: Dir,
    pub(super) staged_names: Vec<FileName>,
    pub(super) placed_names: Vec<FileName>,
}

impl Pair {
    /// A tree of the cage, and the destination.
    pub(super) fn at_the_top(tree: &Dir, destination: &Dir) -> io::Result<Self> {
        Ok(Self { staged: tree.descend([])?, placed: destination.descend([])?, staged_names: Vec::new(), placed_names: Vec::new() })
    }
}

impl Placing<'_> {
    /// Places everything that is in the folder.
    pub(super) fn place(&mut self, pair: &Pair) -> Result<(), Error> {
        let names = pair.staged.names().map_err(Error::on("list", "what is to be placed"))?;
        for batch in names.chunks(BATCH) {
            let (mut fresh, mut all, mut taken) = (Vec::new(), Vec::new(), HashSet::new());
            for name in batch {
                let intent = match self.resumed(pair, name)? {
                    Some(intent) => intent,
                    None => {
                        let intent = self.decide(pair, name, &taken)?;
                        fresh.push(intent.clone());
                        intent
                    }
                };
                taken.extend(intent.placed().and_then(|names| names.last().cloned()));
                taken.extend(intent.displaced().map(|older| older.name));
                all.push((name, intent));
            }
            self.note(&fresh)?;
            crash::point("commit-noted");
            for (name, intent) in all {
                self.carry_out(pair, name, intent)?;
            }
        }
        Ok(())
    }

    /// What an earlier try decided, where that still makes sense.
    fn resumed(&self, pair: &Pair, name: &FileName) -> Result<Option<Intent>, Error> {
        let Some(intent) = self.intents.get(&joined(&pair.staged_names, name)) else { return Ok(None) };
        let Some(target) = intent.placed().and_then(|names| names.last().cloned()) else { return Ok(None) };
        let is_folder = |stat: &Stat| file_type(stat) == FileType::Directory;
        let found = pair.placed.find(&target).map_err(Error::on("look for", &target))?;
        let stands = match intent.step() {
            Step::Move => found.is_none(),
            // Either nothing happened yet, or the older thing waits in the cage, whatever became of the received one.
            Step::Exchange => found.is_some() || intent.is_older(pair.staged.stat(name).map_err(Error::on("look at", name))?.st_ino),
            // What was the same may no longer be.
            Step::Same => false,
            Step::Merge => found.is_some_and(|stat| is_folder(&stat)),
        };
        Ok(stands.then(|| intent.clone()))
    }

    fn decide(&self, pair: &Pair, name: &FileName, taken: &HashSet<FileName>) -> Result<Intent, Error> {
        let ours = pair.staged.stat(name).map_err(Error::on("look at", name))?;
        let there = pair.placed.find(name).map_err(Error::on("look for", name))?;
        let (step, target) = match there {
            _ if taken.contains(name) => (Step::Move, self.free(pair, name, taken)?),
            None => (Step::Move, name.clone()),
            Some(theirs) => match self.meet(pair, name, &ours, &theirs)? {
                Step::Move => (Step::Move, self.free(pair, name, taken)?),
                step => (step, name.clone()),
            },
        };
        let (staged, placed) = (joined(&pair.staged_names, name), joined(&pair.placed_names, &target));
        let intent = Intent::new(step, &staged, &placed, ours.st_ino);
        match there {
            Some(theirs) if step == Step::Exchange => {
                let name = self.free(pair, name, taken)?;
                Ok(intent.displacing(Displaced { name, inode: theirs.st_ino }).below(self.destination))
            }
            _ => Ok(intent),
        }
    }

    /// What happens to a name that is taken. `Move` means: to another name.
    fn meet(&self, pair: &Pair, name: &FileName, ours: &Stat, theirs: &Stat) -> Result<Step, Error> {
        if matches!(self.conflict, Conflict::Rename | Conflict::Ask) || pair.placed.is_mount(name) {
            return Ok(Step::Move); // what is mounted there can neither be joined by a rename nor step aside
        }
        let both = |kind| file_type(ours) == kind && file_type(theirs) == kind;
        if both(FileType::Directory) {
            return Ok(Step::Merge);
        }
        if both(FileType::RegularFile) && ours.st_size == theirs.st_size && is_same(pair, name) {
            return Ok(Step::Same);
        }
        if both(FileType::Symlink) && leads_the_same_way(pair, name) {
            return Ok(Step::Same);
        }
        let is_newer = (ours.st_mtime, ours.st_mtime_nsec) > (theirs.st_mtime, theirs.st_mtime_nsec);
        match self.conflict {
            Conflict::Overwrite => Ok(Step::Exchange),
            Conflict::Newer if is_newer => Ok(Step::Exchange),
            _ => Ok(Step::Move),
        }
    }

    fn carry_out(&mut self, pair: &Pair, name: &FileName, mut intent: Intent) -> Result<(), Error> {
        for _ in 0..RACES {
            let target = intent.placed().and_then(|names| names.last().cloned()).ok_or(Error::Note("an intent without a name"))?;
            let done = match intent.step() {
                Step::Move => rename_new(&pair.staged, name, &pair.placed, &target),
                Step::Same => pair.staged.remove(name),
                Step::Exchange => self.exchange(pair, name, &target, &intent),
                Step::Merge => return self.merge(pair, name, &target),
            };
            match done {
                Ok(()) => {
                    crash::point("commit-moved");
                    return Ok(());
                }
                // Somebody else took the name, or took the older thing away, since it was looked at.
                Err(e) if matches!(e.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound) && is_ours(pair, name, &intent) => {
                    intent = self.decide(pair, name, &HashSet::new())?;
                    self.note(std::slice::from_ref(&intent))?;
                }
                Err(e) => return Err(Error::at("move into place", &target, e)),
            }
        }
        Err(Error::at("find a free name for", name, io::ErrorKind::AlreadyExists.into()))
    }

    /// Takes the name of an older thing at once, so that there is never nothing, and puts the older one beside it. Where
    /// that cannot be, both are where they were.
    fn exchange(&mut self, pair: &Pair, name: &FileName, target: &FileName, intent: &Intent) -> io::Result<()> {
        if intent.is_older(pair.staged.stat(name)?.st_ino) {
            return self.step_aside(&pair.staged, name, pair, target, intent);
        }
        match swap(pair, name, target) {
            Ok(()) => {
                crash::point("commit-exchanged");
                let aside = self.step_aside(&pair.staged, name, pair, target, intent);
                if aside.is_err()
                    && let Err(error) = swap(pair, name, target)
                {
                    tracing::error!(%error, %target, "an older file waits in the cage");
                }
                aside
            }
            // vfat and its like cannot: the older thing steps aside first.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                self.step_aside(&pair.placed, target, pair, target, intent)?;
                rename_new(&pair.staged, name, &pair.placed, target)
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Puts the older thing under the name that was noted for it, so that it is known which one has to have its name back
    /// when the received one is taken back. Where somebody took that name, another is noted first.
    fn step_aside(&mut self, from: &Dir, name: &FileName, pair: &Pair, target: &FileName, intent: &Intent) -> io::Result<()> {
        let noted = intent.displaced();
        let inode = noted.as_ref().map_or(from.stat(name)?.st_ino, |older| older.inode);
        let mut aside = match noted {
            Some(older) => older.name,
            None => self.note_aside(intent, target.numbered(2), inode)?,
        };
        for number in 2..NUMBERS {
            match rename_new(from, name, &pair.placed, &aside) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => aside = self.note_aside(intent, target.numbered(number), inode)?,
                other => return other,
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    fn note_aside(&mut self, intent: &Intent, name: FileName, inode: u64) -> io::Result<FileName> {
        self.intents.note(&[intent.clone().displacing(Displaced { name: name.clone(), inode })])?;
        Ok(name)
    }

    fn merge(&mut self, pair: &Pair, name: &FileName, target: &FileName) -> Result<(), Error> {
        let inner = Pair {
            staged: pair.staged.folder(name).map_err(Error::on("open", name))?,
            placed: pair.placed.folder(target).map_err(Error::on("open", target))?,
            staged_names: joined(&pair.staged_names, name),
            placed_names: joined(&pair.placed_names, target),
        };
        self.place(&inner)?;
        pair.staged.remove_folder(name).map_err(Error::on("remove the emptied", name))
    }

    /// The first numbered name that nothing has.
    fn free(&self, pair: &Pair, name: &FileName, taken: &HashSet<FileName>) -> Result<FileName, Error> {
        for number in 2..NUMBERS {
            let candidate = name.numbered(number);
            if !taken.contains(&candidate) && pair.placed.find(&candidate).map_err(Error::on("look for", &candidate))?.is_none() {
                return Ok(candidate);
            }
        }
        Err(Error::at("find a free name for", name, io::ErrorKind::AlreadyExists.into()))
    }

    fn note(&mut self, intents: &[Intent]) -> Result<(), Error> {
        self.intents.note(intents).map_err(Error::on("note", "what is moved where"))
    }
}

/// Whether what has the name in the cage is what was received.
fn is_ours(pair: &Pair, name: &FileName, intent: &Intent) -> bool {
    pair.staged.stat(name).is_ok_and(|stat| !intent.is_older(stat.st_ino))
}

/// What was received and what has its name there take each other's place.
fn swap(pair: &Pair, name: &FileName, target: &FileName) -> rustix::io::Result<()> {
    renameat_with(&pair.staged, name.as_bytes(), &pair.placed, target.as_bytes(), RenameFlags::EXCHANGE)
}

fn joined(names: &[FileName], last: &FileName) -> Vec<FileName> {
    names.iter().chain([last]).cloned().collect()
}

/// Renames, and never over anything.
pub(in crate::files::cage) fn rename_new(from: &Dir, name: &FileName, to: &Dir, target: &FileName) -> io::Result<()> {
    let (old, new) = (name.as_bytes(), target.as_bytes());
    match renameat_with(from, old, to, new, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
        other => return Ok(other?),
    }
    match linkat(from, old, to, new, AtFlags::empty()) {
        Ok(()) => return Ok(unlinkat(from, old, AtFlags::empty())?),
        Err(Errno::EXIST) => return Err(Errno::EXIST.into()),
        // A folder, or a file system without hard links.
        Err(_) => {}
    }
    // Nothing better is left than to look first.
    if to.find(target)?.is_some() {
        return Err(Errno::EXIST.into());
    }
    Ok(renameat(from, old, to, new)?)
}

/// Renames to a name that is free, which is numbered after another where it is not. Returns it.
pub(super) fn rename_beside(from: &Dir, name: &FileName, to: &Dir, wanted: FileName, like: &FileName) -> io::Result<FileName> {
    let mut target = wanted;
    for number in 2..NUMBERS {
        match rename_new(from, name, to, &target) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => target = like.numbered(number),
            other => return other.map(|()| target),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Whether both files hold the same bytes; what cannot be read does not.
fn is_same(pair: &Pair, name: &FileName) -> bool {
    let compare = || -> io::Result<bool> {
        let (mut ours, mut theirs) = (pair.staged.read(name)?, pair.placed.read(name)?);
        let (mut a, mut b) = (vec![0; 256 << 10], vec![0; 256 << 10]);
        loop {
            let (read_a, read_b) = (fill(&mut ours, &mut a)?, fill(&mut theirs, &mut b)?);
            if read_a != read_b || a.get(..read_a) != b.get(..read_b) {
                return Ok(false);
            }
            if read_a < a.len() {
                return Ok(true);
            }
        }
    };
    compare().unwrap_or(false)
}

/// Whether both links have the same target.
fn leads_the_same_way(pair: &Pair, name: &FileName) -> bool {
    let target = |dir: &Dir| readlinkat(dir, name.as_bytes(), Vec::new());
    target(&pair.staged).is_ok_and(|ours| target(&pair.placed) == Ok(ours))
}

fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest)? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

    use super::*;

    #[test]
    fn an_older_thing_that_cannot_step_aside_has_its_name_again() {
        let temp = tempfile::tempdir().unwrap();
        for (path, content) in [("tree/a", "new"), ("inbox/a", "old"), ("inbox/a (2)", "somebody took that name")] {
            fs::create_dir_all(temp.path().join(path).parent().unwrap()).unwrap();
            fs::write(temp.path().join(path), content).unwrap();
        }
        let dir = |name: &str| Dir::open(&temp.path().join(name)).unwrap();
        let (pair, name) = (Pair::at_the_top(&dir("tree"), &dir("inbox")).unwrap(), FileName::own("a"));
        let inode = |dir: &Dir| dir.stat(&name).unwrap().st_ino;
        // no other name can be noted, as where the disk is full
        let full = memfd_create("full", MemfdFlags::ALLOW_SEALING).unwrap();
        fcntl_add_seals(&full, SealFlags::GROW).unwrap();
        let mut intents = Intents::load(full.into()).unwrap();
        let intent = Intent::new(Step::Exchange, std::slice::from_ref(&name), std::slice::from_ref(&name), inode(&pair.staged));
        let intent = intent.displacing(Displaced { name: FileName::own("a (2)"), inode: inode(&pair.placed) });
        let mut placing = Placing { intents: &mut intents, conflict: Conflict::Overwrite, destination: temp.path() };

        placing.exchange(&pair, &name, &name, &intent).unwrap_err();

        assert_eq!(fs::read_to_string(temp.path().join("inbox/a")).unwrap(), "old");
        assert_eq!(fs::read_to_string(temp.path().join("tree/a")).unwrap(), "new");
    }
}
