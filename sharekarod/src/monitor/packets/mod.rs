//! Packets, live and from files: what they are, who talks to whom, which are out of the ordinary.
//!
//! A capture is streamed through one pass (`captures`, `dissect`, `filter`, `stats`, `forest`) in bounded memory, however
//! long it is and whatever is in it. Nothing here writes to the network or needs a privilege: `live` reads a
//! packet socket that another program has opened.

pub mod analyse;
pub mod captures;
pub mod dissect;
pub mod export;
pub mod filter;
pub mod forest;
pub mod live;
pub mod stats;

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

pub use analyse::{Failure, Options, analyse};

/// Opens a recording. A pipe or a device may keep its reader for ever, and a folder would give an odder error later.
///
/// # Errors
/// As the system's, and for what is no regular file.
pub fn open(path: &Path) -> io::Result<File> {
    // Opening a pipe waits for whoever writes to it, but not so; to a regular file it makes no difference.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    match file.metadata()?.file_type() {
        kind if kind.is_file() => Ok(file),
        kind if kind.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a pipe or a device, and no file")),
    }
}
