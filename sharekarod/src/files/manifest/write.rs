//! A manifest in the making, at the sender.

use std::{
    fs::{File, OpenOptions},
    io::{BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use sharekaro_proto::wire::{Entry, encode_frame};

use super::{Broken, ENTRIES_MAX, ManifestError};

/// Appends entries; without `finish` the file is of no use.
pub struct ManifestWriter {
    file: BufWriter<File>,
    count: u32,
}

impl ManifestWriter {
    /// An empty manifest in this file; what was there is replaced.
    ///
    /// # Errors
    /// Where the file cannot be made.
    pub fn create(manifest_path: &Path) -> Result<Self, ManifestError> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(manifest_path);
        Ok(Self { file: BufWriter::new(file.map_err(ManifestError::io("create"))?), count: 0 })
    }

    /// Appends an entry and returns its number.
    ///
    /// # Errors
    /// `TooMany` over `ENTRIES_MAX`, or the disk.
    pub fn append(&mut self, entry: &Entry) -> Result<u32, ManifestError> {
        if self.count >= ENTRIES_MAX {
            return Err(ManifestError::Entry { no: u64::from(self.count) + 1, why: Broken::TooMany });
        }
        self.file.write_all(&encode_frame(entry)).map_err(ManifestError::io("write"))?;
        self.count += 1;
        Ok(self.count)
    }

    /// How many entries there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Makes it durable.
    ///
    /// # Errors
    /// The disk.
    pub fn finish(self) -> Result<(), ManifestError> {
        let file = self.file.into_inner().map_err(|e| ManifestError::Io { doing: "write", source: e.into_error() })?;
        file.sync_data().map_err(ManifestError::io("sync"))
    }
}
