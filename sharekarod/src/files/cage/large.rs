//! Large files: piece by piece, in any order, each verified before it is written.

use std::{
    fs::File,
    ops::Range,
    os::unix::fs::FileExt,
    sync::{Arc, PoisonError},
};

use rustix::{
    fs::{FallocateFlags, Mode, SeekFrom, fallocate, fchmod, fstat, fstatfs, fstatvfs, ftruncate, seek},
    io::Errno,
};

use super::{EntryState, Staging, Wanted, journal_name, names::Made, wanted::room_of};
use crate::{
    crash,
    files::{
        Error, Item, Piece, RootBuilder, Value, is_zero,
        pieces::{piece_count, piece_range, piece_value},
    },
};

/// A file of at most so many bytes travels whole, with many others.
pub const SMALL_MAX: u64 = 256 << 10;

/// Bytes of a value in a journal.
const VALUE: u64 = blake3::OUT_LEN as u64;

/// Zeroes are left out of a sparse file in blocks of so many bytes.
const HOLE: usize = 64 << 10;

/// `f_type` of a file system in memory (statfs(2)).
const TMPFS_MAGIC: rustix::fs::FsWord = 0x0102_1994;

/// Values that are read from a journal at once.
const VALUES_AT_ONCE: u64 = 4096;

/// A file that is still arriving, held open.
pub(super) struct Partial {
    pub(super) data: File,
    journal: File,
    pub(super) size: u64,
    pub(super) sparse: bool,
    /// Where room is found as it is written; `None` where all of it was found at once.
    wanted: Option<Wanted>,
}

impl Staging {
    /// Verifies a piece and writes it where it belongs. Already so is not an error.
    ///
    /// # Errors
    /// `Integrity` where the bytes are not those of the value; nothing is written then.
    pub fn write_piece(&self, no: u32, piece: u64, bytes: &[u8], value: &Value) -> Result<(), Error> {
        self.usable()?;
        let partial = self.partial(no)?;
        let range = piece_range(piece, partial.size).ok_or(Error::NoSuch(no))?;
        if piece_value(piece, bytes, partial.size) != Some(*value) {
            return Err(Error::Integrity { no, piece });
        }
        partial.write(range.start, bytes).map_err(Error::on("write entry", no))?;
        crash::point("piece-written");
        partial.claim(piece, value).map_err(Error::on("note a piece of entry", no))?;
        crash::point("piece-noted");
        Ok(())
    }

    /// The pieces of a file that are not here.
    ///
    /// # Errors
    /// The disk.
    pub fn missing(&self, no: u32) -> Result<Vec<Range<u64>>, Error> {
        let item = self.large(no)?;
        let count = piece_count(item.size);
        match self.state(no) {
            EntryState::Missing if self.has_journal(no)? => {}
            EntryState::Missing => return Ok(std::iter::once(0..count).collect()),
            _ => return Ok(Vec::new()),
        }
        let mut missing: Vec<Range<u64>> = Vec::new();
        self.partial(no)?.each_value(|piece, value| match missing.last_mut() {
            _ if value.is_some() => {}
            Some(last) if last.end == piece => last.end += 1,
            _ => missing.push(piece..piece + 1),
        })?;
        Ok(missing)
    }

    /// The values of the pieces of a file that is still arriving.
    ///
    /// # Errors
    /// The disk.
    pub fn values(&self, no: u32) -> Result<Vec<Option<Value>>, Error> {
        let mut values = Vec::new();
        self.partial(no)?.each_value(|_, value| values.push(value))?;
        Ok(values)
    }

    /// Reads a piece that is here, for somebody else who wants it; `None` where it is not here.
    ///
    /// # Errors
    /// The disk; `Integrity` where it no longer holds what was written.
    pub fn read_piece(&self, no: u32, piece: u64, mut bytes: Vec<u8>) -> Result<Option<Piece>, Error> {
        let item = self.large(no)?;
        let range = piece_range(piece, item.size).ok_or(Error::NoSuch(no))?;
        let (data, claimed) = match self.state(no) {
            EntryState::Missing if self.has_journal(no)? => {
                let partial = self.partial(no)?;
                let Some(claimed) = partial.value(piece).map_err(Error::on("read the journal of entry", no))? else { return Ok(None) };
                (partial.data.try_clone().map_err(Error::on("open entry", no))?, Some(claimed))
            }
            EntryState::Missing | EntryState::Skipped(_) => return Ok(None),
            _ => (self.parent(&item)?.read(&self.name(no, &item)).map_err(Error::on("open entry", no))?, None),
        };
        // At most a piece.
        bytes.resize((range.end - range.start) as usize, 0);
        data.read_exact_at(&mut bytes, range.start).map_err(Error::on("read entry", no))?;
        let value = piece_value(piece, &bytes, item.size).ok_or(Error::NoSuch(no))?;
        match claimed {
            Some(claimed) if claimed != value => Err(Error::Integrity { no, piece }),
            _ => Ok(Some(Piece { zero: is_zero(&bytes), bytes, value })),
        }
    }

    /// Makes a file whose pieces are all here durable, gives it its mode and time, and returns its hash. Already so is
    /// not an error.
    ///
    /// # Errors
    /// `Incomplete` where a piece is missing, `OtherContent` where the offer named another hash.
    pub fn finish_file(&self, no: u32) -> Result<Value, Error> {
        self.usable()?;
        if !self.is_verified() {
            return Err(Error::Unverified);
        }
        if self.state(no) == EntryState::Whole
            && let Some(hash) = self.hash(no)
        {
            return Ok(hash);
        }
        let (item, partial) = (self.large(no)?, self.partial(no)?);
        let hash = partial.root()?.ok_or(Error::Incomplete(no))?;
        if item.content.is_some_and(|content| content != hash) {
            return Err(Error::OtherContent(no));
        }
        partial.have_size().map_err(Error::on("size entry", no))?;
        partial.restrict(item.mode).map_err(Error::on("set the mode of entry", no))?;
        self.dress(&partial.data, no, &item)?;
        partial.data.sync_all().map_err(|e| self.poison("sync a file of", e))?;
        self.note_hash(no, &hash)?;
        crash::point("file-synced");
        self.set(&[no], EntryState::Whole)?;
        self.partials.forget(no);
        self.journals.remove(&journal_name(no)).map_err(Error::on("remove the journal of entry", no))?;
        Ok(hash)
    }

    /// Bytes of the pieces of a file that is still arriving.
    pub(super) fn claimed_bytes(&self, no: u32, item: &Item) -> Result<u64, Error> {
        if !self.has_journal(no)? {
            return Ok(0);
        }
        let mut bytes = 0;
        self.partial(no)?.each_value(|piece, value| {
            if let (Some(range), true) = (piece_range(piece, item.size), value.is_some()) {
                bytes += range.end - range.start;
            }
        })?;
        Ok(bytes)
    }

    pub(super) fn large(&self, no: u32) -> Result<Item, Error> {
        Ok(self.manifest.get(no)?).and_then(|item| if item.is_file() { Ok(item) } else { Err(Error::NoSuch(no)) })
    }

    fn has_journal(&self, no: u32) -> Result<bool, Error> {
        self.journals.find(&journal_name(no)).map(|found| found.is_some()).map_err(Error::on("look for the journal of entry", no))
    }

    /// The file, made with all its room where it is not there yet.
    pub(super) fn partial(&self, no: u32) -> Result<Arc<Partial>, Error> {
        if let Some(partial) = self.partials.get(no) {
            return Ok(partial);
        }
        let _one_at_a_time = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(partial) = self.partials.get(no) {
            return Ok(partial);
        }
        let item = self.large(no)?;
        if self.state(no) != EntryState::Missing {
            return Err(Error::NoSuch(no));
        }
        let folder = self.parent(&item)?;
        let opened = match self.make(no, &item, &folder, |name| folder.create(name, item.mode | 0o600))? {
            Made::Fresh(data) => self.new_partial(no, &item, data).inspect_err(|_| {
                // Whatever could not get its room must not stand there as if it had.
                if let Err(error) = folder.remove(&self.name(no, &item)) {
                    tracing::warn!(%error, no, "cannot remove a file that got no room");
                }
            }),
            Made::Left(name) => {
                let data = folder.open_or_create(&name, 0o600).map_err(Error::on("open", &name))?;
                self.old_partial(no, &item, data)
            }
        };
        Ok(self.partials.put(no, opened?))
    }

    fn new_partial(&self, no: u32, item: &Item, data: File) -> Result<Partial, Error> {
        if !item.sparse {
            match find_room(&data, item.size) {
                Ok(true) => self.wanted.less(item.size),
                Ok(false) => {}
                Err(Errno::FBIG) => return Err(Error::Unstorable(no)),
                Err(e) => return Err(Error::at("make room for entry", format_args!("{no} ({})", item.name), e.into())),
            }
        }
        crash::point("partial-made");
        match ftruncate(&data, item.size) {
            Err(Errno::FBIG) => return Err(Error::Unstorable(no)),
            sized => sized.map_err(Error::on("size entry", no))?,
        }
        let partial = self.with_journal(no, item, data)?;
        partial.start_over().map_err(Error::on("begin the journal of entry", no))?;
        Ok(partial)
    }

    fn old_partial(&self, no: u32, item: &Item, data: File) -> Result<Partial, Error> {
        let partial = self.with_journal(no, item, data)?;
        let is_ours = partial.data.metadata().map(|meta| meta.is_file() && meta.len() == item.size);
        if !is_ours.map_err(Error::on("look at entry", no))? {
            // A crash came between making the file and sizing it.
            partial.start_over().map_err(Error::on("begin the journal of entry", no))?;
            ftruncate(&partial.data, item.size).map_err(Error::on("size entry", no))?;
        }
        let expected = piece_count(item.size) * VALUE;
        partial.journal.set_len(expected).map_err(Error::on("size the journal of entry", no))?;
        Ok(partial)
    }

    fn with_journal(&self, no: u32, item: &Item, data: File) -> Result<Partial, Error> {
        let journal = self.journals.open_or_create(&journal_name(no), 0o600).map_err(Error::on("open the journal of entry", no))?;
        let stat = fstat(&data).map_err(|e| Error::at("look at entry", no, e.into()))?;
        let wanted = (!item.sparse && room_of(&stat) < item.size).then(|| self.wanted.clone());
        Ok(Partial { data, journal, size: item.size, sparse: item.sparse, wanted })
    }
}

impl Partial {
    /// The value of a piece that is here.
    pub(super) fn value(&self, piece: u64) -> std::io::Result<Option<Value>> {
        let mut value = Value::default();
        self.journal.read_exact_at(&mut value, piece * VALUE)?;
        Ok((value != Value::default()).then_some(value))
    }

    /// Notes that a piece is here; with a value of nothing but zeroes, that it is not.
    pub(super) fn claim(&self, piece: u64, value: &Value) -> std::io::Result<()> {
        match piece_range(piece, self.size) {
            Some(_) => self.journal.write_all_at(value, piece * VALUE),
            None => Ok(()),
        }
    }

    /// Tells of each piece whether it is here.
    pub(super) fn each_value(&self, mut each: impl FnMut(u64, Option<Value>)) -> Result<(), Error> {
        let count = piece_count(self.size);
        let mut first = 0;
        while first < count {
            let wanted = (count - first).min(VALUES_AT_ONCE);
            let mut bytes = vec![0; (wanted * VALUE) as usize];
            self.journal.read_exact_at(&mut bytes, first * VALUE).map_err(Error::on("read", "a journal"))?;
            let (values, _) = bytes.as_chunks::<{ VALUE as usize }>();
            for (piece, value) in (first..).zip(values) {
                each(piece, (*value != Value::default()).then_some(*value));
            }
            first += wanted;
        }
        Ok(())
    }

    /// Writes bytes; what is nothing but zeroes becomes a hole in a sparse file.
    pub(super) fn write(&self, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
        if !self.sparse {
            self.data.write_all_at(bytes, offset)?;
            self.found_room(bytes.len() as u64);
            return Ok(());
        }
        if is_zero(bytes) && self.is_hole(offset, bytes.len()) {
            return Ok(());
        }
        let mut at = offset;
        for block in bytes.chunks(HOLE) {
            // What was written there and never claimed must not show through.
            if !is_zero(block) || !self.is_hole(at, block.len()) {
                self.data.write_all_at(block, at)?;
            }
            at += block.len() as u64;
        }
        Ok(())
    }

    /// Gives the file the size that it is to have, where something made it longer or shorter.
    pub(super) fn have_size(&self) -> std::io::Result<()> {
        if self.data.metadata()?.len() == self.size { Ok(()) } else { self.data.set_len(self.size) }
    }

    /// So many bytes more have their room.
    pub(super) fn found_room(&self, bytes: u64) {
        if let Some(wanted) = &self.wanted {
            wanted.less(bytes);
        }
    }

    fn is_hole(&self, at: u64, len: usize) -> bool {
        match seek(&self.data, SeekFrom::Data(at)) {
            Ok(data) => data >= at + len as u64,
            Err(e) => e == Errno::NXIO,
        }
    }

    /// The hash of the file; `None` where a piece is missing.
    fn root(&self) -> Result<Option<Value>, Error> {
        let (mut builder, mut whole) = (RootBuilder::new(), true);
        self.each_value(|_, value| match value {
            Some(value) => builder.push(value),
            None => whole = false,
        })?;
        Ok(if whole { builder.finish(self.size) } else { None })
    }

    /// Nothing is here.
    fn start_over(&self) -> std::io::Result<()> {
        self.journal.set_len(0)?;
        self.journal.set_len(piece_count(self.size) * VALUE)
    }

    /// Takes away the permissions that the sender's file has not; those that the umask took away stay away. Bits that
    /// lend somebody's rights were never there.
    fn restrict(&self, mode: u32) -> std::io::Result<()> {
        let now = fstat(&self.data)?.st_mode;
        let wanted = now & mode & 0o777;
        if wanted == now & 0o777 { Ok(()) } else { Ok(fchmod(&self.data, Mode::from_raw_mode(wanted))?) }
    }
}

/// Finds room for a file ahead, and says whether it is kept for it. Not where it lies in memory: to make all its pages takes
/// as long as to write them, and everything would wait.
fn find_room(file: &File, size: u64) -> Result<bool, Errno> {
    if fstatfs(file)?.f_type == TMPFS_MAGIC {
        let stat = fstatvfs(file)?;
        let fits = size <= stat.f_bavail.saturating_mul(stat.f_frsize);
        return if fits { Ok(false) } else { Err(Errno::NOSPC) };
    }
    match fallocate(file, FallocateFlags::KEEP_SIZE, 0, size) {
        Ok(()) => Ok(true),
        // A file system that cannot promise room says so later.
        Err(Errno::NOTSUP | Errno::NOSYS | Errno::INVAL) => Ok(false),
        Err(e) => Err(e),
    }
}
