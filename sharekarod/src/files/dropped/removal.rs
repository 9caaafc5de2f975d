//! Removing what everybody has, and never what somebody put in its place meanwhile.
//!
//! It is first renamed to a name of ours, where no program writes by its old name, and looked at there. Only what still
//! is what was sent gets a second name, and what has that one goes, however little of a folder is left. Killed in
//! between, the next try finds it under one of the two.

use std::path::Path;

use rustix::fs::renameat;

use super::{
    DropDir, FilingError, Print, Trouble,
    filing::move_to_free_name,
    look::{Seen, look},
};
use crate::{
    crash,
    files::{FileName, dir::Dir},
};

/// Before the number of a row: what is looked at once more.
const ASIDE: &str = ".sharekaro-aside-";

/// Before the number of a row: what is known to be what was sent.
const DOOMED: &str = ".sharekaro-removing-";

/// What became of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Removal {
    /// It is not there any more.
    Removed,
    /// Something else has its name, and stays.
    Changed,
}

impl DropDir {
    /// Removes what was sent from a place, with all that is in it, where it still is what was sent. The number is the
    /// same at each try, and nobody else's.
    ///
    /// # Errors
    /// The kernel refuses. What is left of it is found again by its number.
    pub fn remove_sent(&self, place: &Path, number: i64, sent: &Print) -> Result<Removal, FilingError> {
        let (dir, name) = match self.above(place) {
            Err(Trouble::Missing(e)) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Removal::Removed),
            other => other?,
        };
        let (aside, doomed) = (own(ASIDE, number), own(DOOMED, number));
        dir.remove_tree(&doomed)?;
        if dir.find(&aside)?.is_none() {
            match seen(&dir, &name)? {
                None => return Ok(Removal::Removed),
                Some(now) if now.print != *sent => return Ok(Removal::Changed),
                Some(_) => {}
            }
            match move_to_free_name((&dir, &name), (&dir, &aside), "another name of ours") {
                Err(FilingError::Gone) => return Ok(Removal::Removed),
                other => drop(other?),
            }
            crash::point("drop-aside");
        }
        // somebody may have written to it in the very moment
        if seen(&dir, &aside)?.is_some_and(|now| now.print != *sent) {
            move_to_free_name((&dir, &aside), (&dir, &name), "the folder that it came from")?;
            return Ok(Removal::Changed);
        }
        renameat(&dir, aside.as_bytes(), &dir, doomed.as_bytes()).map_err(std::io::Error::from)?;
        crash::point("drop-doomed");
        dir.remove_tree(&doomed)?;
        Ok(if dir.find(&name)?.is_some() { Removal::Changed } else { Removal::Removed })
    }
}

fn seen(dir: &Dir, name: &FileName) -> Result<Option<Seen>, FilingError> {
    Ok(look(dir, name, &mut Vec::new())?)
}

fn own(what: &str, number: i64) -> FileName {
    FileName::parse(format!("{what}{number}").as_bytes()).unwrap_or_else(|_| FileName::own(".sharekaro"))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;

    const PLACE: &str = "bob/scan.pdf";

    /// A drop folder in which something was sent, and its print.
    fn sent(tree: bool) -> (tempfile::TempDir, PathBuf, DropDir, Print) {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("Drop");
        let dir = DropDir::open_or_make(&path).unwrap();
        dir.make_folder(&FileName::own("bob")).unwrap();
        write(&path.join(PLACE), tree, "sent");
        let print = dir.look(Path::new(PLACE), &mut Vec::new()).unwrap().unwrap().print;
        (temp, path, dir, print)
    }

    fn write(at: &Path, tree: bool, content: &str) {
        if tree {
            fs::create_dir_all(at.join("a/b")).unwrap();
            fs::write(at.join("a/b/page"), content).unwrap();
            fs::write(at.join("a/page"), "x").unwrap();
        } else {
            fs::write(at, content).unwrap();
        }
    }

    fn remove(dir: &DropDir, print: &Print) -> Removal {
        dir.remove_sent(Path::new(PLACE), 7, print).unwrap()
    }

    fn names(path: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(path.join("bob")).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn only_what_was_sent_is_removed() {
        for tree in [false, true] {
            let (_temp, path, dir, print) = sent(tree);
            fs::rename(path.join(PLACE), path.join("bob/kept")).unwrap();
            write(&path.join(PLACE), tree, "a new version");
            assert_eq!(remove(&dir, &print), Removal::Changed);
            assert_eq!(names(&path), ["kept", "scan.pdf"]);

            fs::rename(path.join(PLACE), path.join("bob/newer")).unwrap();
            fs::rename(path.join("bob/kept"), path.join(PLACE)).unwrap();
            assert_eq!(remove(&dir, &print), Removal::Removed);
            assert_eq!(remove(&dir, &print), Removal::Removed);
            assert_eq!(names(&path), ["newer"]);
        }
    }

    #[test]
    fn a_removal_that_was_cut_off_goes_on_and_takes_nothing_new_with_it() {
        for tree in [false, true] {
            for newer in [false, true] {
                for half in [ASIDE, DOOMED] {
                    let (_temp, path, dir, print) = sent(tree);
                    let hidden = path.join("bob").join(format!("{half}7"));
                    fs::rename(path.join(PLACE), &hidden).unwrap();
                    if tree && half == DOOMED {
                        fs::remove_file(hidden.join("a/page")).unwrap(); // it was on its way
                    }
                    if newer {
                        write(&path.join(PLACE), tree, "a new version");
                    }

                    let first = remove(&dir, &print);

                    assert_eq!(first, if newer { Removal::Changed } else { Removal::Removed }, "{tree} {newer} {half}");
                    assert_eq!(names(&path), if newer { vec!["scan.pdf"] } else { vec![] }, "{tree} {newer} {half}");
                }
            }
        }
    }

    #[test]
    fn what_was_written_to_in_the_very_moment_has_its_name_again() {
        for taken in [false, true] {
            let (_temp, path, dir, print) = sent(false);
            fs::remove_file(path.join(PLACE)).unwrap();
            fs::write(path.join("bob").join(format!("{ASIDE}7")), "written to under the old name").unwrap();
            if taken {
                fs::write(path.join(PLACE), "a third version").unwrap();
            }

            assert_eq!(remove(&dir, &print), Removal::Changed);

            let expected: &[&str] = if taken { &["scan (2).pdf", "scan.pdf"] } else { &["scan.pdf"] };
            assert_eq!(names(&path), expected);
            assert_eq!(fs::read_to_string(path.join("bob").join(expected[0])).unwrap(), "written to under the old name");
        }
    }
}
