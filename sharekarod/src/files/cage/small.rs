//! Small files: many at a time, each written whole, made durable together.

use std::{fs::File, os::unix::fs::FileExt, sync::Arc};

use rustix::fs::{Timespec, Timestamps, futimens};
use sharekaro_proto::nouns::transfer::SkipReason;

use super::{EntryState, Staging, names::Made};
use crate::{
    crash,
    files::{Error, Item, Value, dir::Dir, piece_value, xattr},
};

/// A small file that arrived.
#[derive(Clone, Copy, Debug)]
pub struct Small<'a> {
    /// Number of the entry.
    pub no: u32,
    /// All of it.
    pub bytes: &'a [u8],
    /// Its hash, as the sender computed it.
    pub value: Value,
}

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Files that are here now, and were not before.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files whose bytes are not those of their hash, or not the file that was offered: they must come again.
    pub refused: Vec<u32>,
    /// Files that cannot be stored under any name.
    pub unstorable: Vec<u32>,
}

impl Staging {
    /// Writes many small files. They are durable only after `sync`. Whose entries ascend is faster.
    ///
    /// # Errors
    /// The disk; what was written before it stays.
    pub fn write_small(&self, batch: &[Small<'_>]) -> Result<Stored, Error> {
        self.usable()?;
        let (mut stored, mut claimed) = (Stored::default(), Vec::with_capacity(batch.len()));
        let mut cursor = self.manifest.cursor();
        let mut folder = None;
        let mut failed = Ok(());
        for small in batch {
            let written = cursor.get(small.no).map_err(Error::from).and_then(|item| self.write_one(small, &item, &mut folder));
            match written {
                Ok(true) => {
                    claimed.push(small.no);
                    stored.files += 1;
                    stored.bytes += small.bytes.len() as u64;
                }
                Ok(false) => {}
                Err(Error::Integrity { .. } | Error::OtherContent(_)) => stored.refused.push(small.no),
                Err(Error::Unstorable(_)) => {
                    self.wanted.less(small.bytes.len() as u64);
                    self.set(&[small.no], EntryState::Skipped(SkipReason::Unstorable))?;
                    stored.unstorable.push(small.no);
                }
                Err(e) => {
                    failed = Err(e);
                    break;
                }
            }
        }
        self.set(&claimed, EntryState::Claimed)?;
        failed.map(|()| stored)
    }

    /// Whether the file was written; one that is here already, or was given up, is not.
    fn write_one(&self, small: &Small<'_>, item: &Item, last: &mut Option<(u32, Arc<Dir>)>) -> Result<bool, Error> {
        let no = small.no;
        if !item.is_file() {
            return Err(Error::NoSuch(no));
        }
        if self.state(no) != EntryState::Missing {
            return Ok(false);
        }
        if piece_value(0, small.bytes, item.size) != Some(small.value) {
            return Err(Error::Integrity { no, piece: 0 });
        }
        if item.content.is_some_and(|content| content != small.value) {
            return Err(Error::OtherContent(no));
        }
        let folder = match last {
            Some((parent, folder)) if *parent == item.parent => folder.clone(),
            _ => last.insert((item.parent, self.parent(item)?)).1.clone(),
        };
        let file = match self.make(no, item, &folder, |name| folder.create(name, item.mode))? {
            Made::Fresh(file) => file,
            Made::Left(name) => {
                folder.remove(&name).map_err(Error::on("remove what is left of", &name))?;
                folder.create(&name, item.mode).map_err(Error::on("make", &name))?
            }
        };
        file.write_all_at(small.bytes, 0).map_err(Error::on("write entry", no))?;
        self.dress(&file, no, item)?;
        self.note_hash(no, &small.value)?;
        self.wanted.less(item.size);
        crash::point("small-written");
        Ok(true)
    }

    /// Gives a file its time and attributes. Its mode it got when it was made.
    pub(super) fn dress(&self, file: &File, no: u32, item: &Item) -> Result<(), Error> {
        xattr::write(file, &item.xattrs);
        futimens(file, &times(item)).map_err(Error::on("set the time of entry", no))
    }
}

/// Times of a file as its sender has them; what was read last is not known.
pub(super) fn times(item: &Item) -> Timestamps {
    let time = Timespec { tv_sec: item.mtime.seconds, tv_nsec: item.mtime.nanos.into() };
    Timestamps { last_access: time, last_modification: time }
}
