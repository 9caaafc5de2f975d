//! The list of what a transfer holds: files, folders and links, numbered from 1, a folder before what is in it.
//!
//! On disk it is the frames of the wire, one after the other, so that a page of it can be sent as it lies there. A
//! million entries need a few hundred kilobytes of memory: one offset is remembered for each `STEP` of them.

mod frames;
mod intake;
mod item;
mod read;
mod rules;
mod write;

use std::io;

pub use intake::{Intake, Totals};
pub use item::{Item, Mtime, Xattr};
pub use read::{Cursor, Manifest};
pub use rules::link_stays_inside;
pub use write::ManifestWriter;

use super::NameError;

/// The most entries that one transfer has: what a receiver keeps in mind while it validates them is some 30 MiB.
pub const ENTRIES_MAX: u32 = 2_000_000;

/// The most folders that lie in each other: deeper than any real tree, shallow enough to hold one open for each.
pub const DEPTH_MAX: u16 = 256;

/// The longest path within a transfer, in bytes: what the kernel takes at once.
pub const PATH_BYTES_MAX: usize = 4096;

/// The largest file: 4 TiB, whose chaining values are 128 MiB.
pub const FILE_BYTES_MAX: u64 = 4 << 40;

/// The most extended attributes of one entry, in bytes: ext4 holds no more than one block of them.
pub const XATTR_BYTES_MAX: usize = 64 << 10;

/// Why a manifest cannot be read, written or taken from a peer.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The disk.
    #[error("cannot {doing} the manifest")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// An entry that breaks a rule: a peer lies, or is broken.
    #[error("entry {no} of the manifest: {why}")]
    Entry {
        /// Its number.
        no: u64,
        /// Which rule.
        why: Broken,
    },
    /// There is no such entry.
    #[error("the manifest has no entry {0}")]
    NoSuch(u32),
    /// The bytes end within an entry, or are none.
    #[error("the manifest is cut off or damaged after entry {0}")]
    Torn(u32),
    /// It is whole, and not what was offered.
    #[error("the manifest has {found:?} where {offered:?} was offered")]
    Totals {
        /// What the offer said.
        offered: Totals,
        /// What the entries say.
        found: Totals,
    },
}

impl ManifestError {
    fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }
}

/// The rules of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The frame is no entry.
    #[error("it is no entry")]
    Frame,
    /// The name is none.
    #[error("it has {0}")]
    Name(#[from] NameError),
    /// Neither file, folder nor link.
    #[error("it is neither file, folder nor link")]
    Kind,
    /// A file of more than `FILE_BYTES_MAX`.
    #[error("it is larger than 4 TiB")]
    Size,
    /// A time that no clock shows.
    #[error("its time is none")]
    Time,
    /// Neither a hash nor nothing.
    #[error("its hash is none")]
    Content,
    /// The target of a link is longer than a path.
    #[error("its target is too long")]
    Target,
    /// Odd in number, nameless or too many.
    #[error("its extended attributes are none")]
    Xattrs,
    /// It lies in something that is no folder before it.
    #[error("it lies in what is no folder before it")]
    Parent,
    /// Deeper than `DEPTH_MAX`.
    #[error("it lies too deep")]
    Depth,
    /// Its path is longer than `PATH_BYTES_MAX`.
    #[error("its path is too long")]
    Path,
    /// The folder has that name already.
    #[error("its folder has that name already")]
    Twice,
    /// More than `ENTRIES_MAX`, or than offered.
    #[error("there are more entries than were offered")]
    TooMany,
}
