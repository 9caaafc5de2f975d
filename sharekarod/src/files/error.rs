//! Why received bytes could not be stored.

use std::{fmt::Display, io};

use rustix::io::Errno;

use super::{ManifestError, NameError};

/// Why received bytes could not be stored. What is stored already stays, whichever it is.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system, or a quota on it, is full.
    #[error("no space left to {doing} {what}")]
    NoSpace {
        /// What was tried.
        doing: &'static str,
        /// On what.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// It may not be written to.
    #[error("no permission to {doing} {what}")]
    Denied {
        /// What was tried.
        doing: &'static str,
        /// On what.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// A folder of ours or of the person is no longer there.
    #[error("cannot {doing} {what}, as it is gone")]
    Gone {
        /// What was tried.
        doing: &'static str,
        /// On what.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// Anything else that the disk says.
    #[error("cannot {doing} {what}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The bytes are not those that the value was computed from: whoever sent them lies, or is broken.
    #[error("piece {piece} of entry {no} is not what it should be")]
    Integrity {
        /// Which entry.
        no: u32,
        /// Which piece of it.
        piece: u64,
    },
    /// All pieces are as they were sent, and together not the file that was offered.
    #[error("entry {0} is not the file that was offered")]
    OtherContent(u32),
    /// Something is not here yet.
    #[error("entry {0} is not whole yet")]
    Incomplete(u32),
    /// What is on the disk after a crash was not compared yet: `verify_claims` comes first.
    #[error("what is here was not verified after the last crash")]
    Unverified,
    /// The disk lost bytes while they were made durable. Open it again: then all of it is compared.
    #[error("the disk lost bytes; what is here must be verified first")]
    Poisoned,
    /// No name is taken for it, or it is larger than a file may be there.
    #[error("entry {0} cannot be stored there under any name")]
    Unstorable(u32),
    /// The entry is no file, or has no such piece.
    #[error("entry {0} is no file, or has no such piece")]
    NoSuch(u32),
    /// Our folder there belongs to somebody else.
    #[error("{0} belongs to somebody else")]
    Foreign(String),
    /// A note of ours is not what we wrote.
    #[error("the note of what was received is damaged: {0}")]
    Note(&'static str),
    /// The manifest.
    #[error("cannot look up what is received")]
    Manifest(#[from] ManifestError),
    /// A name.
    #[error("cannot use a name")]
    Name(#[from] NameError),
    /// Somebody ended it.
    #[error("it was cancelled")]
    Cancelled,
}

impl Error {
    /// What the kernel said, sorted by what a person could do about it.
    pub(super) fn at(doing: &'static str, what: impl Display, source: io::Error) -> Self {
        let what = what.to_string();
        match Errno::from_io_error(&source) {
            Some(Errno::NOSPC | Errno::DQUOT) => Self::NoSpace { doing, what, source },
            Some(Errno::ROFS | Errno::ACCESS | Errno::PERM) => Self::Denied { doing, what, source },
            Some(Errno::NOENT | Errno::NOTDIR | Errno::STALE | Errno::NODEV | Errno::NOTCONN) => Self::Gone { doing, what, source },
            _ => Self::Io { doing, what, source },
        }
    }

    /// The same as a function, for `map_err`.
    pub(super) fn on<E: Into<io::Error>>(doing: &'static str, what: impl Display) -> impl FnOnce(E) -> Self {
        move |source| Self::at(doing, what, source.into())
    }

    /// Whether it goes on once something was deleted there.
    pub const fn is_no_space(&self) -> bool {
        matches!(self, Self::NoSpace { .. })
    }

    /// Whether the peer is to blame.
    pub const fn is_integrity(&self) -> bool {
        matches!(self, Self::Integrity { .. } | Self::OtherContent(_))
    }
}
