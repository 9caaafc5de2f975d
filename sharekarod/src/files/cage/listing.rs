//! What one transfer put where, so that it can be shown, signed and undone.

use std::{
    fs::{self, File},
    io::{BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use prost::Message;
use sharekaro_proto::wire::{EntryKind, FRAME_MAX, frame_length};

use super::commit::{Displaced, Place};
use crate::files::{Error, FileName, Item, Value};

/// A file, folder or link in its place.
#[derive(Clone, PartialEq, Message)]
pub struct Listed {
    /// Number of its entry.
    #[prost(uint32, tag = "1")]
    pub no: u32,
    /// Names from the destination on.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub names: Vec<Vec<u8>>,
    /// What it is.
    #[prost(enumeration = "EntryKind", tag = "3")]
    pub kind: i32,
    /// Bytes.
    #[prost(uint64, tag = "4")]
    pub size: u64,
    /// Modification time, as the file system keeps it: seconds.
    #[prost(sint64, tag = "5")]
    pub mtime_s: i64,
    /// And nanoseconds.
    #[prost(uint64, tag = "6")]
    pub mtime_ns: u64,
    /// Hash of a file.
    #[prost(bytes = "vec", tag = "7")]
    pub content: Vec<u8>,
    /// It was there before, so it is not ours to remove.
    #[prost(bool, tag = "8")]
    pub existed: bool,
    /// What lost its name to it is called so, in the same folder.
    #[prost(bytes = "vec", tag = "9")]
    pub displaced: Vec<u8>,
    /// And has this number on its file system.
    #[prost(fixed64, tag = "10")]
    pub displaced_inode: u64,
}

impl Listed {
    /// Its path from the destination on.
    pub fn path(&self) -> PathBuf {
        self.parsed().iter().map(FileName::as_os_str).collect()
    }

    /// The same in another place.
    pub(super) fn at(&self, place: &Place) -> Self {
        let (displaced, displaced_inode) = displaced(place);
        let names = place.names.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self { names, existed: self.existed || place.existed, displaced, displaced_inode, ..self.clone() }
    }

    /// The older thing that lost its name to it.
    pub(super) fn older(&self) -> Option<Displaced> {
        FileName::parse(&self.displaced).ok().map(|name| Displaced { name, inode: self.displaced_inode })
    }

    /// Its names, as far as they are some.
    pub(super) fn parsed(&self) -> Vec<FileName> {
        self.names.iter().map_while(|name| FileName::parse(name).ok()).collect()
    }
}

fn displaced(place: &Place) -> (Vec<u8>, u64) {
    place.displaced.as_ref().map(|older| (older.name.as_bytes().to_vec(), older.inode)).unwrap_or_default()
}

/// Everything in a listing, in the order of the manifest.
///
/// # Errors
/// Where the file cannot be opened; later, where it is not a listing.
pub fn read_listing(listing_path: &Path) -> Result<impl Iterator<Item = Result<Listed, Error>>, Error> {
    let file = File::open(listing_path).map_err(Error::on("open", listing_path.display()))?;
    let mut reader = BufReader::new(file);
    Ok(std::iter::from_fn(move || read_one(&mut reader).transpose()))
}

fn read_one(reader: &mut impl Read) -> Result<Option<Listed>, Error> {
    let mut head = Vec::new();
    loop {
        let mut byte = [0];
        let read = reader.read(&mut byte).map_err(Error::on("read", "a listing"))?;
        if read == 0 && head.is_empty() {
            return Ok(None);
        }
        head.extend(byte.iter().take(read));
        match frame_length(&head, FRAME_MAX) {
            Ok(Some((length, _))) => {
                let mut payload = vec![0; length];
                reader.read_exact(&mut payload).map_err(Error::on("read", "a listing"))?;
                return Listed::decode(payload.as_slice()).map(Some).map_err(|_| Error::Note("a listing"));
            }
            Ok(None) if read == 1 => {}
            _ => return Err(Error::Note("a listing")),
        }
    }
}

/// Writes a listing beside its place and puts it there when it is whole.
pub(super) struct ListingWriter {
    path: PathBuf,
    beside: PathBuf,
    file: BufWriter<File>,
}

impl ListingWriter {
    pub(super) fn create(listing_path: &Path) -> Result<Self, Error> {
        let beside = listing_path.with_extension("new");
        let file = File::create(&beside).map_err(Error::on("create", beside.display()))?;
        Ok(Self { path: listing_path.to_owned(), beside, file: BufWriter::new(file) })
    }

    /// Lists what was placed by what was noted of it before, and never by what has its name now.
    pub(super) fn add(&mut self, no: u32, item: &Item, place: &Place, hash: Option<Value>, time: (i64, u64)) -> Result<(), Error> {
        let (displaced, displaced_inode) = displaced(place);
        self.write(&Listed {
            no,
            names: place.names.iter().map(|name| name.as_bytes().to_vec()).collect(),
            kind: item.kind.into(),
            size: if item.is_file() { item.size } else { 0 },
            mtime_s: time.0,
            mtime_ns: time.1,
            content: hash.filter(|_| item.is_file()).map(|hash| hash.to_vec()).unwrap_or_default(),
            existed: place.existed,
            displaced,
            displaced_inode,
        })
    }

    pub(super) fn write(&mut self, listed: &Listed) -> Result<(), Error> {
        self.file.write_all(&listed.encode_length_delimited_to_vec()).map_err(Error::on("write", self.beside.display()))
    }

    pub(super) fn finish(self) -> Result<(), Error> {
        let file = self.file.into_inner().map_err(std::io::IntoInnerError::into_error);
        file.and_then(|file| file.sync_data()).map_err(Error::on("write", self.beside.display()))?;
        fs::rename(&self.beside, &self.path).map_err(Error::on("write", self.path.display()))
    }
}
