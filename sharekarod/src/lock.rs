//! One daemon at a time: a file that its holder keeps locked, with its process number in it for whoever comes second.
//!
//! The kernel takes the lock back when the holder ends, however it ends: a lock is never stale.

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, OFlags, flock},
    io::Errno,
};

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another daemon has it.
    #[error("another sharekarod of yours runs already (process {pid} holds {}); `sharectl status` talks to it", path.display())]
    Held {
        /// The locked file.
        path: PathBuf,
        /// Who has it.
        pid: String,
    },
    /// The kernel says no.
    #[error("cannot lock {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// A locked file; dropping it lets another daemon in.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, without waiting. The file is made where it is missing, for our user alone, and stays.
    ///
    /// # Errors
    /// Another daemon has it, or the file cannot be used.
    pub fn take(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Io { path: path.into(), source };
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        // in a folder like /tmp a link may be another user's, and lead to what is ours: it would be emptied
        let mut file = options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(path).map_err(failed)?;
        if let Err(why) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            return Err(refused(why, path, &mut file));
        }
        // only for whoever comes second: on a full disk the lock holds as well
        let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { _file: file })
    }
}

/// Only `EWOULDBLOCK` says that somebody has it; a file system without locks, or a kernel out of them, is a failure.
fn refused(why: Errno, path: &Path, file: &mut impl Read) -> Error {
    if why != Errno::WOULDBLOCK {
        return Error::Io { path: path.into(), source: why.into() };
    }
    let mut pid = String::new();
    let _ = file.read_to_string(&mut pid); // only for the message
    Error::Held { path: path.into(), pid: pid.trim().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::soon;

    #[test]
    fn a_link_in_place_of_the_lock_is_refused_and_empties_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (path, precious) = (dir.path().join("lock"), dir.path().join("precious"));
        std::fs::write(&precious, "kept").unwrap();
        std::os::unix::fs::symlink(&precious, &path).unwrap();

        assert!(matches!(Lock::take(&path), Err(Error::Io { .. })));
        assert_eq!(std::fs::read_to_string(&precious).unwrap(), "kept");
    }

    #[test]
    fn a_lock_that_cannot_be_had_at_all_is_no_other_daemon() {
        for why in [Errno::NOLCK, Errno::OPNOTSUPP, Errno::INTR] {
            assert!(matches!(refused(why, Path::new("/x"), &mut io::empty()), Error::Io { .. }), "{why}");
        }
        let held = refused(Errno::AGAIN, Path::new("/x"), &mut &b"17\n"[..]);
        assert!(matches!(&held, Error::Held { pid, .. } if pid == "17"), "{held}");
    }

    #[test]
    fn the_second_is_told_who_has_it_and_gets_it_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = Lock::take(&path).unwrap();

        let second = Lock::take(&path).unwrap_err();

        assert!(matches!(&second, Error::Held { pid, .. } if *pid == std::process::id().to_string()), "{second}");
        drop(first);
        soon(|| Lock::take(&path).ok());
    }
}
