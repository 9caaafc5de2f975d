//! What is true after a crash.
//!
//! After one of ours, everything that was written is in the page cache, and so is what was noted of it. After a power
//! cut, or a disk that lost bytes, only what was synced is: the rest is read again and compared.

use std::{
    io::Write,
    os::unix::fs::FileExt,
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::fs::{Advice, fadvise};

use super::{EntryState, Staging, journal_name};
use crate::files::{
    Error, FileName, PIECE_BYTES, Value,
    pieces::{piece_range, piece_value},
};

/// Where the kernel says which start of the machine this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

impl Staging {
    /// Whether everything that is noted is known to be true.
    pub fn is_verified(&self) -> bool {
        self.verified.load(Ordering::Acquire)
    }

    /// Compares what is noted with what is there, and forgets what is not. Pieces may arrive meanwhile. `progress` is
    /// told the bytes that were read.
    ///
    /// # Errors
    /// The disk; `Cancelled` soon after `cancel` becomes true.
    pub fn verify_claims(&self, cancel: &AtomicBool, progress: &mut dyn FnMut(u64)) -> Result<(), Error> {
        if self.is_verified() {
            return Ok(());
        }
        if !self.is_placing()? {
            self.verify_small(cancel)?;
        }
        let mut read = 0;
        for journal in self.journals.names().map_err(Error::on("list", "the journals"))? {
            let no = std::str::from_utf8(journal.as_bytes()).ok().and_then(|name| name.parse().ok());
            match no.filter(|no| self.state(*no) == EntryState::Missing) {
                Some(no) => self.verify_large(no, cancel, &mut |bytes| {
                    read += bytes;
                    progress(read);
                })?,
                // The crash came between noting a file as whole and removing its journal.
                None => self.journals.remove(&journal).map_err(Error::on("remove journal", &journal))?,
            }
        }
        self.note_boot()
    }

    /// Small files that were not synced come again; of those that were, only their being there is looked at.
    fn verify_small(&self, cancel: &AtomicBool) -> Result<(), Error> {
        self.set(&self.states.all(EntryState::Claimed), EntryState::Missing)?;
        let mut cursor = self.manifest.cursor();
        let mut gone = Vec::new();
        for no in self.states.all(EntryState::Whole) {
            if cancel.load(Ordering::Relaxed) {
                return Err(Error::Cancelled);
            }
            let item = cursor.get(no)?;
            if !item.is_file() {
                // Made again where it is not there.
                gone.push(no);
                continue;
            }
            let found = self.parent(&item)?.find(&self.name(no, &item)).map_err(Error::on("look for entry", no))?;
            if found.is_none_or(|stat| u64::try_from(stat.st_size) != Ok(item.size)) {
                gone.push(no);
            }
        }
        self.set(&gone, EntryState::Missing)
    }

    fn verify_large(&self, no: u32, cancel: &AtomicBool, progress: &mut dyn FnMut(u64)) -> Result<(), Error> {
        let partial = self.partial(no)?;
        // What is asked is what the disk holds, not what this memory still shows.
        if let Err(error) = fadvise(&partial.data, 0, None, Advice::DontNeed) {
            tracing::debug!(%error, "the kernel takes no advice on a partial file");
        }
        let mut claims = Vec::new();
        partial.each_value(|piece, value| claims.extend(value.map(|value| (piece, value))))?;
        let mut buffer = vec![0; PIECE_BYTES];
        for (piece, value) in claims {
            if cancel.load(Ordering::Relaxed) {
                return Err(Error::Cancelled);
            }
            let range = piece_range(piece, partial.size).ok_or(Error::NoSuch(no))?;
            buffer.resize((range.end - range.start) as usize, 0);
            let is_true =
                partial.data.read_exact_at(&mut buffer, range.start).is_ok() && piece_value(piece, &buffer, partial.size) == Some(value);
            if !is_true {
                partial.claim(piece, &Value::default()).map_err(Error::on("forget a piece of", journal_name(no)))?;
            }
            progress(range.end - range.start);
        }
        Ok(())
    }

    /// Called once, when the cage is opened.
    pub(super) fn compare_boot(&self) -> Result<(), Error> {
        let name = FileName::own("boot");
        let noted = self.home.find(&name).map_err(Error::on("look for", "boot"))?.is_some();
        let fresh = !noted && self.states.all(EntryState::Missing).len() == self.manifest.count() as usize;
        if fresh && self.journals.names().map_err(Error::on("list", "the journals"))?.is_empty() {
            return self.note_boot();
        }
        if noted {
            let file = self.home.read(&name).map_err(Error::on("open", "boot"))?;
            let text = std::io::read_to_string(file).map_err(Error::on("read", "boot"))?;
            self.verified.store(text == boot_id()?, Ordering::Release);
        }
        Ok(())
    }

    fn note_boot(&self) -> Result<(), Error> {
        let noting = |e| Error::at("note", "boot", e);
        let mut file = self.home.open_or_create(&FileName::own("boot"), 0o600).map_err(noting)?;
        file.set_len(0).map_err(noting)?;
        file.write_all(boot_id()?.as_bytes()).map_err(noting)?;
        self.verified.store(true, Ordering::Release);
        Ok(())
    }
}

fn boot_id() -> Result<String, Error> {
    std::fs::read_to_string(BOOT_ID).map_err(Error::on("read", BOOT_ID))
}
