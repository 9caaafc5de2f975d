//! What is sent: a walk makes it, then its pieces are read until nobody asks any more.
//!
//! A file that is no longer what the walk found is never read as if it were: its key is compared before and after each
//! piece. No file is ever a mix of two states; `steady` says how that is so where its times do not tell.

mod exclude;
mod extents;
mod key;
mod open;
mod steady;
mod tops;
mod walk;

use std::{
    collections::HashSet,
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use sharekaro_proto::wire::{Entry, PIECE_SIZE};

pub(super) use extents::extents;
pub use extents::{EXTENTS_MAX, Extents};
pub use key::HashKey;
use key::{KeyWriter, read_key};
use steady::{Doubts, is_young, now_ns};
use tops::Tops;
pub use walk::{SKIPPED_MAX, Skipped, WalkOptions, Walked, Watch};

use super::{
    Item, Manifest, ManifestError, RootBuilder, Value, is_zero,
    manifest::ManifestWriter,
    pieces::{piece_count, piece_range, piece_value},
    recent::Recent,
};

/// Why a walk came to no end.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// What was named is not there.
    #[error("cannot look at {}", path.display())]
    Missing {
        /// What was named.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A pattern is none.
    #[error("cannot read a pattern of what to leave out")]
    Pattern(#[from] globset::Error),
    /// The result could not be written.
    #[error("cannot write what was found")]
    Manifest(#[from] ManifestError),
    /// The result could not be written.
    #[error("cannot write beside the manifest")]
    Io(#[from] io::Error),
    /// Somebody ended it.
    #[error("the walk was cancelled")]
    Cancelled,
}

/// Why nothing could be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// What a person named is not there now: a medium that was unplugged, a folder that was moved. It may come back.
    #[error("{} is not there", .0.display())]
    Away(PathBuf),
    /// The file is gone from where it was.
    #[error("entry {0} is gone")]
    Vanished(u32),
    /// The file is no longer what it was when it was offered.
    #[error("entry {0} has changed since it was offered")]
    Changed(u32),
    /// The file is there and could not be read.
    #[error("cannot read entry {no}")]
    Unreadable {
        /// Which.
        no: u32,
        /// What the kernel said.
        source: io::Error,
    },
    /// There is no such file or piece.
    #[error("entry {0} is no file, or has no such piece")]
    NoSuch(u32),
    /// Our own notes.
    #[error("cannot read what was noted of the source")]
    Notes(#[from] ManifestError),
    /// Somebody ended it.
    #[error("reading was cancelled")]
    Cancelled,
}

/// A piece as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its chaining value; of a file of one piece, its hash.
    pub value: Value,
    /// Whether there is nothing but zeroes in it.
    pub zero: bool,
}

/// What is sent. Its questions may be asked from several threads at once.
pub struct SourceTree {
    manifest: Manifest,
    keys: File,
    tops: Tops,
    files: Recent<File>,
    folders: Recent<super::dir::Dir>,
    doubts: Doubts,
}

impl SourceTree {
    /// Walks what a person named, and writes what was found into a folder of our own, which must be there. Paths are
    /// absolute.
    ///
    /// # Errors
    /// Where something named is not there; a thing that only cannot be read is left out and told.
    pub fn walk(notes_dir: &Path, paths: &[PathBuf], options: &WalkOptions, watch: Watch<'_>) -> Result<(Self, Walked), WalkError> {
        let mut walk = walk::Walk {
            exclude: exclude::Exclude::parse(&options.exclude)?,
            options,
            sink: SourceWriter::create(notes_dir)?,
            watch,
            walked: Walked::default(),
            harmless: 0,
        };
        let mut taken = HashSet::new();
        for path in paths {
            let name = free_name(&walk::top_name(path), &taken);
            walk.top(path, name.clone())?;
            taken.insert(name);
        }
        (walk.watch.progress)(&walk.walked);
        walk.sink.finish()?;
        Ok((Self::open(notes_dir)?, walk.walked))
    }

    /// What an earlier walk found.
    ///
    /// # Errors
    /// Where it wrote no end.
    pub fn open(notes_dir: &Path) -> Result<Self, ManifestError> {
        let noted = |source| ManifestError::Io { doing: "open the notes beside", source };
        let doubts = Doubts::read(&notes_dir.join("doubted")).map_err(noted)?;
        let is_known = doubts.is_some();
        let mut tree = Self {
            manifest: Manifest::open(&notes_dir.join("manifest"))?,
            keys: File::open(notes_dir.join("keys")).map_err(noted)?,
            tops: Tops::read(&notes_dir.join("tops")).map_err(noted)?,
            files: Recent::new(),
            folders: Recent::new(),
            doubts: doubts.unwrap_or_default(),
        };
        if !is_known {
            tree.settle(notes_dir).map_err(noted)?;
        }
        Ok(tree)
    }

    /// What is in it.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What a file was when it was walked: what its hashes may be remembered under.
    ///
    /// # Errors
    /// Where there is no such entry.
    pub fn key(&self, no: u32) -> Result<HashKey, SourceError> {
        let noted = |source| ManifestError::Io { doing: "read the keys beside", source };
        if no == 0 || no > self.manifest.count() {
            return Err(SourceError::NoSuch(no));
        }
        Ok(read_key(&self.keys, no).map_err(noted)?)
    }

    /// Reads one piece into `buffer`, which may come from an earlier one.
    ///
    /// # Errors
    /// Where the file is not what it was.
    pub fn read_piece(&self, no: u32, piece: u64, buffer: Vec<u8>) -> Result<Piece, SourceError> {
        let read = self.read_now(no, piece, buffer)?;
        match self.doubts.root(no) {
            Some(root) if self.layer_of(no, root)?.get(piece as usize) != Some(&read.value) => Err(SourceError::Changed(no)),
            _ => Ok(read),
        }
    }

    fn read_now(&self, no: u32, piece: u64, buffer: Vec<u8>) -> Result<Piece, SourceError> {
        let key = self.key(no)?;
        let file = self.file(no, &key)?;
        self.read_from(&file, (no, piece), &key, buffer).inspect_err(|_| self.files.forget(no))
    }

    /// The hash of a file that may change without showing it: nothing else of it is given away, and under its key nothing
    /// may be remembered.
    pub fn doubted(&self, no: u32) -> Option<Value> {
        self.doubts.root(no)
    }

    /// The values of a doubted file, which still have to be those of when it was doubted.
    fn layer_of(&self, no: u32, root: Value) -> Result<Arc<Vec<Value>>, SourceError> {
        self.doubts.layer(no, || {
            let (now, layer) = self.layer_now(no, &AtomicBool::new(false))?;
            if now == root { Ok(layer) } else { Err(SourceError::Changed(no)) }
        })
    }

    /// Reads a small file whole. It is not held open afterwards.
    ///
    /// # Errors
    /// As `read_piece`; `NoSuch` where the file is larger than a piece.
    pub fn read_small(&self, item: &Item, no: u32, buffer: Vec<u8>) -> Result<Piece, SourceError> {
        let key = self.key(no)?;
        if !item.is_file() || key.size > PIECE_SIZE {
            return Err(SourceError::NoSuch(no));
        }
        self.read_from(&self.open_file(no, item, &key)?, (no, 0), &key, buffer)
    }

    fn read_from(&self, file: &File, at: (u32, u64), key: &HashKey, mut bytes: Vec<u8>) -> Result<Piece, SourceError> {
        let (no, piece) = at;
        let range = match piece_range(piece, key.size) {
            None if key.size == 0 && piece == 0 => 0..0,
            range => range.ok_or(SourceError::NoSuch(no))?,
        };
        // At most a piece.
        bytes.resize((range.end - range.start) as usize, 0);
        self.unchanged(file, no, key)?;
        match file.read_exact_at(&mut bytes, range.start) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Err(SourceError::Changed(no)),
            Err(source) => return Err(self.unreadable(no, source)),
            Ok(()) => self.unchanged(file, no, key)?,
        }
        if key.size <= PIECE_SIZE && is_young(key, now_ns()) {
            self.is_still(file, no, &bytes)?;
        }
        let value = piece_value(piece, &bytes, key.size).ok_or(SourceError::NoSuch(no))?;
        Ok(Piece { zero: is_zero(&bytes), bytes, value })
    }

    /// Whether a file of one piece is still what was read of it: then it was that at one moment, whoever writes to it.
    fn is_still(&self, file: &File, no: u32, read: &[u8]) -> Result<(), SourceError> {
        let mut again = vec![0; read.len()];
        file.read_exact_at(&mut again, 0).map_err(|source| self.unreadable(no, source))?;
        if again == read { Ok(()) } else { Err(SourceError::Changed(no)) }
    }

    /// Hashes a file: its hash, and the values of its pieces.
    ///
    /// # Errors
    /// As `read_piece`; `Cancelled` soon after `cancel` becomes true.
    pub fn layer(&self, no: u32, cancel: &AtomicBool) -> Result<(Value, Vec<Value>), SourceError> {
        match self.doubts.root(no) {
            Some(root) => Ok((root, self.layer_of(no, root)?.to_vec())),
            None => self.layer_now(no, cancel),
        }
    }

    fn layer_now(&self, no: u32, cancel: &AtomicBool) -> Result<(Value, Vec<Value>), SourceError> {
        let size = self.key(no)?.size;
        let (mut values, mut builder, mut buffer) = (Vec::new(), RootBuilder::new(), Vec::new());
        // The empty file is read too, so that one that has changed is noticed.
        for piece in 0..piece_count(size).max(1) {
            if cancel.load(Ordering::Relaxed) {
                return Err(SourceError::Cancelled);
            }
            let read = self.read_now(no, piece, buffer)?;
            buffer = read.bytes;
            if size > 0 {
                values.push(read.value);
                builder.push(read.value);
            }
        }
        let root = builder.finish(size).ok_or(SourceError::NoSuch(no))?;
        Ok((root, values))
    }

    /// Where a file holds data, from an offset on.
    ///
    /// # Errors
    /// As `read_piece`.
    pub fn extents(&self, no: u32, from: u64) -> Result<Extents, SourceError> {
        let key = self.key(no)?;
        if self.doubts.root(no).is_some() {
            // its holes may be filled without a trace: all of it is asked for, and compared
            return Ok(Extents { data: vec![(from, key.size.saturating_sub(from))], next: 0 });
        }
        // A seek moves the position of the file, which nobody else uses: everything is read at offsets.
        let file = self.file(no, &key)?;
        let found = extents::extents(&file, from, key.size).map_err(|source| self.unreadable(no, source))?;
        self.unchanged(&file, no, &key)?;
        Ok(found)
    }

    /// Closes everything, so that a medium can be taken out while nobody asks.
    pub fn release(&self) {
        self.files.forget_all();
        self.folders.forget_all();
    }
}

/// What a walk writes: the manifest, a key for each entry, and where the things that a person named are.
struct SourceWriter {
    manifest: ManifestWriter,
    keys: KeyWriter,
    tops: Tops,
    tops_path: PathBuf,
}

impl SourceWriter {
    fn create(notes_dir: &Path) -> Result<Self, WalkError> {
        Ok(Self {
            manifest: ManifestWriter::create(&notes_dir.join("manifest"))?,
            keys: KeyWriter::new(File::create(notes_dir.join("keys"))?),
            tops: Tops::default(),
            tops_path: notes_dir.join("tops"),
        })
    }

    fn append(&mut self, entry: &Entry, key: HashKey) -> Result<u32, WalkError> {
        self.keys.append(key)?;
        Ok(self.manifest.append(entry)?)
    }

    fn add_top(&mut self, no: u32, path: &Path) {
        self.tops.add(no, path);
    }

    fn finish(self) -> Result<(), WalkError> {
        self.manifest.finish()?;
        self.keys.finish()?;
        self.tops.write(&self.tops_path)?;
        fs::File::open(self.tops_path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(())
    }
}

fn free_name(name: &super::FileName, taken: &HashSet<super::FileName>) -> super::FileName {
    let mut free = name.clone();
    let mut number = 2;
    while taken.contains(&free) {
        free = name.numbered(number);
        number += 1;
    }
    free
}

#[cfg(test)]
mod tests;
