//! Where things go once it is known what became of them: `Sent`, `Failed` with a reason beside it, back again, away.
//!
//! Only names are moved, never over something that is there, never to another file system.

use std::{
    io::{self, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{RenameFlags, renameat, renameat_with},
    io::Errno,
};

use super::{DropDir, Trouble, names_of};
use crate::files::{FileName, NAME_BYTES_MAX, dir::Dir};

/// Where things go that everybody has who was meant.
pub const SENT: &str = "Sent";

/// Where things go that will not go by themselves.
pub const FAILED: &str = "Failed";

/// The list of what waits, for people who look into the folder.
pub const WAITING: &str = "Waiting.txt";

/// Behind the name of what failed: the file that says why.
const REASON: &str = ".reason.txt";

/// The last line of such a file: by it we know our own again.
const REASON_ENDS: &str = "sharectl drop retry tries it again.\n";

/// The first line of `WAITING`: by it we know our own file again.
const WAITING_BEGINS: &str = "ShareKaro keeps this list of what waits in this folder, and why. It is gone when nothing waits.";

/// So many names that are taken, and something else is wrong.
const NUMBERS: u32 = 100_000;

/// Why something could not be moved.
#[derive(Debug, thiserror::Error)]
pub enum FilingError {
    /// It is not where it was.
    #[error("it is gone")]
    Gone,
    /// Where it is to go is on another file system.
    #[error("{0} is on another file system; a file is never copied there, only moved")]
    Elsewhere(&'static str),
    /// The folder must not be used.
    #[error(transparent)]
    Trouble(#[from] Trouble),
    /// What the kernel said.
    #[error("it cannot be moved: {0}")]
    Io(#[from] io::Error),
}

/// Whether a name at the top of a drop folder is one of ours.
pub fn is_ours(name: &FileName) -> bool {
    [SENT, FAILED, WAITING].iter().any(|ours| name.as_bytes() == ours.as_bytes())
}

impl DropDir {
    /// Moves something into `Sent` or `Failed`, there into the folder of its target, under a name that is free. Returns
    /// where it is now, from the drop folder on.
    ///
    /// # Errors
    /// It is gone, or cannot be moved; it is where it was then.
    pub fn file_away(&self, place: &Path, into: &'static str, whose: &str) -> Result<PathBuf, FilingError> {
        let (from, name) = self.above(place)?;
        let whose = FileName::parse(whose.replace('/', "_").as_bytes()).unwrap_or_else(|_| FileName::own("others"));
        let folder = self.own_folder(into)?.make_folder(&whose, 0o700)?;
        let placed = move_to_free_name((&from, &name), (&folder, &name), into)?;
        Ok([into.as_ref(), whose.as_os_str(), placed.as_os_str()].iter().collect())
    }

    /// Moves something from `Failed` back to where it was, and removes what stood beside it. Where that name is taken
    /// meanwhile, it gets a number.
    ///
    /// # Errors
    /// As `file_away`.
    pub fn put_back(&self, filed: &Path, place: &Path) -> Result<PathBuf, FilingError> {
        let (from, name) = self.above(filed)?;
        let (to, wanted) = self.above(place)?;
        let placed = move_to_free_name((&from, &name), (&to, &wanted), "the folder that it came from")?;
        remove_reason(&from, &name)?;
        self.tidy(filed);
        Ok(place.with_file_name(placed.as_os_str()))
    }

    /// Whether something is where it was filed.
    pub fn is_there(&self, filed: &Path) -> bool {
        self.above(filed).is_ok_and(|(dir, name)| matches!(dir.find(&name), Ok(Some(_))))
    }

    /// Writes beside what failed why it did, and what to do. Somebody else's file of that name is left alone: ours gets a
    /// number then.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_reason(&self, filed: &Path, reason: &str) -> Result<(), FilingError> {
        let (dir, name) = self.above(filed)?;
        remove_reason(&dir, &name)?;
        let fresh = write_fresh(&dir, &format!("{reason}\n\n{REASON_ENDS}"))?;
        move_to_free_name((&dir, &fresh), (&dir, &reason_name(&name)), "its own folder").map(drop)
    }

    /// Removes the reason beside something that is no longer there, and the folders that are empty with it.
    pub fn forget_reason(&self, filed: &Path) {
        if let Ok((dir, name)) = self.above(filed)
            && let Err(e) = remove_reason(&dir, &name)
        {
            tracing::debug!("a reason stays: {e}");
        }
        self.tidy(filed);
    }

    /// Writes the list of what waits, or removes it. Somebody else's file of that name is left alone.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_waiting(&self, lines: &[String]) -> io::Result<()> {
        let name = FileName::own(WAITING);
        let ours = match self.dir.read(&name) {
            Ok(file) => {
                let mut start = Vec::new();
                io::Read::read_to_end(&mut io::Read::take(file, WAITING_BEGINS.len() as u64), &mut start)?;
                start == WAITING_BEGINS.as_bytes()
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                if lines.is_empty() {
                    return Ok(());
                }
                true
            }
            Err(e) => return Err(e),
        };
        match (ours, lines) {
            (false, _) => Ok(()),
            (true, []) => self.dir.remove(&name),
            (true, lines) => write_whole(&self.dir, &name, &format!("{WAITING_BEGINS}\n\n{}\n", lines.join("\n"))),
        }
    }

    fn own_folder(&self, name: &'static str) -> Result<Dir, FilingError> {
        self.make_folder(&FileName::own(name))?;
        Ok(self.folder(&FileName::own(name))?)
    }

    /// Removes the folders above something that was filed, as far as they are empty.
    fn tidy(&self, filed: &Path) {
        let names = names_of(filed);
        let [into, whose, _] = names.as_slice() else { return };
        if let Ok(dir) = self.folder(into)
            && dir.remove_folder(whose).is_ok()
        {
            self.remove_if_empty(into);
        }
    }
}

/// Moves without ever taking the place of something: the kernel decides, so that nobody comes in between.
pub(super) fn move_to_free_name(from: (&Dir, &FileName), to: (&Dir, &FileName), into: &'static str) -> Result<FileName, FilingError> {
    let mut name = to.1.clone();
    for number in 2..NUMBERS {
        match renameat_with(from.0, from.1.as_bytes(), to.0, name.as_bytes(), RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(name),
            Err(Errno::EXIST) => name = to.1.numbered(number),
            Err(Errno::NOENT) => return Err(FilingError::Gone),
            Err(Errno::XDEV) => return Err(FilingError::Elsewhere(into)),
            // a file system that cannot promise it (some network ones): looked first, then moved
            Err(Errno::INVAL | Errno::NOSYS) if to.0.find(&name)?.is_none() => {
                renameat(from.0, from.1.as_bytes(), to.0, name.as_bytes()).map_err(io::Error::from)?;
                return Ok(name);
            }
            Err(Errno::INVAL | Errno::NOSYS) => name = to.1.numbered(number),
            Err(e) => return Err(FilingError::Io(e.into())),
        }
    }
    Err(FilingError::Io(Errno::EXIST.into()))
}

/// `report.pdf.reason.txt`, with the name cut where that would be too long.
fn reason_name(name: &FileName) -> FileName {
    let stem = name.as_bytes().get(..NAME_BYTES_MAX - REASON.len()).unwrap_or(name.as_bytes());
    FileName::parse(&[stem, REASON.as_bytes()].concat()).unwrap_or_else(|_| FileName::own("reason.txt"))
}

/// Removes what we wrote beside something that failed, and nothing that somebody else calls so.
fn remove_reason(dir: &Dir, name: &FileName) -> io::Result<()> {
    let first = reason_name(name);
    let others = (2..NUMBERS).map(|number| first.numbered(number));
    for candidate in std::iter::once(first.clone()).chain(others) {
        match is_reason(dir, &candidate) {
            Ok(true) => return dir.remove(&candidate),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Ok(false) | Err(_) => {} // a folder, or a link, is not ours either
        }
    }
    Ok(())
}

fn is_reason(dir: &Dir, name: &FileName) -> io::Result<bool> {
    let file = dir.read(name)?;
    let mut end = [0; REASON_ENDS.len()];
    let at = file.metadata()?.len().checked_sub(end.len() as u64);
    Ok(at.is_some_and(|at| file.read_exact_at(&mut end, at).is_ok()) && end == REASON_ENDS.as_bytes())
}

/// Nobody ever reads half of it, and where the disk is full, no half of it stays.
fn write_whole(dir: &Dir, name: &FileName, text: &str) -> io::Result<()> {
    let fresh = write_fresh(dir, text)?;
    Ok(renameat(dir, fresh.as_bytes(), dir, name.as_bytes())?)
}

/// Writes it under a name of ours, which is returned.
fn write_fresh(dir: &Dir, text: &str) -> io::Result<FileName> {
    let fresh = FileName::own(".sharekaro-new");
    dir.remove(&fresh)?;
    let written = dir.create(&fresh, 0o600).and_then(|mut file| file.write_all(text.as_bytes()));
    if written.is_err() {
        let _ = dir.remove(&fresh); // the first error is the one to tell
    }
    written.map(|()| fresh)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn drop_dir() -> (tempfile::TempDir, PathBuf, DropDir) {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("Drop");
        let dir = DropDir::open_or_make(&path).unwrap();
        dir.make_folder(&FileName::own("bob")).unwrap();
        (temp, path, dir)
    }

    #[test]
    fn a_name_that_is_taken_in_sent_gets_a_number() {
        let (_temp, path, dir) = drop_dir();
        for content in ["one", "two"] {
            fs::write(path.join("bob/note.txt"), content).unwrap();
            dir.file_away(Path::new("bob/note.txt"), SENT, "bob").unwrap();
        }

        assert_eq!(fs::read_to_string(path.join("Sent/bob/note.txt")).unwrap(), "one");
        assert_eq!(fs::read_to_string(path.join("Sent/bob/note (2).txt")).unwrap(), "two");
        assert!(matches!(dir.file_away(Path::new("bob/note.txt"), SENT, "bob"), Err(FilingError::Gone)));
    }

    #[test]
    fn what_failed_comes_back_without_its_reason_and_leaves_no_folder() {
        let (_temp, path, dir) = drop_dir();
        for name in ["note.txt".to_owned(), "n".repeat(255)] {
            let place = PathBuf::from("bob").join(&name);
            fs::write(path.join(&place), "one").unwrap();
            let filed = dir.file_away(&place, FAILED, "bob").unwrap();
            dir.write_reason(&filed, "because").unwrap();
            assert_eq!(fs::read_dir(path.join("Failed/bob")).unwrap().count(), 2, "{name}");

            fs::write(path.join(&place), "another of that name").unwrap();
            let back = dir.put_back(&filed, &place).unwrap();

            assert_ne!(back, place);
            assert_eq!(fs::read_to_string(path.join(back)).unwrap(), "one");
            assert!(!path.join(FAILED).exists());
        }
    }

    #[test]
    fn a_file_that_is_really_called_like_a_reason_is_never_ours() {
        let (_temp, path, dir) = drop_dir();
        let file = |name: &str| {
            fs::write(path.join("bob").join(name), "a person's").unwrap();
            dir.file_away(&Path::new("bob").join(name), FAILED, "bob").unwrap()
        };
        let names = || {
            let mut names: Vec<_> =
                fs::read_dir(path.join("Failed/bob")).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        let theirs = file("x.reason.txt");
        let filed = file("x");

        for reason in ["because", "still"] {
            dir.write_reason(&filed, reason).unwrap();
            assert_eq!(names(), ["x", "x.reason (2).txt", "x.reason.txt"]);
            assert!(fs::read_to_string(path.join("Failed/bob/x.reason (2).txt")).unwrap().starts_with(reason));
        }
        dir.write_reason(&theirs, "for its own reasons").unwrap();
        dir.put_back(&filed, Path::new("bob/x")).unwrap();
        assert_eq!(names(), ["x.reason.txt", "x.reason.txt.reason.txt"]);
        dir.forget_reason(&filed);
        dir.put_back(&theirs, Path::new("bob/x.reason.txt")).unwrap();

        assert_eq!(fs::read_to_string(path.join("bob/x.reason.txt")).unwrap(), "a person's");
        assert!(!path.join(FAILED).exists());
    }

    #[test]
    fn the_list_of_what_waits_is_gone_with_the_last_line_and_never_somebody_elses() {
        let (_temp, path, dir) = drop_dir();
        dir.write_waiting(&["bob/x: bob is off".to_owned()]).unwrap();
        assert!(fs::read_to_string(path.join(WAITING)).unwrap().contains("bob is off"));
        dir.write_waiting(&[]).unwrap();
        assert!(!path.join(WAITING).exists());

        fs::write(path.join(WAITING), "my own list").unwrap();
        dir.write_waiting(&["bob/x: bob is off".to_owned()]).unwrap();
        dir.write_waiting(&[]).unwrap();
        assert_eq!(fs::read_to_string(path.join(WAITING)).unwrap(), "my own list");
    }

    #[test]
    fn a_folder_is_moved_as_a_whole() {
        let (_temp, path, dir) = drop_dir();
        fs::create_dir_all(path.join("bob/tree/a")).unwrap();
        fs::write(path.join("bob/tree/a/f"), "x").unwrap();

        let filed = dir.file_away(Path::new("bob/tree"), SENT, "a/b").unwrap();
        assert_eq!(filed, Path::new("Sent/a_b/tree"));
        assert!(dir.is_there(&filed) && !dir.is_there(Path::new("bob/tree")));
        assert_eq!(fs::read_to_string(path.join(filed).join("a/f")).unwrap(), "x");
    }
}
